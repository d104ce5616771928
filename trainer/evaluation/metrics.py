"""Metrics under weights: many weightings of the same rows at once, for bootstraps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Weighted = Callable[[Floats], Floats]

_CERTAIN = 1e-15
_THRESHOLD = 0.5


def weighted(metric: str, labels: NDArray[Any], said: Floats) -> Weighted:
    """Return the function from weights [k, n] to the metric [k] of what a model said against labels [n].

    A weighting in which the metric is not defined, one without positive labels for example, gives NaN.

    Parameters
    ----------
    metric
        One of its task's.
    labels
        0 or 1; 0, 1, 2 and so on; or numbers.
    said
        The probabilities of 1 [n], those of the classes [n, classes], or numbers [n].
    """
    return (_OF_CLASSES if said.ndim > 1 else _METRICS)[metric](labels, said)


def _mean(values: Floats) -> Weighted:
    def of(weights: Floats) -> Floats:
        found: Floats = weights @ values / weights.sum(axis=1)
        return found

    return of


def _log_loss(labels: Floats, scores: Floats) -> Weighted:
    sure = np.clip(scores, _CERTAIN, 1 - _CERTAIN)
    return _mean(-(labels * np.log(sure) + (1 - labels) * np.log1p(-sure)))


def _accuracy(labels: Floats, scores: Floats) -> Weighted:
    return _mean(((scores > _THRESHOLD) == (labels > _THRESHOLD)).astype(np.float64))


def _f1(labels: Floats, scores: Floats) -> Weighted:
    said = (scores > _THRESHOLD).astype(np.float64)
    hits, total = said * labels, said + labels

    def of(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            found: Floats = 2 * (weights @ hits) / (weights @ total)
        return found

    return of


def _roc_auc(labels: Floats, scores: Floats) -> Weighted:
    order = np.argsort(scores, kind="stable")
    ranked = labels[order]
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])

    def of(weights: Floats) -> Floats:
        positive = np.add.reduceat(weights[:, order] * ranked, starts, axis=1)
        negative = np.add.reduceat(weights[:, order] * (1 - ranked), starts, axis=1)
        below = np.cumsum(negative, axis=1) - negative / 2  # ties count half
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = (positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))
        return found

    return of


def _squares(labels: Floats, said: Floats) -> Weighted:
    return _mean((said - labels) ** 2)


def _rmse(labels: Floats, said: Floats) -> Weighted:
    squares = _squares(labels, said)
    return lambda weights: np.sqrt(squares(weights))


def _mae(labels: Floats, said: Floats) -> Weighted:
    return _mean(np.abs(said - labels))


def _r2(labels: Floats, said: Floats) -> Weighted:
    squares = _squares(labels, said)
    centred = labels - labels.mean()  # whatever is taken off, the spread is the same, and is not lost in large numbers
    first, second = _mean(centred), _mean(centred**2)

    def of(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = 1 - squares(weights) / (second(weights) - first(weights) ** 2)
        return np.where(np.isfinite(found), found, np.nan)

    return of


def _hot(labels: Floats, classes: int) -> Floats:
    """Return the labels as probabilities that are sure [n, classes]."""
    found: Floats = (labels[:, np.newaxis] == np.arange(classes)).astype(np.float64)
    return found


def _brier_of_classes(labels: Floats, said: Floats) -> Weighted:
    return _mean(((said - _hot(labels, said.shape[1])) ** 2).sum(axis=1))


def _log_loss_of_classes(labels: Floats, said: Floats) -> Weighted:
    true = said[np.arange(len(labels)), labels.astype(np.int64)]
    return _mean(-np.log(np.clip(true, _CERTAIN, 1)))


def _accuracy_of_classes(labels: Floats, said: Floats) -> Weighted:
    return _mean((said.argmax(axis=1) == labels).astype(np.float64))


def _f1_of_classes(labels: Floats, said: Floats) -> Weighted:
    true = _hot(labels, said.shape[1])
    chosen = _hot(said.argmax(axis=1), said.shape[1])
    hits, total = true * chosen, true + chosen

    def of(weights: Floats) -> Floats:
        counts = weights @ total
        each = np.where(counts > 0, 2 * (weights @ hits) / np.where(counts > 0, counts, 1), 0)
        found: Floats = each.sum(axis=1) / (counts > 0).sum(axis=1)
        return found

    return of


_METRICS: dict[str, Callable[[Floats, Floats], Weighted]] = {
    "brier": _squares,
    "log_loss": _log_loss,
    "accuracy": _accuracy,
    "f1": _f1,
    "roc_auc": _roc_auc,
    "rmse": _rmse,
    "mae": _mae,
    "r2": _r2,
}
_OF_CLASSES: dict[str, Callable[[Floats, Floats], Weighted]] = {
    "brier": _brier_of_classes,
    "log_loss": _log_loss_of_classes,
    "accuracy": _accuracy_of_classes,
    "f1": _f1_of_classes,
}
