"""Experiments and their analyses as messages of the contract, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from experiments.analysis.decision import Recommendation
from experiments.analysis.findings import Estimate, NotEnoughData
from experiments.definition import (
    DEFAULT_ALPHA,
    DEFAULT_MINIMUM_UNITS,
    Direction,
    Experiment,
    Metric,
    MetricKind,
    Role,
    State,
    Variant,
)
from gateway.errors import RequestMalformedError
from turnout import resources
from turnout.experiments.v1 import experiment_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from experiments.analysis.decision import Decision
    from experiments.analysis.evidence import VariantCount
    from experiments.analysis.findings import Comparison, SampleRatioCheck
    from experiments.explanation import Explanation
    from gateway.control.experiments import Analysis

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_STATES = {
    State.DRAFT: pb.EXPERIMENT_STATE_DRAFT,
    State.RUNNING: pb.EXPERIMENT_STATE_RUNNING,
    State.CONCLUDED: pb.EXPERIMENT_STATE_CONCLUDED,
}
_KINDS = {
    MetricKind.MEAN: pb.METRIC_KIND_MEAN,
    MetricKind.SQUARED_ERROR: pb.METRIC_KIND_SQUARED_ERROR,
    MetricKind.ABSOLUTE_ERROR: pb.METRIC_KIND_ABSOLUTE_ERROR,
    MetricKind.LOG_LOSS: pb.METRIC_KIND_LOG_LOSS,
    MetricKind.ACCURACY: pb.METRIC_KIND_ACCURACY,
}
_DIRECTIONS = {Direction.INCREASE: pb.DIRECTION_INCREASE, Direction.DECREASE: pb.DIRECTION_DECREASE}
_ROLES = {
    Role.SUCCESS: pb.METRIC_ROLE_SUCCESS,
    Role.GUARDRAIL: pb.METRIC_ROLE_GUARDRAIL,
    Role.MONITORING: pb.METRIC_ROLE_MONITORING,
}
_RECOMMENDATIONS = {
    Recommendation.SHIP: pb.RECOMMENDATION_SHIP,
    Recommendation.KEEP: pb.RECOMMENDATION_KEEP,
    Recommendation.CONTINUE: pb.RECOMMENDATION_CONTINUE,
    Recommendation.INVESTIGATE: pb.RECOMMENDATION_INVESTIGATE,
}


def experiment_id(name: str) -> str:
    """Return the id in an experiment's resource name, or raise RequestMalformedError."""
    try:
        return resources.experiment_id(name)
    except resources.ResourceNameError as error:
        raise RequestMalformedError(str(error), name=name[:128]) from error


def definition(request: pb.CreateExperimentRequest) -> Experiment:
    """Return the definition in a request, with the defaults that the contract names, or raise RequestMalformedError."""
    message = request.experiment
    try:
        model = resources.model_id(message.model)
    except resources.ResourceNameError as error:
        raise RequestMalformedError(str(error), name=message.model[:128]) from error
    return Experiment(
        id=request.experiment_id,
        model=model,
        variants=tuple(
            Variant(each.variant, each.version, each.share, control=each.control, alias=each.alias)
            for each in message.variants
        ),
        metrics=tuple(_metric(each) for each in message.metrics),
        coverage=message.coverage,
        seed=message.seed,
        description=message.description,
        owner=message.owner,
        alpha=message.alpha or DEFAULT_ALPHA,
        minimum_units=message.minimum_units or DEFAULT_MINIMUM_UNITS,
    )


def experiment_message(experiment: Experiment) -> pb.Experiment:
    """Return the message of an experiment."""
    return pb.Experiment(
        name=resources.experiment_name(experiment.id),
        model=resources.model_name(experiment.model),
        description=experiment.description,
        owner=experiment.owner,
        variants=[
            pb.Variant(
                variant=each.variant, version=each.version, alias=each.alias, share=each.share, control=each.control
            )
            for each in experiment.variants
        ],
        coverage=experiment.coverage,
        seed=experiment.seed,
        metrics=[_metric_message(each) for each in experiment.metrics],
        alpha=experiment.alpha,
        minimum_units=experiment.minimum_units,
        state=_STATES[experiment.state],
        epoch=experiment.epoch,
        etag=experiment.etag,
        create_time_us=experiment.created_us,
        start_time_us=experiment.started_us,
        conclude_time_us=experiment.concluded_us,
        winner=experiment.winner,
    )


