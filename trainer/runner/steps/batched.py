"""Learning in batches: `partial_fit` of scikit-learn, or LightGBM's trees from a Parquet file in chunks."""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from trainer.errors import EstimatorRefusedError, TrainingTableError
from trainer.learning import calibrated, labels_of
from trainer.records.policy import Batches, Calibration, Task
from trainer.rounding import loses_detail
from trainer.runner.batches import ROWS, Stream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.fit import Model
    from trainer.learning import Rows
    from trainer.records.policy import Training
    from trainer.runner.given import Given
    from trainer.split import Parts

    Floats = NDArray[np.float64]

_FIRST_ROWS = 10_000
_BINNED_ROWS_MIN = 20_000


def stream_of(given: Given, parts: Parts) -> Stream:
    """Return all rows that are no younger than the youngest that is learned from in the table that is here."""
    table, batches = given.table, given.training.batches or Batches()
    return Stream(
        given.folder / ROWS,
        table.feature_names,
        until_us=int(table.event_time_us[parts.train].max()),
        batch_rows=batches.rows,
        wide=loses_detail(table.rows),
    )


def learn(training: Training, estimator: Any, stream: Stream, validation: Rows) -> Model:
    """Fit an estimator to a stream of rows, calibrate it by the validation rows, and return it.

    Raises
    ------
    EstimatorRefusedError
        It, or what stands before it, does not learn in batches.
    """
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    last = steps[-1]
    if type(last).__module__.startswith("lightgbm."):
        _grow(training, last, stream, validation)
    else:
        _pass_through(training, steps, stream)
    if training.calibration is Calibration.NONE:
        return cast("Model", estimator)
    later = _before(steps[:-1], validation[0])
    learned = calibrated(training.calibration, last, (later, validation[1]))
    return cast("Model", Pipeline([*estimator.steps[:-1], ("calibrated", learned)]) if len(steps) > 1 else learned)


def _pass_through(training: Training, steps: list[Any], stream: Stream) -> None:
    """Let each step see all rows by `partial_fit`, what transforms first, as often as the policy says."""
    for step in steps:
        if get_tags(step).requires_fit and not hasattr(step, "partial_fit"):
            raise EstimatorRefusedError(f"{type(step).__name__} does not learn in batches: it has no partial_fit")
    for at, step in enumerate(steps[:-1]):
        _prepare(step, steps[:at], stream)
    last, fitting = steps[-1], dict[str, Any]()
    if training.task is not Task.REGRESSION:
        fitting["classes"] = labels_of(np.unique(stream.labels()), training.task)
    if training.class_weights and "sample_weight" not in inspect.signature(last.partial_fit).parameters:
        raise EstimatorRefusedError(f"{type(last).__name__} takes no weights: its classes cannot be weighed")
    generator = np.random.default_rng(training.seed)
    for _ in range((training.batches or Batches()).passes):
        for rows, labels in stream.batches(generator):
            if training.class_weights:
                fitting["sample_weight"] = _weights(training, labels)
            last.partial_fit(_before(steps[:-1], rows), labels_of(labels, training.task), **fitting)


def _prepare(step: Any, before: list[Any], stream: Stream) -> None:
    """Let what transforms see all rows as they come to it; what keeps nothing of them sees the first."""
    for rows, _ in stream.batches():
        seen = _before(before, rows)
        if not get_tags(step).requires_fit:
            step.fit(seen)
            return
        step.partial_fit(seen)


def _grow(training: Training, last: Any, stream: Stream, validation: Rows) -> None:
    """Grow LightGBM's trees from the stream: it holds a byte for each value, and rows only while they are asked for."""
    lightgbm = importlib.import_module("lightgbm")

    class Chunks(lightgbm.Sequence):  # type: ignore[name-defined,misc]  # loaded where it is asked for
        """The stream as LightGBM asks for it: row by row, rising, and in chunks."""

        def __init__(self) -> None:
            self.batch_size = stream.batch_rows
            self._first, self._held = 0, np.empty((0, 0))

        def __len__(self) -> int:
            return stream.rows

        def __getitem__(self, asked: int | slice) -> Floats:
            if isinstance(asked, slice):
                return stream.at(asked.start or 0, min(asked.stop or stream.rows, stream.rows))
            if not self._first <= asked < self._first + len(self._held):
                self._first = asked
                self._held = stream.at(asked, min(asked + self.batch_size, stream.rows))
            # A copy: rows that LightGBM keeps must not keep their whole batch.
            return cast("Floats", self._held[asked - self._first].copy())

    labels = stream.labels()
    _know_classes(last, stream, labels, training.task)
    made = {name: value for name, value in last.get_params().items() if value is not None}
    rounds = made.pop("n_estimators")
    for name in ("importance_type", "class_weight"):
        made.pop(name, None)
    # What bins are made of is in memory at once, too.
    made["bin_construct_sample_cnt"] = min(made.pop("subsample_for_bin"), max(stream.batch_rows, _BINNED_ROWS_MIN))
    made |= {"objective": last.objective_, "verbosity": -1, "deterministic": True, "num_threads": 1}
    if training.task is Task.MULTICLASS:
        made["num_class"] = int(labels.max()) + 1
    weight = _weights(training, labels) if training.class_weights else None
    data = lightgbm.Dataset(Chunks(), label=labels, weight=weight, params=made, free_raw_data=True)
    fitting: dict[str, Any] = {}
    if training.early_stopping_rounds:
        fitting["valid_sets"] = [lightgbm.Dataset(validation[0], label=validation[1], reference=data)]
        fitting["callbacks"] = [lightgbm.early_stopping(training.early_stopping_rounds, verbose=False)]
    booster = lightgbm.train(made, data, num_boost_round=rounds, **fitting)
    last._Booster, last._best_iteration = booster, booster.best_iteration  # noqa: SLF001  there is no other way in


def _know_classes(last: Any, stream: Stream, labels: Floats, task: Task) -> None:
    """Let a LightGBM estimator know its features and classes by one tree of a few rows, which it does not keep."""
    rows, first = next(stream.batches())
    rows, first = rows[:_FIRST_ROWS], first[:_FIRST_ROWS].copy()
    if task is not Task.REGRESSION:
        classes = np.unique(labels)
        if len(first) < len(classes):
            raise TrainingTableError("there are more classes than rows in a batch")
        first[: len(classes)] = classes
    rounds = last.get_params()["n_estimators"]
    last.set_params(n_estimators=1)
    last.fit(rows, labels_of(first, task))
    last.set_params(n_estimators=rounds)


def _before(steps: list[Any], rows: Floats) -> Floats:
    for step in steps:
        rows = step.transform(rows)
    return rows


def _weights(training: Training, labels: Floats) -> Floats:
    if int(labels.max()) >= len(training.class_weights):
        raise EstimatorRefusedError(
            f"there are {len(training.class_weights)} class weights, and a label {labels.max():g}"
        )
    return np.asarray(training.class_weights)[labels.astype(np.int64)]
