"""What the outcomes say of a ramp's candidate: the analysis of the experiment, at the ramp's error rate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from experiments.analysis.conclusions import conclude
from experiments.analysis.judgement import Verdict, judge
from experiments.analysis.reasons import flaws_of, primary
from experiments.metric import Role
from experiments.plan import Method

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.allocation import Allocation
    from experiments.analysis.evidence import Evidence
    from experiments.definition import Experiment
    from experiments.ramp.definition import Ramp


@dataclass(frozen=True, slots=True)
class OutcomeReading:
    """What the outcomes so far say; sentences.

    Parameters
    ----------
    matured
        How many units of the control and of the candidate have an outcome in the present step.
    worse
        Metrics in which the candidate is significantly worse.
    unproven, holding
        Guardrail metrics that are not, and that are, shown to be within their margins.
    doubts
        Why the data cannot be trusted.
    """

    matured: tuple[int, int] = (0, 0)
    worse: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    holding: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def metric_alpha(experiment: Experiment, ramp: Ramp) -> float:
    """Return the error rate of each metric: the metrics that decide share half of the ramp's alpha."""
    deciding = sum(each.role is not Role.MONITORING for each in experiment.metrics)
    return ramp.alpha / 2 / max(1, deciding)


def read_outcomes(
    experiment: Experiment, ramp: Ramp, evidence: Evidence, epochs: Sequence[Allocation]
) -> OutcomeReading:
    """Return what the outcomes say: by confidence sequences, since a ramp looks again and again.

    A guardrail metric holds when its whole interval is within its margin, and is breached when it is significantly
    worse; a success metric is only asked not to be.
    """
    plan = replace(experiment.plan, method=Method.SEQUENCE)
    asked = replace(experiment, plan=plan, alpha=metric_alpha(experiment, ramp))
    conclusions = conclude(asked, evidence, epochs)
    judged = [each for each in judge(asked, conclusions.comparisons) if each.metric.role is not Role.MONITORING]
    guardrails = [each for each in judged if each.metric.role is Role.GUARDRAIL]
    hold = {Verdict.HOLDS, Verdict.BETTER}
    return OutcomeReading(
        matured=_matured(experiment, evidence),
        worse=tuple(each.sentence for each in judged if each.verdict is Verdict.WORSE),
        unproven=tuple(each.sentence for each in guardrails if each.verdict not in hold),
        holding=tuple(each.sentence for each in guardrails if each.verdict in hold),
        doubts=flaws_of(asked, conclusions),
    )


def _matured(experiment: Experiment, evidence: Evidence) -> tuple[int, int]:
    """Return the units of both arms that the first success metric knows the outcome of in the present epoch."""
    position = experiment.metrics.index(primary(experiment))
    found = evidence.metrics[position]
    arms = (experiment.control.variant, experiment.treatments[0].variant)
    counts = dict.fromkeys(arms, 0)
    for cells in (
        {cell: joint.n for cell, joint in found.moments.items()},
        {cell: histogram.n for cell, histogram in found.histograms.items()},
    ):
        for (variant, epoch, _), n in cells.items():
            if variant in counts and epoch == experiment.epoch:
                counts[variant] += n
    return counts[arms[0]], counts[arms[1]]
