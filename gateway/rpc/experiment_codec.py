"""Experiments as messages of the contract, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf import struct_pb2
from google.protobuf.json_format import MessageToDict

from experiments.definition import DEFAULT_ALPHA, DEFAULT_MINIMUM_UNITS, Experiment, State, Variant
from experiments.metric import DEFAULT_MARGIN, Covariate, Direction, Metric, MetricKind, Role
from experiments.plan import DEFAULT_LOOKS, Correction, Method, Plan, Spending
from experiments.scope import Scope, UnitKind
from gateway.errors import RequestMalformedError
from gateway.rpc import ramp_codec
from turnout import resources
from turnout.experiments.v1 import experiment_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from experiments.explanation import Explanation

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_STATES = {
    State.DRAFT: pb.EXPERIMENT_STATE_DRAFT,
    State.RUNNING: pb.EXPERIMENT_STATE_RUNNING,
    State.PAUSED: pb.EXPERIMENT_STATE_PAUSED,
    State.CONCLUDED: pb.EXPERIMENT_STATE_CONCLUDED,
    State.ARCHIVED: pb.EXPERIMENT_STATE_ARCHIVED,
}
_UNITS = {UnitKind.UNIT_ID: pb.UNIT_KIND_UNIT_ID, UnitKind.REQUEST: pb.UNIT_KIND_REQUEST}
_SCOPE = frozenset({"unit", "targeting", "forced", "layer_share"})
_KINDS = {
    MetricKind.MEAN: pb.METRIC_KIND_MEAN,
    MetricKind.SQUARED_ERROR: pb.METRIC_KIND_SQUARED_ERROR,
    MetricKind.ABSOLUTE_ERROR: pb.METRIC_KIND_ABSOLUTE_ERROR,
    MetricKind.LOG_LOSS: pb.METRIC_KIND_LOG_LOSS,
    MetricKind.ACCURACY: pb.METRIC_KIND_ACCURACY,
    MetricKind.BRIER: pb.METRIC_KIND_BRIER,
    MetricKind.LATENCY: pb.METRIC_KIND_LATENCY,
    MetricKind.ERROR_RATE: pb.METRIC_KIND_ERROR_RATE,
    MetricKind.FEATURE_DEFAULT_RATE: pb.METRIC_KIND_FEATURE_DEFAULT_RATE,
    MetricKind.PROPORTION: pb.METRIC_KIND_PROPORTION,
    MetricKind.RATIO: pb.METRIC_KIND_RATIO,
    MetricKind.COUNT: pb.METRIC_KIND_COUNT,
    MetricKind.QUANTILE: pb.METRIC_KIND_QUANTILE,
}
_DIRECTIONS = {Direction.INCREASE: pb.DIRECTION_INCREASE, Direction.DECREASE: pb.DIRECTION_DECREASE}
_ROLES = {
    Role.SUCCESS: pb.METRIC_ROLE_SUCCESS,
    Role.GUARDRAIL: pb.METRIC_ROLE_GUARDRAIL,
    Role.MONITORING: pb.METRIC_ROLE_MONITORING,
}
_COVARIATES = {
    Covariate.NONE: pb.COVARIATE_UNSPECIFIED,
    Covariate.PRE_EXPERIMENT: pb.COVARIATE_PRE_EXPERIMENT,
    Covariate.ATTRIBUTE: pb.COVARIATE_ATTRIBUTE,
    Covariate.CONTROL_PREDICTION: pb.COVARIATE_CONTROL_PREDICTION,
}
METHODS = {
    Method.FIXED: pb.ANALYSIS_METHOD_FIXED,
    Method.SEQUENCE: pb.ANALYSIS_METHOD_SEQUENCE,
    Method.GROUP_SEQUENTIAL: pb.ANALYSIS_METHOD_GROUP_SEQUENTIAL,
}
_CORRECTIONS = {
    Correction.HOLM: pb.CORRECTION_HOLM,
    Correction.HOCHBERG: pb.CORRECTION_HOCHBERG,
    Correction.BENJAMINI_HOCHBERG: pb.CORRECTION_BENJAMINI_HOCHBERG,
    Correction.NONE: pb.CORRECTION_NONE,
}
_SPENDINGS = {Spending.OBRIEN_FLEMING: pb.SPENDING_OBRIEN_FLEMING, Spending.POWER: pb.SPENDING_POWER}
# Fields that are called and mean the same on both sides.
_METRIC_VALUES = (
    "absolute_margin",
    "minimum_effect",
    "denominator",
    "quantile",
    "winsorize",
    "window_us",
    "missing_as_zero",
    "covariate_attribute",
)


def experiment_id(name: str) -> str:
    """Return the id in an experiment's resource name, or raise RequestMalformedError."""
    try:
        return resources.experiment_id(name)
    except resources.ResourceNameError as error:
        raise RequestMalformedError(str(error), name=name[:128]) from error


def definition(message: pb.Experiment, *, identity: str) -> Experiment:
    """Return the definition in a message, with the defaults that the contract names, or raise RequestMalformedError."""
    try:
        model = resources.model_id(message.model)
    except resources.ResourceNameError as error:
        raise RequestMalformedError(str(error), name=message.model[:128]) from error
    return _defined(message, identity=identity, model=model)


