"""Fitting: an estimator, the earlier rows to learn from, the later ones to judge it by."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from trainer.answers import metrics_of, of_estimator
from trainer.errors import TrainingTableError
from trainer.records.policy import Task
from trainer.rounding import rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.table import TrainingTable

_PARAMETER_CHARACTERS_MAX = 200
_LIBRARIES = {"sklearn": "scikit-learn", "lightgbm": "LightGBM", "xgboost": "XGBoost"}


class Model(Protocol):
    """What training needs of an estimator that learns."""

    def fit(self, rows: NDArray[np.float64], labels: NDArray[Any]) -> object:
        """Learn from rows [n, features] and labels [n]."""
        ...

    def get_params(self, *, deep: bool = ...) -> dict[str, object]:
        """Return the parameters."""
        ...


class Classifier(Model, Protocol):
    """What training needs of a scikit-learn classifier."""

    classes_: NDArray[Any]

    def predict_proba(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities [n, classes]."""
        ...


@dataclass(frozen=True, slots=True)
class Fitted:
    """An estimator that has learned, and how well.

    Attributes
    ----------
    estimator
        What learned.
    algorithm
        Its class's name; of a pipeline that of its last step.
    framework
        The library and its version.
    parameters
        The parameters that are plain values.
    metrics
        On the later rows, which it has not seen: those of its task, and ``holdout_rows``; and ``training_rows``.
    held_out
        Which rows of the table those were, the earliest first [n].
    task
        What was learned.
    """

    estimator: Model
    algorithm: str
    framework: str
    parameters: dict[str, str]
    metrics: dict[str, float]
    held_out: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    task: Task = Task.BINARY


def fit(estimator: Classifier, table: TrainingTable, *, holdout: float = 0.2) -> Fitted:
    """Return the estimator fitted to the earlier rows and judged on the later ones, or raise TrainingTableError.

    It learns from values rounded to float32: the graph that is served takes those, and a split that falls between two
    values which float32 cannot tell apart would be decided differently there.

    Parameters
    ----------
    estimator
        A classifier of two classes, 0 and 1.
    table
        The rows, in any order.
    holdout
        The part of the rows, the latest, that is kept from learning; in (0, 1).
    """
    order = np.argsort(table.event_time_us, kind="stable")
    rows = rounded(table.rows[order])
    labels = table.labels[order].astype(np.int64)
    cut = int(len(labels) * (1 - holdout))
    for part in (labels[:cut], labels[cut:]):
        if set(np.unique(part)) != {0, 1}:
            raise TrainingTableError(
                "the earlier and the later rows must each hold both labels, 0 and 1", rows=len(labels), cut=cut
            )
    estimator.fit(rows[:cut], labels[:cut])
    metrics = metrics_of(Task.BINARY, labels[cut:], of_estimator(estimator, rows[cut:], Task.BINARY))
    return Fitted(
        estimator, *described(estimator), metrics=metrics | {"training_rows": float(cut)}, held_out=order[cut:]
    )


def described(estimator: Model) -> tuple[str, str, dict[str, str]]:
    """Return the algorithm, the framework with its version, and the plain parameters of an estimator."""
    last = _last(estimator)
    library = type(last).__module__.partition(".")[0]
    name, version = _LIBRARIES.get(library, library), getattr(importlib.import_module(library), "__version__", "")
    return type(last).__name__, f"{name} {version}".strip(), _plain(estimator)


def _last(estimator: object) -> object:
    """Return what learns: of a pipeline its last step."""
    steps = getattr(estimator, "steps", None)
    return steps[-1][1] if steps else estimator


def _plain(estimator: Model) -> dict[str, str]:
    """Return the parameters whose values are numbers, texts, truth values or None."""
    return {
        name: str(value)[:_PARAMETER_CHARACTERS_MAX]
        for name, value in sorted(estimator.get_params(deep=True).items())
        if value is None or isinstance(value, int | float | str)
    }
