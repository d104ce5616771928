"""Learning: an estimator fitted to the training rows, stopped and calibrated by the validation rows."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.class_weight import compute_sample_weight

from trainer.errors import EstimatorRefusedError
from trainer.records.policy import Calibration, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from trainer.fit import Model
    from trainer.records.policy import Training

    Floats = NDArray[np.float64]
    Rows = tuple[Floats, Floats]


def learn(training: Training, estimator: Any, train: Rows, validation: Rows) -> Model:
    """Fit an estimator to the training rows and labels, stop and calibrate it by the validation's, and return it.

    Raises
    ------
    EstimatorRefusedError
        It cannot stop early, or takes no weights, and the policy asks for that.
    """
    rows, labels = sampled(training, *train)
    last = _last(estimator)
    fitting: dict[str, Any] = {}
    if training.balanced or training.class_weights:
        fitting |= _weighed(training, last, labels)
    seen, later = rows, validation[0]
    for step in _before(estimator):
        seen = step.fit_transform(seen, labels)
        later = step.transform(later) if len(later) else later
    if training.early_stopping_rounds:
        fitting |= _early(training.early_stopping_rounds, last, (later, validation[1]))
    last.fit(seen, labels, **fitting)
    if training.calibration is Calibration.NONE:
        return cast("Model", estimator)
    learned = calibrated(training.calibration, last, (later, validation[1]))
    if _before(estimator):
        learned = Pipeline([*estimator.steps[:-1], ("calibrated", learned)])
    return cast("Model", learned)


def calibrated(how: Calibration, last: Any, validation: Rows) -> Any:
    """Return a fitted classifier with its probabilities calibrated by the validation rows.

    It stands around what learned, not around a pipeline, and that is not frozen any more: skl2onnx 1.20 would write
    both wrongly.
    """
    calibrated = CalibratedClassifierCV(FrozenEstimator(last), method=how.value).fit(*validation)
    for each in calibrated.calibrated_classifiers_:
        each.estimator = last
    calibrated.estimator = last
    return calibrated


def sampled(training: Training, rows: Floats, labels: Floats) -> Rows:
    """Return the rows that are learned from: of each class at most so many for each row of the rarest one."""
    if not training.rows_per_rarest:
        return rows, labels
    generator = np.random.default_rng(training.seed)
    kinds, counts = np.unique(labels, return_counts=True)
    most = int(counts.min() * training.rows_per_rarest)
    chosen = [np.flatnonzero(labels == kind) for kind in kinds]
    kept = [at if len(at) <= most else generator.choice(at, most, replace=False) for at in chosen]
    order = np.sort(np.concatenate(kept))
    return rows[order], labels[order]


def _before(estimator: Any) -> list[Any]:
    return [step for _, step in estimator.steps[:-1]] if isinstance(estimator, Pipeline) else []


def _last(estimator: Any) -> Any:
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def _early(rounds: int, last: Any, validation: Rows) -> Mapping[str, Any]:
    """Let an estimator stop early, and return what its fit takes for that."""
    rows, labels = validation
    library = type(last).__module__.partition(".")[0]
    if library == "lightgbm":
        stop = importlib.import_module("lightgbm").early_stopping(rounds, verbose=False)
        return {"eval_X": (rows,), "eval_y": (labels,), "callbacks": [stop]}
    if library == "xgboost":
        last.set_params(early_stopping_rounds=rounds)
        return {"eval_set": [validation], "verbose": False}
    if "X_val" not in inspect.signature(last.fit).parameters:
        raise EstimatorRefusedError(
            f"{type(last).__name__} cannot stop early by rows of a later time; HistGradientBoosting of scikit-learn, "
            "LightGBM and XGBoost can"
        )
    last.set_params(early_stopping=True, n_iter_no_change=rounds)
    return {"X_val": rows, "y_val": labels}


def _weighed(training: Training, last: Any, labels: Floats) -> Mapping[str, Any]:
    """Let classes weigh what the policy says, and return what the estimator's fit takes for that."""
    weights = training.class_weights
    if weights and int(labels.max()) >= len(weights):
        raise EstimatorRefusedError(f"there are {len(weights)} class weights, and a label {int(labels.max())}")
    if "class_weight" in last.get_params(deep=False):
        last.set_params(class_weight=dict(enumerate(weights)) if weights else "balanced")
        return {}
    if "sample_weight" not in inspect.signature(last.fit).parameters:
        raise EstimatorRefusedError(f"{type(last).__name__} takes no weights: its classes cannot be weighed")
    if weights:
        return {"sample_weight": np.asarray(weights)[labels.astype(np.int64)]}
    return {"sample_weight": compute_sample_weight("balanced", labels)}


def labels_of(labels: Floats, task: Task) -> Any:
    """Return labels as estimators take them: whole numbers but for a regression."""
    return labels if task is Task.REGRESSION else labels.astype(np.int64)
