"""What one comparison means for the decision."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.analysis.findings import Estimate, NotEnoughData, Relative
from experiments.analysis.multiplicity import adjust
from experiments.metric import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.analysis.findings import Comparison
    from experiments.definition import Experiment, Metric


class Verdict(enum.Enum):
    """What the data say of one metric of one treatment."""

    BETTER = "significantly better"
    WORSE = "significantly worse"
    HOLDS = "not worse than its margin"
    OPEN = "not settled"
    UNKNOWN = "not measured"


@dataclass(frozen=True, slots=True)
class Judgement:
    """One comparison with what it means.

    Parameters
    ----------
    p_value
        Adjusted for the other claims, where it is one of several; None without an estimate.
    gain
        The difference in the direction that is better; 0 when there is none.
    improvement
        The same as a part of the control's mean; None when there is none.
    negligible
        Whether the whole interval is smaller than the least effect that matters.
    sentence
        All of it in words and numbers.
    """

    metric: Metric
    variant: str
    verdict: Verdict
    p_value: float | None
    gain: float
    improvement: float | None
    negligible: bool
    sentence: str


def judge(experiment: Experiment, comparisons: Sequence[Comparison]) -> list[Judgement]:
    """Return what each comparison means.

    Better is a claim, so that success metrics share alpha over metrics and treatments. Worse is a warning: each is
    judged at alpha by itself, since a correction would make harm harder to see. A guardrail holds when its interval is
    within the margin.
    """
    metrics = {each.metric: each for each in experiment.metrics}
    family = [
        (each.metric, each.variant, each.result.p_value)
        for each in comparisons
        if isinstance(each.result, Estimate) and metrics[each.metric].role is Role.SUCCESS
    ]
    adjusted = adjust([p_value for _, _, p_value in family], experiment.plan.correction)
    shared = {(metric, variant): p for (metric, variant, _), p in zip(family, adjusted, strict=True)}
    return [
        _judge_one(experiment, metrics[each.metric], each, shared.get((each.metric, each.variant)))
        for each in comparisons
    ]


def _judge_one(experiment: Experiment, metric: Metric, comparison: Comparison, shared: float | None) -> Judgement:
    result = comparison.result
    if isinstance(result, NotEnoughData):
        sentence = f"{metric.metric} ({metric.role}) of {comparison.variant}: not enough data: {result.reason}"
        return Judgement(
            metric, comparison.variant, Verdict.UNKNOWN, None, 0.0, None, negligible=False, sentence=sentence
        )
    sign = 1.0 if metric.more_is_better else -1.0
    gain = sign * result.difference
    p_value = result.p_value if shared is None else shared
    verdict = Verdict.OPEN
    if p_value <= experiment.alpha and gain > 0:
        verdict = Verdict.BETTER
    elif result.p_value <= experiment.alpha and gain < 0:
        verdict = Verdict.WORSE
    elif metric.role is Role.GUARDRAIL and _within(metric, result):
        verdict = Verdict.HOLDS
    improvement = sign * result.relative.lift if isinstance(result.relative, Relative) else None
    return Judgement(
        metric,
        comparison.variant,
        verdict,
        p_value,
        gain,
        improvement,
        negligible=_negligible(metric, result),
        sentence=f"{metric.metric} ({metric.role}, {metric.direction} is better{_margin(metric)}) of "
        f"{comparison.variant} is {verdict.value}: {_numbers(result, _several(experiment, result, shared))}",
    )


def _within(metric: Metric, result: Estimate) -> bool:
    """Whether the worst that the interval leaves open is within the guardrail's margin."""
    worst = result.lower if metric.more_is_better else -result.upper
    if metric.absolute_margin and worst > -metric.absolute_margin:
        return True
    if not isinstance(result.relative, Relative):
        return False
    lift = result.relative.lower if metric.more_is_better else -result.relative.upper
    return lift > -metric.margin


def _negligible(metric: Metric, result: Estimate) -> bool:
    if not (metric.minimum_effect and isinstance(result.relative, Relative)):
        return False
    return max(abs(result.relative.lower), abs(result.relative.upper)) < metric.minimum_effect


def _margin(metric: Metric) -> str:
    return f", margin {metric.margin:.2%}" if metric.role is Role.GUARDRAIL else ""


def _several(experiment: Experiment, result: Estimate, shared: float | None) -> str:
    if shared is None or math.isclose(shared, result.p_value):
        return ""
    return f", {shared:.2g} by {experiment.plan.correction.value.replace('_', ' ').title()}"


def _numbers(result: Estimate, several: str) -> str:
    relative, part = result.relative, ""
    if isinstance(relative, Relative):
        part = f" ({relative.lift:+.2%} [{relative.lower:+.2%}, {relative.upper:+.2%}])"
    return (
        f"{result.treatment_mean:.6g} against {result.control_mean:.6g}, difference {result.difference:+.4g} "
        f"[{result.lower:+.4g}, {result.upper:+.4g}] at {result.confidence:.1%}{part}, p = {result.p_value:.2g}"
        f"{several}, {result.treatment_units} against {result.control_units} units, {result.method}"
    )
