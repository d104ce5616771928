"""What an analysis rests on: counts and moments, never rows; and the comparisons that follow from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from experiments.analysis.findings import Comparison, Estimate, NotEnoughData
from experiments.analysis.moments import Moments
from experiments.analysis.sample_ratio import check_ratio
from experiments.analysis.welch import Stratum, compare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from experiments.allocation import Allocation
    from experiments.analysis.findings import SampleRatioCheck
    from experiments.definition import Experiment, Metric

Cell = tuple[str, int]
"""A variant and an epoch."""


@dataclass(frozen=True, slots=True)
class VariantCount:
    """How much one variant has.

    Parameters
    ----------
    units
        The units that were assigned, whatever became of their predictions.
    predictions, failed_predictions, fallback_predictions
        Their predictions; those that failed, and those that the control answered for them, which are not compared.
    matured_units
        The units with at least one outcome that is compared.
    lost_predictions
        Predictions that were answered and could not be journalled.
    """

    variant: str
    units: int = 0
    predictions: int = 0
    matured_units: int = 0
    failed_predictions: int = 0
    fallback_predictions: int = 0
    lost_predictions: int = 0


@dataclass(frozen=True, slots=True)
class MetricEvidence:
    """What the outcomes so far say of one metric, one observation a unit and epoch.

    Parameters
    ----------
    moments
        By variant and epoch.
    units
        By variant: how many units there are, each once however many epochs it was seen in.
    unusable
        By variant: predictions with an outcome for which the metric has no finite value.
    shared
        By two cells of different epochs, the earlier first: the sum over the units in both of the products of their
        deviations from the means of the cells.
    """

    moments: Mapping[Cell, Moments] = field(default_factory=dict)
    units: Mapping[str, int] = field(default_factory=dict)
    unusable: Mapping[str, int] = field(default_factory=dict)
    shared: Mapping[tuple[Cell, Cell], float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that an analysis rests on.

    Parameters
    ----------
    counts
        In the order of the variants.
    metrics
        In the order of the metrics.
    first_seen
        The units of each variant by the epoch that they were first seen in.
    outcomes_analyzed
        Outcomes joined to any prediction of the model, in the experiment or not.
    """

    counts: tuple[VariantCount, ...]
    metrics: tuple[MetricEvidence, ...]
    first_seen: Mapping[Cell, int]
    outcomes_analyzed: int


def compare_variants(experiment: Experiment, evidence: Evidence) -> tuple[Comparison, ...]:
    """Return each metric of each treatment against the control, metrics first."""
    return tuple(
        Comparison(metric.metric, treatment.variant, _compare(experiment, metric, found, treatment.variant))
        for metric, found in zip(experiment.metrics, evidence.metrics, strict=True)
        for treatment in experiment.treatments
    )


def check_split(
    experiment: Experiment, evidence: Evidence, epochs: Sequence[Allocation]
) -> SampleRatioCheck | NotEnoughData:
    """Return whether units came as the splits that were in force say."""
    names = [each.variant for each in experiment.variants]
    return check_ratio(
        [[evidence.first_seen.get((name, each.epoch), 0) for name in names] for each in epochs],
        [each.propensities() for each in epochs],
    )


def _compare(experiment: Experiment, metric: Metric, found: MetricEvidence, treatment: str) -> Estimate | NotEnoughData:
    control = experiment.control.variant
    for variant in (control, treatment):
        unusable = found.unusable.get(variant, 0)
        if unusable:
            return NotEnoughData(
                f"{unusable} predictions of {variant} have an outcome {metric.outcome!r} for which {metric.metric} has "
                f"no finite value{_hint(metric)}"
            )
        units = found.units.get(variant, 0)
        if units < experiment.minimum_units:
            return NotEnoughData(
                f"{variant} has {units} units with an outcome {metric.outcome!r}; {experiment.minimum_units} are needed"
            )
    numbers = sorted({epoch for _, epoch in found.moments})
    empty = Moments()
    strata = [
        Stratum(found.moments.get((control, each), empty), found.moments.get((treatment, each), empty))
        for each in numbers
    ]
    result = compare(strata, alpha=experiment.alpha, covariances=_covariances(found, control, treatment, numbers))
    if isinstance(result, NotEnoughData):
        return result
    return replace(result, control_units=found.units[control], treatment_units=found.units[treatment])


def _covariances(
    found: MetricEvidence, control: str, treatment: str, numbers: Sequence[int]
) -> dict[tuple[int, int], float]:
    """Return the covariance of the differences of each two epochs, through the units that were seen in both."""
    signs = {control: -1.0, treatment: 1.0}
    position = {epoch: i for i, epoch in enumerate(numbers)}
    total: dict[tuple[int, int], float] = {}
    for ((one, early), (other, late)), products in found.shared.items():
        if one in signs and other in signs:
            counts = found.moments[one, early].n * found.moments[other, late].n
            pair = (position[early], position[late])
            total[pair] = total.get(pair, 0.0) + signs[one] * signs[other] * products / counts
    return total


def _hint(metric: Metric) -> str:
    return f": is {metric.output}[{metric.output_index}] there, and in its range?" if metric.output else ""
