"""Fitting: an estimator, the earlier rows to learn from, the later ones to judge it by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import sklearn
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from trainer.errors import TrainingTableError
from trainer.rounding import rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.table import TrainingTable

_PARAMETER_CHARACTERS_MAX = 200


class Classifier(Protocol):
    """What training needs of a scikit-learn classifier."""

    classes_: NDArray[Any]

    def fit(self, rows: NDArray[np.float64], labels: NDArray[np.int64]) -> object:
        """Learn from rows [n, features] and labels [n]."""
        ...

    def predict_proba(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probabilities [n, classes]."""
        ...

    def get_params(self, *, deep: bool = ...) -> dict[str, object]:
        """Return the parameters."""
        ...


@dataclass(frozen=True, slots=True)
class Fitted:
    """An estimator that has learned, and how well.

    Attributes
    ----------
    estimator
        The classifier.
    algorithm
        Its class's name; of a pipeline that of its last step.
    framework
        The library and its version.
    parameters
        The parameters that are plain values.
    metrics
        On the later rows, which it has not seen: ``brier``, ``log_loss``, ``roc_auc``, ``holdout_rows``; and
        ``training_rows``.
    held_out
        Which rows of the table those were, the earliest first [n].
    """

    estimator: Classifier
    algorithm: str
    framework: str
    parameters: dict[str, str]
    metrics: dict[str, float]
    held_out: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))


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
    metrics = judge(estimator, rows[cut:], labels[cut:]) | {"training_rows": float(cut)}
    return Fitted(estimator, *described(estimator), metrics=metrics, held_out=order[cut:])


def judge(estimator: Classifier, rows: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, float]:
    """Return brier, log_loss, roc_auc and holdout_rows of a fitted classifier on rows it has not seen."""
    late = estimator.predict_proba(rows)[:, 1]
    return {
        "brier": float(brier_score_loss(labels, late)),
        "log_loss": float(log_loss(labels, late, labels=[0, 1])),
        "roc_auc": float(roc_auc_score(labels, late)),
        "holdout_rows": float(len(labels)),
    }


def described(estimator: Classifier) -> tuple[str, str, dict[str, str]]:
    """Return the algorithm, the framework with its version, and the plain parameters of an estimator."""
    return _algorithm(estimator), f"scikit-learn {sklearn.__version__}", _plain(estimator)


def _algorithm(estimator: object) -> str:
    """Return the name of the class that learns."""
    steps = getattr(estimator, "steps", None)
    return type(steps[-1][1] if steps else estimator).__name__


def _plain(estimator: Classifier) -> dict[str, str]:
    """Return the parameters whose values are numbers, texts, truth values or None."""
    return {
        name: str(value)[:_PARAMETER_CHARACTERS_MAX]
        for name, value in sorted(estimator.get_params(deep=True).items())
        if value is None or isinstance(value, int | float | str)
    }
