"""Metrics of probabilities under weights: many weightings of the same rows at once, for bootstraps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Weighted = Callable[[Floats], Floats]

_CERTAIN = 1e-15
_THRESHOLD = 0.5


def weighted(metric: str, labels: Floats, scores: Floats) -> Weighted:
    """Return the function from weights [k, n] to the metric [k] of probabilities [n] against labels 0 and 1 [n].

    A weighting in which the metric is not defined, one without positive labels for example, gives NaN.
    """
    return _METRICS[metric](labels, scores)


def _mean(values: Floats) -> Weighted:
    def of(weights: Floats) -> Floats:
        found: Floats = weights @ values / weights.sum(axis=1)
        return found

    return of


def _brier(labels: Floats, scores: Floats) -> Weighted:
    return _mean((scores - labels) ** 2)


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


_METRICS: dict[str, Callable[[Floats, Floats], Weighted]] = {
    "brier": _brier,
    "log_loss": _log_loss,
    "accuracy": _accuracy,
    "f1": _f1,
    "roc_auc": _roc_auc,
}
