"""What to do with an experiment, and why: a pure function of what the evidence says.

The rule, in order:

1. *investigate* when the data cannot be trusted: units are lost unevenly, outcomes are missing unevenly, or the arms
   differ in what the treatment cannot have touched;
2. *ship* a treatment that is significantly better in at least one success metric, significantly worse in none, and
   whose guardrails all hold within their margins;
3. *keep* the control when every treatment is significantly worse in a success metric or a guardrail;
4. *stop* when the planned units or the planned end have come without a claim, or every effect that is left open is
   too small to matter;
5. *continue* otherwise, with the time until the next claim can be expected.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.analysis.findings import NotEnoughData
from experiments.analysis.judgement import Verdict, judge
from experiments.analysis.outlook import expect
from experiments.analysis.reasons import end_of, flaws_of, left_out, primary, shrunk_effects, unadjusted
from experiments.metric import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.analysis.conclusions import Conclusions
    from experiments.analysis.evidence import Evidence
    from experiments.analysis.judgement import Judgement
    from experiments.definition import Experiment


class Recommendation(enum.StrEnum):
    """What to do."""

    SHIP = "ship"
    KEEP = "keep"
    CONTINUE = "continue"
    INVESTIGATE = "investigate"
    STOP = "stop"


class Status(enum.StrEnum):
    """How far the experiment is."""

    NOT_ENOUGH_DATA = "not_enough_data"
    UNDECIDED = "undecided"
    DECIDED = "decided"
    DATA_QUALITY = "data_quality"


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why.

    Parameters
    ----------
    variant
        The variant to ship; empty for any other recommendation.
    reasons
        A sentence each.
    status
        How far the experiment is.
    confidence
        One minus the least adjusted p-value of the success metrics of the variant that the decision is about, or of any
        when it is about none; None without one.
    average_improvement
        The mean over the success metrics of that variant of the gain as a part of the control's mean, raw; None without
        one.
    remaining_units, remaining_us
        What to expect before there is a claim; None where that cannot be told.
    """

    recommendation: Recommendation
    variant: str
    reasons: tuple[str, ...]
    status: Status = Status.UNDECIDED
    confidence: float | None = None
    average_improvement: float | None = None
    remaining_units: int | None = None
    remaining_us: int | None = None


def recommend(experiment: Experiment, conclusions: Conclusions, evidence: Evidence) -> Decision:
    """Return what to do with the experiment on the outcomes so far."""
    notes = (*left_out(evidence.counts), *unadjusted(experiment, evidence))
    flaws = flaws_of(experiment, conclusions)
    if flaws:
        return Decision(Recommendation.INVESTIGATE, "", (*flaws, *notes), Status.DATA_QUALITY)
    judged = judge(experiment, conclusions.comparisons)
    deciding = [each for each in judged if each.metric.role is not Role.MONITORING]
    sentences = tuple(each.sentence for each in deciding)
    shippable = [each.variant for each in experiment.treatments if _may_ship(deciding, each.variant)]
    if shippable:
        best = _best(experiment, judged, shippable)
        reasons = tuple(each.sentence for each in deciding if each.variant == best)
        if len(shippable) > 1:
            reasons += (f"of {', '.join(shippable)} it has the greatest gain in {primary(experiment).metric}",)
        reasons += shrunk_effects(conclusions, deciding, best)
        return Decision(Recommendation.SHIP, best, reasons + notes, Status.DECIDED, *_about(best, judged))
    about = _about("", judged)
    worse = {each.variant for each in deciding if each.verdict is Verdict.WORSE}
    if worse == {each.variant for each in experiment.treatments}:
        return Decision(Recommendation.KEEP, "", sentences + notes, Status.DECIDED, *about)
    over = end_of(experiment, conclusions, deciding, evidence.elapsed_us)
    if over:
        return Decision(Recommendation.STOP, "", (over, *sentences, *notes), Status.DECIDED, *about)
    if isinstance(conclusions.sample_ratio, NotEnoughData):
        notes = (f"the split could not be checked: {conclusions.sample_ratio.reason}", *notes)
    outlook = expect(experiment, conclusions, evidence)
    reasons = (*sentences, outlook.sentence, *notes)
    status = Status.NOT_ENOUGH_DATA if about[0] is None else Status.UNDECIDED
    return Decision(Recommendation.CONTINUE, "", reasons, status, *about, outlook.units, outlook.time_us)


def _about(variant: str, judged: Sequence[Judgement]) -> tuple[float | None, float | None]:
    """Return the confidence and the average improvement of a variant; of the nearest to a claim when it is empty."""
    successes = [each for each in judged if each.metric.role is Role.SUCCESS and each.p_value is not None]
    if not successes:
        return None, None
    about = variant or min(successes, key=lambda each: each.p_value or 0.0).variant
    own = [each for each in successes if each.variant == about]
    gains = [each.improvement for each in own if each.improvement is not None]
    confidence = 1 - min(each.p_value for each in own if each.p_value is not None)
    return confidence, sum(gains) / len(gains) if gains else None


def _may_ship(judged: Sequence[Judgement], variant: str) -> bool:
    own = [each for each in judged if each.variant == variant]
    return (
        any(each.verdict is Verdict.BETTER and each.metric.role is Role.SUCCESS for each in own)
        and all(each.verdict is not Verdict.WORSE for each in own)
        and all(each.verdict in {Verdict.HOLDS, Verdict.BETTER} for each in own if each.metric.role is Role.GUARDRAIL)
    )


def _best(experiment: Experiment, judged: Sequence[Judgement], variants: Sequence[str]) -> str:
    """Return which of the variants gains most in the first success metric; the first of equals."""
    first = primary(experiment).metric
    gains = {each.variant: each.gain for each in judged if each.metric.metric == first}
    return max(variants, key=lambda variant: gains[variant])
