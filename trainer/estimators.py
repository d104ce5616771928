"""Estimators by import path: only classes of packages that the operator allows, made with plain values."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any, cast

from sklearn.base import BaseEstimator, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.class_weight import compute_sample_weight

from trainer.errors import EstimatorRefusedError
from trainer.records.policy import Calibration

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from trainer.fit import Classifier
    from trainer.records.policy import Estimator, Training

    Floats = NDArray[np.float64]
    Labels = NDArray[np.int64]

ALLOWED = ("sklearn",)


def build(training: Training, *, allowed: Sequence[str] = ALLOWED) -> Classifier:
    """Return the estimator behind its transformers, unfitted, or raise EstimatorRefusedError.

    Parameters
    ----------
    training
        What learns.
    allowed
        The packages and modules that classes may be of.
    """
    if training.estimator is None:
        raise EstimatorRefusedError("the policy names no estimator")
    steps = [_make(each, training, allowed) for each in (*training.transformers, training.estimator)]
    last: Any = steps[-1]
    if not is_classifier(last):
        raise EstimatorRefusedError(f"{training.estimator.path} is no classifier", path=training.estimator.path)
    for step in steps[:-1]:
        if not hasattr(step, "transform"):
            raise EstimatorRefusedError(f"{type(step).__name__} does not transform rows")
    if len(steps) == 1:
        return cast("Classifier", last)
    return cast("Classifier", Pipeline([(f"step{at}", step) for at, step in enumerate(steps)]))


def learn(
    training: Training,
    estimator: Classifier,
    train: tuple[Floats, Labels],
    validation: tuple[Floats, Labels],
) -> Classifier:
    """Fit an estimator to the training rows, stop and calibrate it by the validation rows, and return it.

    Raises
    ------
    EstimatorRefusedError
        It cannot stop early, or takes no weights, and the policy asks for that.
    """
    rows, labels = train
    fitting: dict[str, Any] = {}
    if training.early_stopping_rounds:
        fitting |= _early(training.early_stopping_rounds, estimator, validation)
    if training.balanced:
        fitting |= _balanced(estimator, labels)
    estimator.fit(rows, labels, **fitting)
    if training.calibration is Calibration.NONE:
        return estimator
    calibrated = CalibratedClassifierCV(FrozenEstimator(estimator), method=training.calibration.value)
    calibrated.fit(*validation)
    return cast("Classifier", calibrated)


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


def _early(rounds: int, estimator: Any, validation: tuple[Floats, Labels]) -> dict[str, Any]:
    """Let an estimator stop early, and return what its fit takes for that."""
    if "X_val" not in inspect.signature(estimator.fit).parameters:
        raise EstimatorRefusedError(
            f"{type(estimator).__name__} cannot stop early by rows of a later time; "
            "sklearn.ensemble.HistGradientBoostingClassifier without transformers can"
        )
    estimator.set_params(early_stopping=True, n_iter_no_change=rounds)
    rows, labels = validation
    return {"X_val": rows, "y_val": labels}


def _balanced(estimator: Any, labels: Labels) -> dict[str, Any]:
    """Let both classes weigh the same, and return what the estimator's fit takes for that."""
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if "class_weight" in last.get_params(deep=False):
        last.set_params(class_weight="balanced")
        return {}
    if "sample_weight" not in inspect.signature(last.fit).parameters:
        raise EstimatorRefusedError(f"{type(last).__name__} takes no weights: it cannot be balanced")
    weights = compute_sample_weight("balanced", labels)
    name = f"{estimator.steps[-1][0]}__sample_weight" if isinstance(estimator, Pipeline) else "sample_weight"
    return {name: weights}
