"""All that follows from the evidence of an experiment before anything is decided: a pure function."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from experiments.analysis.balance import check_balance
from experiments.analysis.estimation import KNOWN_PART_MIN, balance_strata, estimate_contrast, known_part
from experiments.analysis.findings import Comparison, NotEnoughData
from experiments.analysis.moments import Moments
from experiments.analysis.proportion import compare_proportions
from experiments.analysis.sample_ratio import MISMATCH_BELOW
from experiments.analysis.sequence import sequence_interval
from experiments.analysis.stages import Stage, check_stages
from experiments.analysis.watch import Rules, Watch, look
from experiments.analysis.welch import Stratum, contrast
from experiments.metric import OF_OUTPUT, Covariate
from experiments.plan import Method

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from experiments.allocation import Allocation
    from experiments.analysis.balance import BalanceCheck
    from experiments.analysis.evidence import Evidence, Maturity, MetricEvidence
    from experiments.analysis.findings import Estimate, SampleRatioCheck
    from experiments.analysis.stages import StageCheck
    from experiments.definition import Experiment, Metric

Watches = dict[tuple[str, str], Watch]
"""What earlier looks left behind, by metric and treatment."""


@dataclass(frozen=True, slots=True)
class Missingness:
    """How much of what should be known of a metric is not, in a treatment against the control.

    Parameters
    ----------
    maturity
        The control's and the treatment's.
    p_value
        Of the outcomes missing equally often.
    uneven
        Whether they do not: p below 0.001.
    """

    metric: str
    variant: str
    maturity: tuple[Maturity, Maturity]
    p_value: float
    uneven: bool


@dataclass(frozen=True, slots=True)
class Conclusions:
    """What the evidence says.

    Parameters
    ----------
    comparisons
        Each metric of each treatment against the control, metrics first.
    stages, balance, missingness
        Whether the data can be trusted.
    watches
        What the next look must know.
    """

    comparisons: tuple[Comparison, ...]
    stages: tuple[StageCheck, ...]
    balance: tuple[BalanceCheck, ...]
    missingness: tuple[Missingness, ...]
    watches: Watches

    @property
    def sample_ratio(self) -> SampleRatioCheck | NotEnoughData:
        """The check of the units that were journalled, which is all of them but for predictions that were lost."""
        found = [each.result for each in self.stages if each.stage is Stage.JOURNALLED]
        return found[0] if found else NotEnoughData("no split has been in force")


def conclude(
    experiment: Experiment,
    evidence: Evidence,
    epochs: Sequence[Allocation],
    watches: Mapping[tuple[str, str], Watch] | None = None,
) -> Conclusions:
    """Return what the evidence says, given what was settled beforehand and the looks that were taken before."""
    comparisons: list[Comparison] = []
    later: Watches = {}
    for metric, found in zip(experiment.metrics, evidence.metrics, strict=True):
        for treatment in experiment.treatments:
            key = (metric.metric, treatment.variant)
            before = (watches or {}).get(key, Watch())
            comparison, later[key] = _compare(experiment, metric, found, treatment.variant, before)
            comparisons.append(comparison)
    return Conclusions(
        comparisons=tuple(comparisons),
        stages=_stages(experiment, evidence, epochs),
        balance=_balance(experiment, evidence),
        missingness=_missingness(experiment, evidence),
        watches=later,
    )


def _compare(
    experiment: Experiment, metric: Metric, found: MetricEvidence, treatment: str, watch: Watch
) -> tuple[Comparison, Watch]:
    control = experiment.control.variant
    refused = _refusal(experiment, metric, found, (control, treatment))
    if refused is not None:
        return Comparison(metric.metric, treatment, refused), watch
    adjusted = estimate_contrast(metric, found, control=control, treatment=treatment)
    if isinstance(adjusted, NotEnoughData):
        return Comparison(metric.metric, treatment, adjusted), watch
    counted = replace(adjusted.contrast, control_units=found.units[control], treatment_units=found.units[treatment])
    adjusted = replace(adjusted, contrast=counted)
    pair = experiment.control.share + experiment.variant(treatment).share
    planned = round(experiment.plan.planned_units * pair)
    rules = Rules(experiment.alpha, experiment.plan, planned)
    result: Estimate | NotEnoughData
    result, later = look(metric, adjusted, rules=rules, watch=watch)
    return Comparison(metric.metric, treatment, result, adjusted.contrast), later


def _refusal(
    experiment: Experiment, metric: Metric, found: MetricEvidence, variants: Sequence[str]
) -> NotEnoughData | None:
    """Return why nothing can be compared; None when it can."""
    of = f"an outcome {metric.outcome!r}" if metric.outcome else f"a value of {metric.metric}"
    for variant in variants:
        unusable = found.unusable.get(variant, 0)
        if unusable:
            return NotEnoughData(
                f"{unusable} predictions of {variant} have {of} for which {metric.metric} has no finite value"
                f"{_hint(metric)}"
            )
        units = found.units.get(variant, 0)
        if units < experiment.minimum_units:
            maturity = found.maturity.get(variant)
            pending = f"; {maturity.pending} are still to come" if maturity is not None and maturity.pending else ""
            return NotEnoughData(
                f"{variant} has {units} units with {of}; {experiment.minimum_units} are needed{pending}"
            )
    return None


def _hint(metric: Metric) -> str:
    return f": is {metric.output}[{metric.output_index}] there, and in its range?" if metric.kind in OF_OUTPUT else ""


def _stages(experiment: Experiment, evidence: Evidence, epochs: Sequence[Allocation]) -> tuple[StageCheck, ...]:
    names = [each.variant for each in experiment.variants]
    observed = {
        stage: [[cells.get((name, each.epoch), 0) for name in names] for each in epochs]
        for stage, cells in evidence.stages.items()
    }
    watched = experiment.plan.settled_method is not Method.FIXED
    return check_stages(observed, [each.propensities() for each in epochs], watched=watched)


def _balance(experiment: Experiment, evidence: Evidence) -> tuple[BalanceCheck, ...]:
    control = experiment.control.variant
    watched = experiment.plan.settled_method is not Method.FIXED
    checks: list[BalanceCheck] = []
    for treatment in experiment.treatments:
        arms = {"control": control, "treatment": treatment.variant}
        for what, cells in evidence.balance.items():
            checks.append(check_balance(what, treatment.variant, balance_strata(cells, **arms), watched=watched))
        for metric, found in zip(experiment.metrics, evidence.metrics, strict=True):
            known = known_part(metric, found, (control, treatment.variant)) >= KNOWN_PART_MIN
            if metric.covariate is not Covariate.NONE and known:
                # The covariate stands third; as a numerator over the denominator 1 it is a plain mean.
                own = {cell: joint.pick(2) for cell, joint in found.moments.items() if joint.n}
                what = f"covariate of {metric.metric}"
                checks.append(check_balance(what, treatment.variant, balance_strata(own, **arms), watched=watched))
    return tuple(checks)


def _missingness(experiment: Experiment, evidence: Evidence) -> tuple[Missingness, ...]:
    control = experiment.control.variant
    watched = experiment.plan.settled_method is not Method.FIXED
    checks: list[Missingness] = []
    for metric, found in zip(experiment.metrics, evidence.metrics, strict=True):
        for treatment in experiment.treatments:
            one, other = (found.maturity.get(variant) for variant in (control, treatment.variant))
            if one is None or other is None:
                continue
            p_value = _absence(one, other, windowed=bool(metric.window_us), watched=watched)
            uneven = p_value < MISMATCH_BELOW
            checks.append(Missingness(metric.metric, treatment.variant, (one, other), p_value, uneven=uneven))
    return tuple(checks)


def _absence(one: Maturity, other: Maturity, *, windowed: bool, watched: bool) -> float:
    """Return the p-value of outcomes being absent equally often; 1 where it cannot be told."""
    absent = [each.missing if windowed else each.missing + each.pending for each in (one, other)]
    units = [each.matured + gone for each, gone in zip((one, other), absent, strict=True)]
    if not watched:
        result = compare_proportions((absent[0], units[0]), (absent[1], units[1]), alpha=MISMATCH_BELOW)
        return 1.0 if isinstance(result, NotEnoughData) else result.p_value
    control, treatment = (
        Moments(n, gone / n, gone * (n - gone) / n) if n else Moments() for gone, n in zip(absent, units, strict=True)
    )
    found = contrast([Stratum(control, treatment)])
    return 1.0 if isinstance(found, NotEnoughData) else sequence_interval(found, alpha=MISMATCH_BELOW).p_value
