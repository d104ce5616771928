"""Estimators by import path: only classes of packages that the operator allows, made with plain values."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from skl2onnx.sklapi import CastTransformer
from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.pipeline import Pipeline

from trainer.errors import EstimatorRefusedError
from trainer.records.policy import Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer.fit import Model
    from trainer.records.policy import Estimator, Training

ALLOWED = ("sklearn",)
_COMPARE_IN_FLOAT64 = ("lightgbm.", "sklearn.ensemble._hist_gradient_boosting.")
_KINDS = {
    Task.BINARY: ("classifier", is_classifier),
    Task.MULTICLASS: ("classifier", is_classifier),
    Task.REGRESSION: ("regressor", is_regressor),
}


def build(
    training: Training, *, allowed: Sequence[str] = ALLOWED, parameters: Mapping[str, object] | None = None
) -> Model:
    """Return the estimator behind its transformers, unfitted, or raise EstimatorRefusedError.

    Parameters
    ----------
    training
        What learns.
    allowed
        The packages and modules that classes may be of.
    parameters
        What the estimator is made with beyond, or instead of, what the policy says.
    """
    if training.estimator is None:
        raise EstimatorRefusedError("the policy names no estimator")
    learns = replace(training.estimator, parameters={**training.estimator.parameters, **(parameters or {})})
    steps = [_make(each, training, allowed) for each in (*training.transformers, learns)]
    last: Any = steps[-1]
    kind, is_one = _KINDS[training.task]
    if not is_one(last):
        raise EstimatorRefusedError(f"{training.estimator.path} is no {kind}", path=training.estimator.path)
    for step in steps[:-1]:
        if not hasattr(step, "transform"):
            raise EstimatorRefusedError(f"{type(step).__name__} does not transform rows")
    if len(steps) > 1 and type(last).__module__.startswith(_COMPARE_IN_FLOAT64):
        # Their graphs compare in float32: so they learn from what the transformers give rounded to that.
        steps.insert(-1, CastTransformer())
    if len(steps) == 1:
        return cast("Model", last)
    return cast("Model", Pipeline([(f"step{at}", step) for at, step in enumerate(steps)]))


def _make(named: Estimator, training: Training, allowed: Sequence[str]) -> Any:
    module, _, name = named.path.rpartition(".")
    if not any(module == each or module.startswith(f"{each}.") for each in allowed):
        raise EstimatorRefusedError(
            f"{named.path} is not of what the operator of this trainer allows: {', '.join(allowed)}", path=named.path
        )
    if any(part.startswith("_") for part in named.path.split(".")):
        raise EstimatorRefusedError(f"{named.path} names what is private", path=named.path)
    try:
        found = getattr(importlib.import_module(module), name, None)
    except ImportError as error:
        raise EstimatorRefusedError(f"there is no {module} here: {error}", path=named.path) from error
    if not inspect.isclass(found) or not issubclass(found, BaseEstimator):
        raise EstimatorRefusedError(f"{named.path} is no estimator", path=named.path)
    home = found.__module__.partition(".")[0]
    if home not in {each.partition(".")[0] for each in allowed}:
        raise EstimatorRefusedError(f"{named.path} is of {home}, which is not allowed", path=named.path)
    try:
        made: Any = found(**named.parameters)
        if "random_state" in made.get_params(deep=False) and "random_state" not in named.parameters:
            made.set_params(random_state=training.seed % 2**32)
    except (TypeError, ValueError) as error:
        raise EstimatorRefusedError(f"{named.path} cannot be made so: {error}", path=named.path) from error
    return made
