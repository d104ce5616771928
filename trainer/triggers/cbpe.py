"""Confidence-based performance estimation: what a metric is expected to be before any label is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.lazy_scipy import optimize, special
from trainer.triggers.metrics import CUT, Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

METRICS = ("roc_auc", "accuracy", "f1", "precision", "recall", "brier", "log_loss")


@dataclass(frozen=True, slots=True)
class Calibration:
    r"""The non-decreasing function from scores to probabilities that fits the reference best.

    Attributes
    ----------
    scores, probabilities
        Where it bends, ascending; between them it is linear, beyond them constant.

    Notes
    -----
    :math:`\min \sum (y_i - f(s_i))^2` over non-decreasing *f*, by pooling adjacent violators; equal scores are one.

    References
    ----------
    B. Zadrozny, C. Elkan, *Transforming Classifier Scores into Accurate Multiclass Probability Estimates*, KDD (2002).
    """

    scores: Floats
    probabilities: Floats

    @classmethod
    def of(cls, scores: Floats, labels: Floats) -> Calibration:
        """Return the calibration of scores by labels, 0 or 1; at least one row."""
        distinct, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
        means = np.bincount(places, weights=labels) / counts
        fitted = optimize.isotonic_regression(means, weights=counts.astype(np.float64)).x
        return cls(distinct, fitted)

    def __call__(self, scores: Floats) -> Floats:
        """Return the probabilities of these scores."""
        found: Floats = np.interp(scores, self.scores, self.probabilities)
        return found


@dataclass(frozen=True, slots=True)
class Reference:
    """Held-out answers with their labels: what calibrates, and what tells how much chance moves a metric.

    Attributes
    ----------
    calibration
        From scores to probabilities.
    scores, labels
        What it was made of.
    """

    calibration: Calibration
    scores: Floats
    labels: Floats

    @classmethod
    def of(cls, scores: Floats, labels: Floats) -> Reference:
        """Return the reference of held-out scores and labels, both classes among them."""
        return cls(Calibration.of(scores, labels), scores, labels)


def estimate(metric: str, reference: Reference, scores: Floats, *, alpha: float) -> Estimate:
    r"""Return what a metric of `METRICS` is expected to be for these scores, and a band for the sampling error.

    Parameters
    ----------
    metric, reference, scores
        The metric, what calibrates, and the answers whose labels are not known.
    alpha
        One minus the confidence of the band.

    Notes
    -----
    With *p* the calibrated probabilities, an answer of 1 is a true positive with probability *p* and a false one with
    :math:`1 - p`. The expected counts take the counts' place in each metric; the area under the ROC curve is that of
    the expected curve, ranked by the scores as they are. The band is :math:`z\,\sigma / \sqrt{n f}`, with
    :math:`\sigma` the reference's standard deviation of one row's part in the metric and *f* the part of the rows that
    have one; the area has two such parts, one a class (DeLong). It covers the sampling of the window's labels, and
    nothing else.

    Assumptions: the scores still mean the same probabilities. Where the relation of features and label changes
    (concept drift) the estimate does not see it. So it is compared with the real one when labels mature.

    References
    ----------
    J. Białek et al., *Estimating Model Performance Under Covariate Shift Without Labels*, arXiv:2401.08348 (2024).
    """
    probabilities = reference.calibration(scores)
    value = expected(metric, probabilities, scores)
    half = -float(special.ndtri(alpha / 2)) * sampling_error(metric, reference, len(scores))
    return Estimate(value, value - half, value + half, len(scores))


def expected(metric: str, probabilities: Floats, scores: Floats) -> float:
    """Return the expected metric of answers that are right with these probabilities; NaN where it is not defined."""
    said = scores >= CUT
    true_positive, false_positive = probabilities[said].sum(), (1 - probabilities[said]).sum()
    false_negative = probabilities[~said].sum()
    if metric == "roc_auc":
        return _area(probabilities, scores)
    if metric == "accuracy":
        return float(np.where(said, probabilities, 1 - probabilities).mean())
    if metric == "brier":
        return float((probabilities * (1 - scores) ** 2 + (1 - probabilities) * scores**2).mean())
    if metric == "log_loss":
        kept = np.clip(scores, 1e-15, 1 - 1e-15)
        return float(-(probabilities * np.log(kept) + (1 - probabilities) * np.log1p(-kept)).mean())
    over = {
        "precision": true_positive + false_positive,
        "recall": true_positive + false_negative,
        "f1": true_positive + (false_positive + false_negative) / 2,
    }[metric]
    return float(true_positive / over) if over > 0 else math.nan


def sampling_error(metric: str, reference: Reference, rows: int) -> float:
    """Return the standard error that the metric has over so many rows, by the reference's spread."""
    labels, scores = reference.labels == 1, reference.scores
    said = scores >= CUT
    if metric == "roc_auc":
        return math.hypot(*area_errors(reference, rows))
    if metric == "brier":
        return _standard_error((scores - labels) ** 2, 1.0, rows)
    if metric == "log_loss":
        kept = np.clip(scores, 1e-15, 1 - 1e-15)
        return _standard_error(np.where(labels, -np.log(kept), -np.log1p(-kept)), 1.0, rows)
    among = {"accuracy": np.ones_like(said), "precision": said, "recall": labels, "f1": said | labels}[metric]
    hits = said == labels if metric == "accuracy" else said & labels
    error = _standard_error(hits[among].astype(np.float64), among.mean(), rows)
    if metric == "f1":  # it is 2J / (1 + J), of which J is the proportion
        error *= 2 / (1 + hits[among].mean()) ** 2
    return error


def area_errors(reference: Reference, rows: int) -> tuple[float, float]:
    """Return what the rarer class and what the other one have in the area's standard error over so many rows."""
    labels, ranked = reference.labels == 1, reference.scores
    if labels.mean() > CUT:
        labels, ranked = ~labels, -ranked
    sides = np.sort(ranked[labels]), np.sort(ranked[~labels])
    parts = labels.mean(), 1 - labels.mean()
    both = []
    for own, other, part in ((sides[0], sides[1], parts[0]), (sides[1], sides[0], parts[1])):
        below, upto = np.searchsorted(other, own, side="left"), np.searchsorted(other, own, side="right")
        both.append(_standard_error((below + upto) / (2 * max(1, len(other))), part, rows))
    return both[0], both[1]


def _standard_error(values: Floats, part: float, rows: int) -> float:
    return float(np.std(values) / math.sqrt(rows * part)) if len(values) and rows else math.nan


def _area(probabilities: Floats, scores: Floats) -> float:
    """Return the area under the expected ROC curve; equal scores are one step of it."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    good = np.append(0.0, np.cumsum(probabilities[order])[ends])
    bad = np.append(0.0, np.cumsum(1 - probabilities[order])[ends])
    if good[-1] <= 0 or bad[-1] <= 0:
        return math.nan
    return float(np.trapezoid(good / good[-1], bad / bad[-1]))