def analysis_message(analysis: Analysis) -> pb.AnalyzeExperimentResponse:
    """Return the message of an analysis."""
    return pb.AnalyzeExperimentResponse(
        name=resources.experiment_name(analysis.experiment.id),
        counts=[_count_message(each) for each in analysis.counts],
        comparisons=[_comparison_message(each) for each in analysis.comparisons],
        sample_ratio=_ratio_message(analysis.sample_ratio),
        outcomes_analyzed=analysis.outcomes_analyzed,
        time_us=analysis.time_us,
    )


def recommendation_message(decision: Decision, analysis: Analysis) -> pb.GetRecommendationResponse:
    """Return the message of a recommendation and the analysis it rests on."""
    return pb.GetRecommendationResponse(
        recommendation=_RECOMMENDATIONS[decision.recommendation],
        variant=decision.variant,
        reasons=decision.reasons,
        analysis=analysis_message(analysis),
    )


def assignment_message(experiment: Experiment, explanation: Explanation) -> pb.GetAssignmentResponse:
    """Return the message of what a unit gets."""
    message = pb.GetAssignmentResponse(
        bucket=explanation.bucket, epoch=experiment.epoch, explanation=explanation.sentence
    )
    if explanation.assigned is not None:
        message.variant = explanation.assigned.variant
        message.version = explanation.assigned.version
        message.propensity = explanation.assigned.propensity
    return message


def _metric(message: pb.Metric) -> Metric:
    return Metric(
        metric=message.metric,
        kind=_known(_KINDS, message.kind, f"the kind of the metric {message.metric[:80]!r}"),
        outcome=message.outcome,
        direction=_known(_DIRECTIONS, message.direction, f"the direction of the metric {message.metric[:80]!r}"),
        role=_known(_ROLES, message.role, f"the role of the metric {message.metric[:80]!r}"),
        output=message.output,
        output_index=message.output_index,
    )


def _known(table: Mapping[_Key, _Value], value: _Value, what: str) -> _Key:
    """Return the key of a value of the contract, or raise RequestMalformedError when it is not given or not known."""
    for key, each in table.items():
        if each == value:
            return key
    raise RequestMalformedError(f"{what} is not given, or not one that is known here")


def _metric_message(metric: Metric) -> pb.Metric:
    return pb.Metric(
        metric=metric.metric,
        kind=_KINDS[metric.kind],
        outcome=metric.outcome,
        output=metric.output,
        output_index=metric.output_index,
        direction=_DIRECTIONS[metric.direction],
        role=_ROLES[metric.role],
    )


def _count_message(count: VariantCount) -> pb.VariantCount:
    return pb.VariantCount(
        variant=count.variant,
        units=count.units,
        predictions=count.predictions,
        matured_units=count.matured_units,
        failed_predictions=count.failed_predictions,
        fallback_predictions=count.fallback_predictions,
        lost_predictions=count.lost_predictions,
    )


def _comparison_message(comparison: Comparison) -> pb.Comparison:
    result = comparison.result
    if isinstance(result, NotEnoughData):
        return pb.Comparison(metric=comparison.metric, variant=comparison.variant, not_enough_data=result.reason)
    return pb.Comparison(metric=comparison.metric, variant=comparison.variant, estimate=_estimate_message(result))


def _estimate_message(estimate: Estimate) -> pb.Estimate:
    return pb.Estimate(
        control_mean=estimate.control_mean,
        treatment_mean=estimate.treatment_mean,
        difference=estimate.difference,
        lower=estimate.lower,
        upper=estimate.upper,
        confidence=estimate.confidence,
        p_value=estimate.p_value,
        control_units=estimate.control_units,
        treatment_units=estimate.treatment_units,
        method=estimate.method,
        degrees_of_freedom=estimate.degrees_of_freedom,
    )


def _ratio_message(ratio: SampleRatioCheck | NotEnoughData) -> pb.SampleRatio:
    if isinstance(ratio, NotEnoughData):
        return pb.SampleRatio(not_enough_data=ratio.reason)
    return pb.SampleRatio(
        check=pb.SampleRatioCheck(
            chi_square=ratio.chi_square,
            p_value=ratio.p_value,
            mismatch=ratio.mismatch,
            degrees_of_freedom=ratio.degrees_of_freedom,
        )
    )
