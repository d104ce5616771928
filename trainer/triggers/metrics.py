"""How well answers did, with the interval in which the truth lies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.lazy_scipy import special, stats

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CUT = 0.5
"""From which score on an answer says 1."""
DIRECTIONS = {
    "roc_auc": 1, "accuracy": 1, "f1": 1, "precision": 1, "recall": 1,
    "brier": -1, "log_loss": -1, "mae": -1, "mse": -1, "rmse": -1,
}  # fmt: skip
"""The metrics, and whether more is better (1) or worse (-1)."""
_LEAST = 1e-15


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric's value and interval; NaN where the rows do not tell, as of one class alone."""

    value: float
    low: float
    high: float
    rows: int


def measure(metric: str, scores: Floats, labels: Floats, *, alpha: float) -> Estimate:
    r"""Return a metric of `DIRECTIONS` with its interval of confidence :math:`1 - \alpha`.

    Parameters
    ----------
    metric
        Which.
    scores, labels
        The probability of 1 and the label 0 or 1; for mae, mse and rmse numbers; the probabilities of classes
        [n, classes] and the class, for log_loss, brier (the sum over the classes) and accuracy. All finite.
    alpha
        One minus the confidence; both ends together.

    Notes
    -----
    Accuracy, precision and recall are proportions: Wilson's interval. F1 is :math:`2J / (1 + J)` with
    :math:`J = TP / (TP + FP + FN)`, a proportion too. Means of losses have Student's interval, rmse the root of mse's.
    The area under the ROC curve has DeLong's variance on the logit scale.

    Assumptions: the rows are independent.

    References
    ----------
    E. B. Wilson, JASA 22 (1927). E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988).
    """
    if scores.ndim > 1:
        return _of_classes(metric, scores, labels, alpha)
    if metric == "roc_auc":
        return _roc_auc(scores, labels, alpha)
    if metric in _COUNTS:
        hits, total = _COUNTS[metric](scores >= CUT, labels == 1)
        low, high = wilson(int(hits), int(total), alpha)
        value = hits / total if total else math.nan
        if metric == "f1":
            value, low, high = (2 * each / (1 + each) for each in (value, low, high))
        return Estimate(float(value), low, high, len(scores))
    given = _mean(_LOSSES["mse" if metric == "rmse" else metric](scores, labels), alpha)
    if metric == "rmse":
        return Estimate(math.sqrt(given.value), math.sqrt(max(0.0, given.low)), math.sqrt(given.high), given.rows)
    return given


def squares(scores: Floats, labels: Floats) -> Floats:
    """Return the squared error of each answer [n], in [0, 1] for probabilities: of classes half the sum over them."""
    if scores.ndim == 1:
        return (scores - labels) ** 2
    hot = labels[:, np.newaxis] == np.arange(scores.shape[1])
    found: Floats = ((scores - hot) ** 2).sum(axis=1) / 2
    return found


def answered(scores: Floats) -> NDArray[np.bool_]:
    """Return which answers are finite [n]."""
    return np.asarray(np.isfinite(scores).reshape(len(scores), -1).all(axis=1), np.bool_)


def _of_classes(metric: str, scores: Floats, labels: Floats, alpha: float) -> Estimate:
    if metric == "accuracy":
        hits = int((scores.argmax(axis=1) == labels).sum())
        return Estimate(hits / len(labels) if len(labels) else math.nan, *wilson(hits, len(labels), alpha), len(labels))
    if metric == "brier":
        return _mean(2 * squares(scores, labels), alpha)
    at = np.minimum(labels.astype(np.int64), scores.shape[1] - 1)
    # A class that the version has never seen had no chance.
    true = np.where(labels < scores.shape[1], scores[np.arange(len(labels)), at], 0.0)
    return _mean(-np.log(np.clip(true, _LEAST, 1)), alpha)


def wilson(hits: int, total: int, alpha: float) -> tuple[float, float]:
    """Return Wilson's interval for a proportion; NaN for none."""
    if not total:
        return math.nan, math.nan
    z = -float(special.ndtri(alpha / 2))
    part, weight = hits / total, 1 + z * z / total
    middle = (part + z * z / (2 * total)) / weight
    half = z * math.sqrt(part * (1 - part) / total + z * z / (4 * total * total)) / weight
    return max(0.0, middle - half), min(1.0, middle + half)


def _mean(losses: Floats, alpha: float) -> Estimate:
    n = len(losses)
    mean = float(losses.mean()) if n else math.nan
    half = float(stats.t.isf(alpha / 2, n - 1) * losses.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    return Estimate(mean, mean - half, mean + half, n)


def _roc_auc(scores: Floats, labels: Floats, alpha: float) -> Estimate:
    good, bad = scores[labels == 1], scores[labels == 0]
    if not len(good) or not len(bad):
        return Estimate(math.nan, math.nan, math.nan, len(scores))
    beaten, beating = _placements(good, bad), 1 - _placements(bad, good)
    area = float(beaten.mean())
    if min(len(good), len(bad)) < 2:  # noqa: PLR2004  (one has no variance)
        return Estimate(area, math.nan, math.nan, len(scores))
    error = math.sqrt(beaten.var(ddof=1) / len(good) + beating.var(ddof=1) / len(bad))
    # An area at its end has no logit; half a pair stands for what was not seen.
    inside = min(max(area, 0.5 / (len(good) * len(bad))), 1 - 0.5 / (len(good) * len(bad)))
    half = -float(special.ndtri(alpha / 2)) * max(error, 0.5 / min(len(good), len(bad))) / (inside * (1 - inside))
    middle = math.log(inside / (1 - inside))
    return Estimate(area, float(special.expit(middle - half)), float(special.expit(middle + half)), len(scores))


def _placements(of: Floats, among: Floats) -> Floats:
    """Return for each value the part of the others that it beats, ties counting half."""
    ordered = np.sort(among)
    below, upto = np.searchsorted(ordered, of, side="left"), np.searchsorted(ordered, of, side="right")
    return (below + upto) / (2 * len(ordered))


def _log_loss(scores: Floats, labels: Floats) -> Floats:
    kept = np.clip(scores, _LEAST, 1 - _LEAST)
    return -np.where(labels == 1, np.log(kept), np.log1p(-kept))


_COUNTS: dict[str, Callable[..., tuple[int, int]]] = {
    "accuracy": lambda said, true: ((said == true).sum(), len(true)),
    "precision": lambda said, true: ((said & true).sum(), said.sum()),
    "recall": lambda said, true: ((said & true).sum(), true.sum()),
    "f1": lambda said, true: ((said & true).sum(), (said | true).sum()),
}
_LOSSES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "brier": lambda scores, labels: (scores - labels) ** 2,
    "log_loss": _log_loss,
    "mae": lambda scores, labels: np.abs(scores - labels),
    "mse": lambda scores, labels: (scores - labels) ** 2,
}
