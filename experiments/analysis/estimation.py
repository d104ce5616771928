"""From the moments of one metric to one contrast: covariates, strata and epochs, in this order."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from experiments.analysis import cuped, quantile, ratio
from experiments.analysis.findings import Contrast, NotEnoughData
from experiments.analysis.histogram import Histogram
from experiments.analysis.joint import JointMoments
from experiments.analysis.moments import Moments
from experiments.analysis.stratification import poststratify
from experiments.analysis.welch import UNITS_MIN, Stratum, contrast
from experiments.metric import Covariate, MetricKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from experiments.analysis.evidence import Cell, MetricEvidence
    from experiments.metric import Metric


KNOWN_PART_MIN = 0.99
"""Of the units of an arm, how many must have what the control's version foresaw before it is a covariate."""


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A contrast, and what the covariate left of its variance."""

    contrast: Contrast
    variance_kept: float = 1.0


@dataclass(frozen=True, slots=True)
class _Group:
    """Strata of one epoch that are compared as one, and the cells that are in it."""

    control: JointMoments
    treatment: JointMoments
    strata: frozenset[str]

    @property
    def units(self) -> int:
        return self.control.n + self.treatment.n

    @property
    def thin(self) -> bool:
        return min(self.control.n, self.treatment.n) < UNITS_MIN


def estimate_contrast(
    metric: Metric, found: MetricEvidence, *, control: str, treatment: str
) -> Adjusted | NotEnoughData:
    """Return treatment minus control of a metric, or why there is none.

    Units are compared within their epoch and stratum, and never pooled over epochs: the epochs' differences are
    combined by inverse variance, with the covariance of those that share units.
    """
    if metric.kind is MetricKind.QUANTILE:
        return _of_quantiles(metric, found, control, treatment)
    own = {cell: joint for cell, joint in found.moments.items() if cell[0] in {control, treatment} and joint.n}
    epochs = {epoch: _groups(own, epoch, control, treatment) for epoch in sorted({epoch for _, epoch, _ in own})}
    known = known_part(metric, found, (control, treatment)) >= KNOWN_PART_MIN
    theta = cuped.coefficients(list(own.values())) if known else ()
    plain = _combine(epochs, (), found, control, treatment)
    if isinstance(plain, NotEnoughData) or not any(theta):
        return plain if isinstance(plain, NotEnoughData) else Adjusted(plain)
    adjusted = _combine(epochs, theta, found, control, treatment)
    if isinstance(adjusted, NotEnoughData):
        return adjusted
    return Adjusted(
        replace(adjusted, estimator=adjusted.estimator.replace("welch", "cuped")), adjusted.variance / plain.variance
    )


def known_part(metric: Metric, found: MetricEvidence, variants: Sequence[str]) -> float:
    """Return the least part of the units of a variant of which it is known what the control's version foresaw.

    1 for any other covariate, which all arms have alike. This one is the control's own answer in one arm and a shadow's
    in another: where many are not known, those that are may differ from those of the other arm.
    """
    if metric.covariate is not Covariate.CONTROL_PREDICTION:
        return 1.0
    return min(found.covariate_units.get(each, 0) / max(found.units.get(each, 0), 1) for each in variants)


def balance_strata(cells: Mapping[Cell, JointMoments], *, control: str, treatment: str) -> list[Stratum]:
    """Return the two arms of each epoch for what is compared without covariates or strata."""
    strata: list[Stratum] = []
    for number in sorted({epoch for _, epoch, _ in cells}):
        one, other = (ratio.linearise(_merged(cells, variant, number)) for variant in (control, treatment))
        if not (isinstance(one, NotEnoughData) or isinstance(other, NotEnoughData)):
            strata.append(Stratum(one, other))
    return strata


def _merged(cells: Mapping[Cell, JointMoments], variant: str, epoch: int) -> JointMoments:
    total = JointMoments()
    for (name, number, _), joint in sorted(cells.items()):
        if name == variant and number == epoch:
            total = total.merge(joint)
    return total


def _groups(own: Mapping[Cell, JointMoments], epoch: int, control: str, treatment: str) -> list[_Group]:
    """Return the strata of an epoch, those too thin to compare merged into the largest."""
    names = sorted({stratum for _, number, stratum in own if number == epoch})
    empty = JointMoments()
    groups = [
        _Group(own.get((control, epoch, name), empty), own.get((treatment, epoch, name), empty), frozenset({name}))
        for name in names
    ]
    groups.sort(key=lambda each: (each.thin, -each.units))
    largest, rest = groups[0], groups[1:]
    kept = [each for each in rest if not each.thin]
    for each in rest:
        if each.thin:
            largest = _Group(
                largest.control.merge(each.control),
                largest.treatment.merge(each.treatment),
                largest.strata | each.strata,
            )
    return [largest, *kept]


def _combine(
    epochs: Mapping[int, Sequence[_Group]],
    theta: Sequence[float],
    found: MetricEvidence,
    control: str,
    treatment: str,
) -> Contrast | NotEnoughData:
    """Return the contrast over all epochs."""
    strata: list[Stratum] = []
    moves: dict[Cell, NDArray[np.float64]] = {}
    for epoch, groups in epochs.items():
        total = sum(each.units for each in groups)
        cells: list[Stratum] = []
        for group in groups:
            middle = cuped.centre((group.control, group.treatment))
            arms: dict[str, Moments] = {}
            for sign, variant, joint in ((-1.0, control, group.control), (1.0, treatment, group.treatment)):
                line, slopes = ratio.linearise(joint, theta, middle), ratio.gradient(joint, theta)
                if not isinstance(slopes, NotEnoughData):
                    moved = np.asarray(slopes) * (sign * group.units / total / joint.n)
                    moves |= {(variant, epoch, stratum): moved for stratum in group.strata}
                if isinstance(line, NotEnoughData) and joint.n:
                    return NotEnoughData(f"{variant}, epoch {epoch}: {line.reason}")
                arms[variant] = Moments() if isinstance(line, NotEnoughData) else line
            cells.append(Stratum(arms[control], arms[treatment]))
        strata.append(poststratify(cells))
    covariances = _covariances(found, moves, {epoch: position for position, epoch in enumerate(epochs)})
    stratified = any(len(groups) > 1 for groups in epochs.values())
    return contrast(strata, covariances=covariances, estimator="welch_poststratified" if stratified else "welch")


def _covariances(
    found: MetricEvidence, moves: Mapping[Cell, NDArray[np.float64]], positions: Mapping[int, int]
) -> dict[tuple[int, int], float]:
    """Return the covariance of the differences of each two epochs, through the units that were seen in both."""
    total: dict[tuple[int, int], float] = {}
    for (one, other), products in found.shared.items():
        if one in moves and other in moves:
            pair = (positions[one[1]], positions[other[1]])
            with np.errstate(all="ignore"):
                total[pair] = total.get(pair, 0.0) + float(moves[one] @ np.asarray(products) @ moves[other])
    return total


def _of_quantiles(metric: Metric, found: MetricEvidence, control: str, treatment: str) -> Adjusted | NotEnoughData:
    strata: list[Stratum] = []
    refused = NotEnoughData("no epoch has units in both arms")
    for number in sorted({epoch for _, epoch, _ in found.histograms}):
        arms: list[Moments] = []
        for variant in (control, treatment):
            total = Histogram()
            for (name, epoch, _), histogram in found.histograms.items():
                if name == variant and epoch == number:
                    total = total.merge(histogram)
            moments = quantile.quantile_moments(total, metric.quantile)
            if isinstance(moments, NotEnoughData):
                refused = NotEnoughData(f"{variant}, epoch {number}: {moments.reason}")
            else:
                arms.append(moments)
        if len(arms) == 2:  # noqa: PLR2004  (both arms)
            strata.append(Stratum(arms[0], arms[1]))
    if not strata:
        return refused
    result = contrast(strata, estimator="quantile")
    return result if isinstance(result, NotEnoughData) else Adjusted(result)
