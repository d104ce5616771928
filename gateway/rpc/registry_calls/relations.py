"""The calls that set versions in relation: comparisons and lineage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.errors import RequestMalformedError
from gateway.rpc import registry_codec as codec
from gateway.rpc import status
from gateway.rpc.registry_calls.governance import taint_message
from gateway.rpc.registry_calls.parts import RegistryCalls
from registry.probe import Probe
from turnout import resources, tensors
from turnout.registry.v1 import comparison_pb2, lineage_pb2
from turnout.registry.v1 import registry_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable

    import grpc

    from gateway.control.lineage import Lineage
    from registry.compare import MetricChange, ValueChange


class RelationCalls(RegistryCalls):
    """Versions compared, and where they come from."""

    def CompareVersions(
        self, request: comparison_pb2.CompareVersionsRequest, context: grpc.ServicerContext
    ) -> comparison_pb2.CompareVersionsResponse:
        """Say in what two versions differ."""
        with status.mapped(context):
            try:
                rows = tensors.to_arrays(request.rows)
            except tensors.TensorError as error:
                raise RequestMalformedError(f"the rows cannot be read: {error}", field="rows") from error
            found = self._parts.comparing.compare(
                codec.version_key(request.before),
                codec.version_key(request.after),
                predictions=request.predictions or bool(rows),
                rows=Probe(rows, {}) if rows else None,
            )
            return comparison_pb2.CompareVersionsResponse(
                same_artifact=found.facts.same_artifact,
                parameters=_values(found.facts.parameters),
                metrics=[_metric(change) for change in found.facts.metrics],
                signature=_values(found.facts.signature),
                facts=_values(found.facts.facts),
                data_changed=found.facts.data_changed,
                code_changed=found.facts.code_changed,
                time_between_us=found.facts.time_between_us,
                predictions=[comparison_pb2.PredictionDifference(**each) for each in found.predictions],
                predictions_reason=found.reason,
                features_added=found.features.added,
                features_removed=found.features.removed,
                features_changed=found.features.changed,
            )

    def GetLineage(self, request: pb.GetLineageRequest, context: grpc.ServicerContext) -> pb.GetLineageResponse:
        """Say where a version comes from and what came of it."""
        with status.mapped(context):
            return _lineage(self._parts.lineages.get(*codec.version_key(request.name)))


def _values(changes: Iterable[ValueChange]) -> list[comparison_pb2.ValueChange]:
    return [comparison_pb2.ValueChange(name=each.name, before=each.before, after=each.after) for each in changes]


def _metric(change: MetricChange) -> comparison_pb2.MetricChange:
    return comparison_pb2.MetricChange(
        name=change.name,
        before=change.before,
        after=change.after,
        change=change.change,
        percent=change.percent,
        direction=codec.DIRECTION_NUMBERS.get(change.direction, comparison_pb2.METRIC_DIRECTION_UNSPECIFIED),
        better=change.better,
    )


def _lineage(found: Lineage) -> pb.GetLineageResponse:
    return pb.GetLineageResponse(
        version=codec.version_message(found.version),
        ancestors=[codec.version_message(version) for version in found.ancestors],
        descendants=[codec.version_message(version) for version in found.descendants],
        relations=[
            lineage_pb2.ParentRelation(
                child=resources.version_name(each.model, each.number),
                parent=resources.version_name(each.parent_model, each.parent_number),
            )
            for each in found.relations
        ],
        same_data=found.same_data,
        feature_views=found.feature_views,
        alias_periods=[
            lineage_pb2.AliasPeriod(
                alias=each.alias,
                start_time_us=each.start_us,
                end_time_us=each.end_us,
                actor=each.actor,
                reason=each.reason,
            )
            for each in found.periods
        ],
        experiments=[
            lineage_pb2.ExperimentArm(
                experiment=resources.experiment_name(experiment.id),
                variant=variant,
                control=control,
                state=experiment.state,
            )
            for experiment, variant, control in found.arms
        ],
        predictions=lineage_pb2.PredictionSpan(
            count=found.predictions.count,
            first_time_us=found.predictions.first_us,
            last_time_us=found.predictions.last_us,
        ),
        taints=[taint_message(taint) for taint in found.taints],
    )
