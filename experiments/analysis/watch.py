"""From a contrast to what may be claimed of it, given the looks that were taken before."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from experiments.analysis.bayes import posterior
from experiments.analysis.findings import Estimate, NotEnoughData, Relative
from experiments.analysis.group_sequential import look_interval
from experiments.analysis.proportion import proportion_interval
from experiments.analysis.relative import relative_lift
from experiments.analysis.sequence import TUNED_UNITS_DEFAULT, Running, intersection, sequence_interval
from experiments.analysis.shrinkage import shrink
from experiments.analysis.welch import estimate, fixed_interval
from experiments.metric import MetricKind
from experiments.plan import Method

if TYPE_CHECKING:
    from experiments.analysis.estimation import Adjusted
    from experiments.analysis.findings import Contrast, Interval
    from experiments.metric import Metric
    from experiments.plan import Plan


@dataclass(frozen=True, slots=True)
class Watch:
    """What earlier looks at one metric of one treatment left behind.

    Parameters
    ----------
    running
        The confidence sequence so far.
    fractions, deviates
        Of the looks of a group sequential test that spent alpha: the part of the planned units, and the difference in
        standard errors.
    at_look
        What was there at the last of them.
    """

    running: Running = field(default_factory=Running)
    fractions: tuple[float, ...] = ()
    deviates: tuple[float, ...] = ()
    at_look: Adjusted | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What was settled beforehand for one comparison.

    Parameters
    ----------
    alpha, plan
        Of the experiment.
    planned_units
        Of the two arms together; 0: not known.
    """

    alpha: float
    plan: Plan
    planned_units: int


def look(metric: Metric, found: Adjusted, *, rules: Rules, watch: Watch) -> tuple[Estimate | NotEnoughData, Watch]:
    """Return what may be claimed now, and what the next look must know of this one."""
    method = rules.plan.settled_method
    if method is Method.FIXED:
        return _fixed(metric, found, rules), watch
    if method is Method.GROUP_SEQUENTIAL:
        return _group_sequential(metric, found, rules, watch)
    interval = sequence_interval(
        found.contrast, alpha=rules.alpha, tuned_units=rules.planned_units or TUNED_UNITS_DEFAULT
    )
    running = watch.running.then(interval, relative_lift(found.contrast, interval))
    left = intersection(running, interval)
    later = replace(watch, running=running)
    if isinstance(left, NotEnoughData):
        return left, later
    told = _told(metric, found, left, rules, "sequence")
    if isinstance(told.relative, Relative):
        told = replace(told, relative=replace(told.relative, lower=running.lift_lower, upper=running.lift_upper))
    return told, later


def _fixed(metric: Metric, found: Adjusted, rules: Rules) -> Estimate | NotEnoughData:
    if metric.kind is MetricKind.PROPORTION and found.contrast.estimator == "welch":
        score = proportion_interval(found.contrast, alpha=rules.alpha)
        if isinstance(score, NotEnoughData):
            return score
        return _told(metric, replace(found, contrast=replace(found.contrast, estimator="score")), score, rules, "")
    return _told(metric, found, fixed_interval(found.contrast, alpha=rules.alpha), rules, "")


def _group_sequential(
    metric: Metric, found: Adjusted, rules: Rules, watch: Watch
) -> tuple[Estimate | NotEnoughData, Watch]:
    """Return what the last look that was due says; a new one is due when a planned step more of the units has come."""
    fraction = min(1.0, found.contrast.units / rules.planned_units)
    last = watch.fractions[-1] if watch.fractions else 0.0
    due = last < 1 and (fraction >= 1 or fraction - last >= 1 / rules.plan.looks - 1e-12)
    if due:
        watch = replace(
            watch,
            fractions=(*watch.fractions, fraction),
            deviates=(*watch.deviates, found.contrast.difference / found.contrast.standard_error),
            at_look=found,
        )
    if watch.at_look is None:
        first = -(-rules.planned_units // rules.plan.looks)
        return NotEnoughData(
            f"the first of {rules.plan.looks} planned looks is due at {first} units; there are {found.contrast.units}"
        ), watch
    interval = look_interval(
        watch.at_look.contrast,
        fractions=watch.fractions,
        deviates=watch.deviates,
        alpha=rules.alpha,
        spending=rules.plan.spending,
    )
    return _told(metric, watch.at_look, interval, rules, f"look_{len(watch.fractions)}"), watch


def _told(metric: Metric, found: Adjusted, interval: Interval, rules: Rules, how: str) -> Estimate:
    """Return the finding with all that is said beside the interval."""
    contrast: Contrast = found.contrast
    told = estimate(contrast, interval, rules.alpha)
    return replace(
        told,
        method=f"{contrast.estimator}_{how}" if how else contrast.estimator,
        relative=relative_lift(contrast, interval),
        posterior=posterior(contrast, alpha=rules.alpha, more_is_better=metric.more_is_better),
        shrunk=shrink(contrast.difference, error=contrast.standard_error, critical=interval.critical),
        variance_kept=found.variance_kept,
    )
