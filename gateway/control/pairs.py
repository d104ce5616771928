"""Compares two versions of a model on the calls that both of them saw: what a shadow is for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.analysis.findings import NotEnoughData
from experiments.analysis.judgement import Verdict
from experiments.analysis.paired import compare_paired, mcnemar
from experiments.definition import ALPHA_BELOW, ALPHA_MIN
from experiments.errors import ExperimentInvalidError
from experiments.metric import OF_OUTPUT, MetricKind, validate_metric
from experiments.plan import UNITS_MAX, Method
from gateway.control.reducing.pairs import reduce_pairs

if TYPE_CHECKING:
    from experiments.analysis.findings import Estimate
    from experiments.analysis.paired import Disagreement
    from experiments.metric import Metric
    from gateway.control.reducing.pairs import PairedEvidence, PairQuestion
    from gateway.journal.log import EventLog
    from storage.clock import Clock

ALPHA_DEFAULT = 0.05
PLANNED_UNITS_DEFAULT = 2_500
MINIMUM_UNITS_DEFAULT = 100


@dataclass(frozen=True, slots=True)
class PairRules:
    """How pairs are judged.

    Parameters
    ----------
    alpha
        The error rate of a false claim.
    method
        The sequence, or one look.
    planned_units
        Where the sequence is narrowest.
    minimum_units
        The fewest units before anything is claimed.
    """

    alpha: float = ALPHA_DEFAULT
    method: Method = Method.SEQUENCE
    planned_units: int = PLANNED_UNITS_DEFAULT
    minimum_units: int = MINIMUM_UNITS_DEFAULT


@dataclass(frozen=True, slots=True)
class PairedFinding:
    """What the pairs say.

    Parameters
    ----------
    labels
        Of an accuracy alone: whether the two are right equally often; None for other metrics.
    """

    result: Estimate | NotEnoughData
    verdict: Verdict
    labels: Disagreement | NotEnoughData | None
    evidence: PairedEvidence
    time_us: int


def compare_pairs(events: EventLog, clock: Clock, question: PairQuestion, rules: PairRules) -> PairedFinding:
    """Return what the pairs say, or raise ExperimentInvalidError when the question is none."""
    _check(question, rules)
    time_us = clock.now_us()
    with events.snapshot() as connection:
        evidence = reduce_pairs(connection, question, now_us=time_us)
    result = _judged(question.metric, evidence, rules)
    labels: Disagreement | NotEnoughData | None = None
    if question.metric.kind is MetricKind.ACCURACY:
        labels = NotEnoughData(_unusable(question.metric, evidence))
        if not evidence.unusable:
            # A version has more of a unit's pairs right where its sum is greater.
            labels = mcnemar(control_only=evidence.control_more, treatment_only=evidence.treatment_more)
    return PairedFinding(result, _verdict(question.metric, result, rules.alpha), labels, evidence, time_us)


def _judged(metric: Metric, evidence: PairedEvidence, rules: PairRules) -> Estimate | NotEnoughData:
    if evidence.unusable:
        return NotEnoughData(_unusable(metric, evidence))
    if evidence.joint.n < rules.minimum_units:
        return NotEnoughData(
            f"{evidence.joint.n} units have a pair with an outcome {metric.outcome!r}; {rules.minimum_units} are "
            f"needed; of {evidence.pairs} pairs {evidence.pending} have no outcome that counts yet, and "
            f"{evidence.failed} failed"
        )
    tuned = None if rules.method is Method.FIXED else rules.planned_units
    return compare_paired(evidence.joint, alpha=rules.alpha, tuned_units=tuned, more_is_better=metric.more_is_better)


def _unusable(metric: Metric, evidence: PairedEvidence) -> str:
    return (
        f"{evidence.unusable} pairs have an outcome {metric.outcome!r} for which {metric.kind} has no finite value on "
        f"both sides: is {metric.output}[{metric.output_index}] there, and in its range?"
    )


def _verdict(metric: Metric, result: Estimate | NotEnoughData, alpha: float) -> Verdict:
    if isinstance(result, NotEnoughData):
        return Verdict.UNKNOWN
    if result.p_value > alpha:
        return Verdict.OPEN
    return Verdict.BETTER if (result.difference > 0) is metric.more_is_better else Verdict.WORSE


def _check(question: PairQuestion, rules: PairRules) -> None:
    """Refuse what pairs cannot be asked by."""
    if question.control == question.treatment or min(question.control, question.treatment) < 1:
        raise ExperimentInvalidError("control_version and treatment_version are two versions: numbers from 1")
    if question.metric.kind not in OF_OUTPUT:
        raise ExperimentInvalidError(
            f"pairs differ in what was answered: {question.metric.kind} is not computed from an output"
        )
    validate_metric(question.metric)
    if not (math.isfinite(rules.alpha) and ALPHA_MIN <= rules.alpha < ALPHA_BELOW):
        raise ExperimentInvalidError(f"alpha is at least {ALPHA_MIN} and below {ALPHA_BELOW}")
    if rules.method is Method.GROUP_SEQUENTIAL:
        raise ExperimentInvalidError("pairs are compared by a sequence, or fixed for one look")
    for name in ("planned_units", "minimum_units"):
        if not 1 < getattr(rules, name) <= UNITS_MAX:
            raise ExperimentInvalidError(f"{name} is {getattr(rules, name)}, not from 2 to {UNITS_MAX}")
