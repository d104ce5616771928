"""What to do with an experiment, and why.

The rule, in order:

1. *investigate* when units did not come as the split says: no other number can be trusted then;
2. *ship* a treatment that is significantly better in at least one success metric, significantly worse in none, and
   significantly worse in no guardrail, each of which must have been measured;
3. *keep* the control when every treatment is significantly worse in a success metric or a guardrail;
4. *continue* otherwise.

Success metrics are judged together at the experiment's alpha, by Holm's method over metrics and treatments. A guardrail
is judged at alpha by itself: correcting it for the others would make harm harder to see.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.analysis.findings import Estimate, NotEnoughData
from experiments.analysis.multiplicity import holm
from experiments.definition import Direction, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.analysis.evidence import VariantCount
    from experiments.analysis.findings import Comparison, SampleRatioCheck
    from experiments.definition import Experiment, Metric


class Recommendation(enum.StrEnum):
    """What to do."""

    SHIP = "ship"
    KEEP = "keep"
    CONTINUE = "continue"
    INVESTIGATE = "investigate"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why.

    Parameters
    ----------
    variant
        The variant to ship; empty for any other recommendation.
    reasons
        A sentence each.
    """

    recommendation: Recommendation
    variant: str
    reasons: tuple[str, ...]


class _Verdict(enum.Enum):
    BETTER = "significantly better"
    WORSE = "significantly worse"
    OPEN = "not significantly different"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class _Judged:
    """One comparison with what it means.

    Parameters
    ----------
    gain
        The difference in the direction that is better; 0 when there is none.
    """

    metric: Metric
    variant: str
    verdict: _Verdict
    gain: float
    sentence: str


def recommend(
    experiment: Experiment,
    *,
    comparisons: Sequence[Comparison],
    sample_ratio: SampleRatioCheck | NotEnoughData,
    counts: Sequence[VariantCount],
) -> Decision:
    """Return what to do with the experiment on the outcomes so far."""
    notes = _notes(counts)
    if not isinstance(sample_ratio, NotEnoughData) and sample_ratio.mismatch:
        reason = (
            f"the units are not split as the shares say (chi-square {sample_ratio.chi_square:.4g}, "
            f"p = {sample_ratio.p_value:.2g}): find out which are missing before anything else"
        )
        return Decision(Recommendation.INVESTIGATE, "", (reason, *notes))
    judged = _judge(experiment, comparisons)
    deciding = [each for each in judged if each.metric.role is not Role.MONITORING]
    sentences = tuple(each.sentence for each in deciding)
    shippable = [each.variant for each in experiment.treatments if _may_ship(deciding, each.variant)]
    if shippable:
        best = _best(experiment, judged, shippable)
        reasons = tuple(each.sentence for each in deciding if each.variant == best)
        if len(shippable) > 1:
            primary = _primary(experiment)
            reasons += (f"of {', '.join(shippable)} it has the greatest gain in {primary.metric}",)
        return Decision(Recommendation.SHIP, best, reasons + notes)
    worse = {each.variant for each in deciding if each.verdict is _Verdict.WORSE}
    if worse == {each.variant for each in experiment.treatments}:
        return Decision(Recommendation.KEEP, "", sentences + notes)
    if isinstance(sample_ratio, NotEnoughData):
        notes = (f"the split could not be checked: {sample_ratio.reason}", *notes)
    return Decision(Recommendation.CONTINUE, "", sentences + notes)


def _may_ship(judged: Sequence[_Judged], variant: str) -> bool:
    own = [each for each in judged if each.variant == variant]
    return (
        any(each.verdict is _Verdict.BETTER and each.metric.role is Role.SUCCESS for each in own)
        and all(each.verdict is not _Verdict.WORSE for each in own)
        and all(each.verdict is not _Verdict.UNKNOWN for each in own if each.metric.role is Role.GUARDRAIL)
    )


def _primary(experiment: Experiment) -> Metric:
    """Return the first success metric: it breaks ties between treatments."""
    return next(each for each in experiment.metrics if each.role is Role.SUCCESS)


def _best(experiment: Experiment, judged: Sequence[_Judged], variants: Sequence[str]) -> str:
    """Return which of the variants gains most in the first success metric; the first of equals."""
    primary = _primary(experiment).metric
    gains = {each.variant: each.gain for each in judged if each.metric.metric == primary}
    return max(variants, key=lambda variant: gains[variant])


def _judge(experiment: Experiment, comparisons: Sequence[Comparison]) -> list[_Judged]:
    metrics = {each.metric: each for each in experiment.metrics}
    family = [
        (each.metric, each.variant, each.result.p_value)
        for each in comparisons
        if isinstance(each.result, Estimate) and metrics[each.metric].role is Role.SUCCESS
    ]
    adjusted = holm([p_value for _, _, p_value in family])
    judged_by = {(metric, variant): p for (metric, variant, _), p in zip(family, adjusted, strict=True)}
    return [
        _verdict(experiment, metrics[each.metric], each, judged_by.get((each.metric, each.variant)))
        for each in comparisons
    ]


def _verdict(experiment: Experiment, metric: Metric, comparison: Comparison, adjusted: float | None) -> _Judged:
    result = comparison.result
    if isinstance(result, NotEnoughData):
        sentence = f"{metric.metric} ({metric.role}) of {comparison.variant}: not enough data: {result.reason}"
        return _Judged(metric, comparison.variant, _Verdict.UNKNOWN, 0.0, sentence)
    gain = result.difference if metric.direction is Direction.INCREASE else -result.difference
    p_value = result.p_value if adjusted is None else adjusted
    verdict = _Verdict.OPEN
    if p_value <= experiment.alpha:
        verdict = _Verdict.BETTER if gain > 0 else _Verdict.WORSE
    holms = "" if adjusted is None or adjusted == result.p_value else f", {adjusted:.2g} by Holm"
    sentence = (
        f"{metric.metric} ({metric.role}, {metric.direction} is better) of {comparison.variant} is {verdict.value}: "
        f"{result.treatment_mean:.6g} against {result.control_mean:.6g}, difference {result.difference:+.4g} "
        f"[{result.lower:+.4g}, {result.upper:+.4g}] at {result.confidence:.1%}, p = {result.p_value:.2g}{holms}, "
        f"{result.treatment_units} against {result.control_units} units"
    )
    return _Judged(metric, comparison.variant, verdict, gain, sentence)


def _notes(counts: Sequence[VariantCount]) -> tuple[str, ...]:
    """Return a sentence for each variant whose predictions are not all in the comparison."""
    notes: list[str] = []
    for each in counts:
        apart = {
            "failed": each.failed_predictions,
            "were answered by the control's version": each.fallback_predictions,
            "could not be journalled": each.lost_predictions,
        }
        said = [f"{number} {what}" for what, number in apart.items() if number]
        if said:
            notes.append(f"of the predictions of {each.variant} {', '.join(said)}: those are not compared")
    return tuple(notes)
