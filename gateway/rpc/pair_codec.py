"""Comparisons of pairs as messages of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.analysis.findings import NotEnoughData
from gateway.control.pairs import ALPHA_DEFAULT, MINIMUM_UNITS_DEFAULT, PLANNED_UNITS_DEFAULT, PairRules
from gateway.control.reducing.pairs import PairQuestion
from gateway.rpc.analysis_codec import FINDINGS, estimate_message
from gateway.rpc.experiment_codec import method_of, metric_of
from gateway.rpc.registry_codec import model_id
from turnout.experiments.v1 import experiment_service_pb2 as pb

if TYPE_CHECKING:
    from experiments.analysis.paired import Disagreement
    from gateway.control.pairs import PairedFinding


def question(request: pb.ComparePairsRequest) -> tuple[PairQuestion, PairRules]:
    """Return what is asked and by which rules, or raise RequestMalformedError."""
    metric = pb.Metric()
    metric.CopyFrom(request.metric)
    metric.role = metric.role or pb.METRIC_ROLE_SUCCESS
    metric.covariate = pb.COVARIATE_UNSPECIFIED
    metric.covariate_attribute = ""
    asked = PairQuestion(
        model=model_id(request.model),
        control=request.control_version,
        treatment=request.treatment_version,
        metric=metric_of(metric),
        since_us=request.since_us,
    )
    rules = PairRules(
        alpha=request.alpha or ALPHA_DEFAULT,
        planned_units=request.planned_units or PLANNED_UNITS_DEFAULT,
        minimum_units=request.minimum_units or MINIMUM_UNITS_DEFAULT,
    )
    method = method_of(request.method)
    return asked, rules if method is None else PairRules(rules.alpha, method, rules.planned_units, rules.minimum_units)


def finding_message(found: PairedFinding) -> pb.ComparePairsResponse:
    """Return the message of what the pairs say."""
    message = pb.ComparePairsResponse(
        finding=FINDINGS[found.verdict],
        pairs=found.evidence.pairs,
        failed_pairs=found.evidence.failed,
        pending_pairs=found.evidence.pending,
        time_us=found.time_us,
    )
    if isinstance(found.result, NotEnoughData):
        message.not_enough_data = found.result.reason
    else:
        message.estimate.CopyFrom(estimate_message(found.result))
    if found.labels is not None:
        message.labels.CopyFrom(_labels(found.labels))
    return message


def _labels(labels: Disagreement | NotEnoughData) -> pb.PairedLabels:
    if isinstance(labels, NotEnoughData):
        return pb.PairedLabels(not_enough_data=labels.reason)
    return pb.PairedLabels(
        control_only=labels.control_only, treatment_only=labels.treatment_only, p_value=labels.p_value
    )
