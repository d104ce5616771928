"""What to expect of an experiment that goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.analysis.findings import NotEnoughData
from experiments.analysis.power import DEFAULT_POWER, remaining_units
from experiments.metric import Role

if TYPE_CHECKING:
    from experiments.analysis.conclusions import Conclusions
    from experiments.analysis.evidence import Evidence
    from experiments.analysis.findings import Contrast
    from experiments.definition import Experiment, Metric

_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Outlook:
    """How much longer, as a sentence and in numbers; None where that cannot be told."""

    sentence: str
    units: int | None = None
    time_us: int | None = None


def expect(experiment: Experiment, conclusions: Conclusions, evidence: Evidence) -> Outlook:
    """Return when the first success metric can be expected to be settled for the treatment that is nearest to it.

    The effect that is looked for is the least that matters, where it was said; else the one that was seen, which may be
    less than it looks. The variance and the pace are those so far.
    """
    metric = next(each for each in experiment.metrics if each.role is Role.SUCCESS)
    found = [
        each.contrast for each in conclusions.comparisons if each.metric == metric.metric and each.contrast is not None
    ]
    if not found:
        return Outlook("how much longer cannot be told before there are units in both arms")
    contrast = max(found, key=lambda each: abs(each.difference) / each.standard_error)
    effect, what = _effect(metric, contrast)
    units = remaining_units(
        contrast,
        effect,
        alpha=experiment.alpha,
        method=experiment.plan.settled_method,
        looks=experiment.plan.looks,
    )
    if isinstance(units, NotEnoughData):
        return Outlook(f"how much longer cannot be told: {units.reason}")
    sentence = f"{units} more units find {what} of {effect:+.4g} in {metric.metric} with a power of {DEFAULT_POWER:.0%}"
    if evidence.elapsed_us <= 0:
        return Outlook(sentence, units)
    time_us = round(units * evidence.elapsed_us / contrast.units)
    pace = contrast.units * _DAY_US / evidence.elapsed_us
    return Outlook(f"{sentence}: {time_us / _DAY_US:.1f} days at {pace:.4g} units a day", units, time_us)


def _effect(metric: Metric, contrast: Contrast) -> tuple[float, str]:
    wanted = metric.minimum_effect * abs(contrast.control_mean)
    if wanted > 0:
        return (wanted if metric.more_is_better else -wanted), "the least effect that matters,"
    return contrast.difference, "an effect such as was seen,"