def changed_definition(request: pb.UpdateExperimentRequest) -> tuple[Experiment, list[str]]:
    """Return the experiment with its new values, and which fields are new; or raise RequestMalformedError."""
    message, fields = request.experiment, list(request.update_mask.paths)
    if not fields:
        raise RequestMalformedError("update_mask names no field: nothing would be updated")
    for path in fields:
        if path not in pb.Experiment.DESCRIPTOR.fields_by_name:
            raise RequestMalformedError(f"update_mask names {path[:80]!r}, which is no field of an experiment")
    # What is not named may be missing, or wrong.
    named = pb.Experiment()
    request.update_mask.MergeMessage(message, named)
    scope = _SCOPE & set(fields)
    if scope and scope != _SCOPE:
        raise RequestMalformedError(f"{', '.join(sorted(_SCOPE))} are updated together: name all or none of them")
    changed = _defined(named, identity=experiment_id(message.name), model="")
    return changed, [each for each in fields if each not in _SCOPE] + ["scope"] * bool(scope)


def _defined(message: pb.Experiment, *, identity: str, model: str) -> Experiment:
    return Experiment(
        id=identity,
        model=model,
        variants=tuple(
            Variant(each.variant, each.version, each.share, control=each.control, alias=each.alias)
            for each in message.variants
        ),
        metrics=tuple(metric_of(each) for each in message.metrics),
        coverage=message.coverage,
        seed=message.seed,
        description=message.description,
        owner=message.owner,
        alpha=message.alpha or DEFAULT_ALPHA,
        minimum_units=message.minimum_units or DEFAULT_MINIMUM_UNITS,
        plan=_plan(message.plan),
        scope=Scope(
            unit=_known(_UNITS, message.unit or pb.UNIT_KIND_UNIT_ID, "the unit"),
            targeting=MessageToDict(message.targeting) if message.HasField("targeting") else None,
            forced=dict(message.forced),
            layer_share=message.layer_share if message.HasField("layer_share") else 1.0,
        ),
        ramp=ramp_codec.ramp(message.ramp) if message.HasField("ramp") else None,
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
        plan=_plan_message(experiment.plan),
        unit=_UNITS[experiment.scope.unit],
        targeting=_struct(experiment.scope.targeting),
        forced=experiment.scope.forced,
        layer_share=experiment.scope.layer_share,
        ramp=None if experiment.ramp is None else ramp_codec.ramp_message(experiment.ramp),
    )


def _struct(document: Mapping[str, Any] | None) -> struct_pb2.Struct | None:
    if document is None:
        return None
    message = struct_pb2.Struct()
    message.update(document)
    return message


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


def metric_of(message: pb.Metric) -> Metric:
    """Return the metric in a message, or raise RequestMalformedError."""
    return Metric(
        metric=message.metric,
        kind=_known(_KINDS, message.kind, f"the kind of the metric {message.metric[:80]!r}"),
        outcome=message.outcome,
        direction=_known(_DIRECTIONS, message.direction, f"the direction of the metric {message.metric[:80]!r}"),
        role=_known(_ROLES, message.role, f"the role of the metric {message.metric[:80]!r}"),
        output=message.output,
        output_index=message.output_index,
        margin=message.margin if message.HasField("margin") else DEFAULT_MARGIN,
        lower_cap=message.lower_cap if message.HasField("lower_cap") else None,
        upper_cap=message.upper_cap if message.HasField("upper_cap") else None,
        covariate=_known(_COVARIATES, message.covariate, f"the covariate of the metric {message.metric[:80]!r}"),
        label=message.label,
        classes=tuple(message.classes),
        **{name: getattr(message, name) for name in _METRIC_VALUES},
    )


def method_of(value: pb.AnalysisMethod.ValueType) -> Method | None:
    """Return the method that a message names; None when it names none."""
    return None if value == pb.ANALYSIS_METHOD_UNSPECIFIED else _known(METHODS, value, "the method")


def _plan(message: pb.Plan) -> Plan:
    return Plan(
        method=method_of(message.method),
        correction=_known(_CORRECTIONS, message.correction or pb.CORRECTION_HOLM, "the correction"),
        planned_units=message.planned_units,
        looks=message.looks or DEFAULT_LOOKS,
        spending=_known(_SPENDINGS, message.spending or pb.SPENDING_OBRIEN_FLEMING, "the spending"),
        stratify_by=message.stratify_by,
        planned_end_us=message.planned_end_us,
    )


def _plan_message(plan: Plan) -> pb.Plan:
    return pb.Plan(
        method=METHODS[plan.settled_method],
        correction=_CORRECTIONS[plan.correction],
        planned_units=plan.planned_units,
        looks=plan.looks,
        spending=_SPENDINGS[plan.spending],
        stratify_by=plan.stratify_by,
        planned_end_us=plan.planned_end_us,
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
        margin=metric.margin,
        lower_cap=metric.lower_cap,
        upper_cap=metric.upper_cap,
        covariate=_COVARIATES[metric.covariate],
        label=metric.label,
        classes=metric.classes,
        **{name: getattr(metric, name) for name in _METRIC_VALUES},
    )
