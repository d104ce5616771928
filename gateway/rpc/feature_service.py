"""Features over gRPC, on the control port."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from features.push import Row
from features.transforms import is_computed
from gateway.errors import RequestMalformedError
from gateway.rpc import paging, profile_codec, skew_codec, status
from gateway.rpc import registry_codec as codec
from turnout import resources
from turnout.features.v1 import feature_service_pb2 as pb
from turnout.features.v1 import feature_service_pb2_grpc as pb_grpc
from turnout.serving.v1 import prediction_service_pb2 as serving_pb

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import grpc

    from features.apply import PlannedChange
    from features.definitions import FeatureSet
    from gateway.control.features import FeatureControl, Reading, ViewState
    from gateway.control.materializing import MaterializationState, Materializing
    from gateway.control.profiling import Profiling
    from gateway.control.skew import SkewReplay

_COLLECTIONS = {"source": "featureSources", "view": "featureViews", "set": "featureSets"}
_STATUS_PREFIX = "VIEW_STATUS_"


class FeatureService(pb_grpc.FeatureServiceServicer):
    """Answers the features' calls.

    Parameters
    ----------
    control, materializing, skew, profiling
        What does the work.
    """

    def __init__(
        self, control: FeatureControl, materializing: Materializing, skew: SkewReplay, profiling: Profiling
    ) -> None:
        self._control = control
        self._materializing = materializing
        self._skew = skew
        self._profiling = profiling

    def ApplyFeatures(
        self, request: pb.ApplyFeaturesRequest, context: grpc.ServicerContext
    ) -> pb.ApplyFeaturesResponse:
        """Make the definitions what the files say."""
        with status.mapped(context):
            files = {file.path: file.text for file in request.files}
            if len(files) < len(request.files):
                raise RequestMalformedError("a path is given to two files")
            applied = self._control.apply(
                files, base_dir=request.base_dir, dry_run=request.dry_run, actor=status.actor(context)
            )
            return pb.ApplyFeaturesResponse(
                changes=[_change_message(change) for change in applied.changes], revision=applied.revision
            )

    def ListFeatureViews(
        self, request: pb.ListFeatureViewsRequest, context: grpc.ServicerContext
    ) -> pb.ListFeatureViewsResponse:
        """List the views by name."""
        with status.mapped(context):
            size = paging.page_size(request.page_size)
            found = self._control.views(after=paging.text_after(request.page_token), limit_max=size + 1)
            return pb.ListFeatureViewsResponse(
                feature_views=[_view_message(state) for state in found[:size]],
                next_page_token=paging.token_for(found[size - 1].bound.view.name) if len(found) > size else "",
            )

    def ListFeatureSets(
        self, request: pb.ListFeatureSetsRequest, context: grpc.ServicerContext
    ) -> pb.ListFeatureSetsResponse:
        """List the sets by name."""
        with status.mapped(context):
            size = paging.page_size(request.page_size)
            found = self._control.sets(after=paging.text_after(request.page_token), limit_max=size + 1)
            return pb.ListFeatureSetsResponse(
                feature_sets=[_set_message(feature_set) for feature_set in found[:size]],
                next_page_token=paging.token_for(found[size - 1].name) if len(found) > size else "",
            )

    def Materialize(self, request: pb.MaterializeRequest, context: grpc.ServicerContext) -> pb.MaterializeResponse:
        """Write the newest values as of a time to the online store."""
        with status.mapped(context):
            written = self._materializing.materialize(
                [_id(resources.view_id, name) for name in request.feature_views],
                until_us=request.until_us if request.HasField("until_us") else None,
                since_us=request.since_us if request.HasField("since_us") else None,
            )
            return pb.MaterializeResponse(
                views=[
                    pb.MaterializedView(
                        name=resources.view_name(one.view),
                        entities_written=one.entities_written,
                        until_us=one.until_us,
                    )
                    for one in written
                ]
            )

    def GetMaterialization(
        self, request: pb.GetMaterializationRequest, context: grpc.ServicerContext
    ) -> pb.GetMaterializationResponse:
        """Tell how the materialization stands."""
        with status.mapped(context):
            states = self._materializing.states([_id(resources.view_id, name) for name in request.feature_views])
            return pb.GetMaterializationResponse(views=[_state_message(state) for state in states])

    def WriteFeatures(
        self, request: pb.WriteFeaturesRequest, context: grpc.ServicerContext
    ) -> pb.WriteFeaturesResponse:
        """Write single values to the online store."""
        with status.mapped(context):
            rows = [
                Row(
                    entities=dict(row.entities),
                    values=dict(row.values),
                    event_us=row.event_time_us if row.HasField("event_time_us") else None,
                    deleted=row.deleted,
                )
                for row in request.rows
            ]
            written = self._materializing.write(_id(resources.view_id, request.feature_view), rows)
            return pb.WriteFeaturesResponse(rows_written=written)

    def ReadFeatures(self, request: pb.ReadFeaturesRequest, context: grpc.ServicerContext) -> pb.ReadFeaturesResponse:
        """Return what the online store would give to a prediction, or what it would have given."""
        with status.mapped(context):
            set_name = _id(resources.set_id, request.feature_set)
            entities = dict(request.entities)
            if request.HasField("as_of_us"):
                reading = self._control.read_as_of(set_name, entities, dict(request.features), request.as_of_us)
            else:
                reading = self._control.read(set_name, entities, dict(request.features))
            return pb.ReadFeaturesResponse(values=_value_messages(reading))

    def GetTrainingData(
        self, request: pb.GetTrainingDataRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.GetTrainingDataResponse]:
        """Return a point-in-time training table as an Arrow stream, its fingerprint last."""
        with (
            status.mapped(context),
            contextlib.closing(
                self._control.training_chunks(
                    _id(resources.set_id, request.feature_set),
                    label_sql=request.label_sql,
                    start_us=request.start_us if request.HasField("start_us") else None,
                    end_us=request.end_us if request.HasField("end_us") else None,
                    marks=request.marks,
                )
            ) as chunks,
        ):
            for chunk, fingerprint in chunks:
                yield pb.GetTrainingDataResponse(chunk=chunk, fingerprint=fingerprint)

    def ReplaySkew(self, request: pb.ReplaySkewRequest, context: grpc.ServicerContext) -> pb.ReplaySkewResponse:
        """Compare what predictions were served with a recomputation."""
        with status.mapped(context):
            model, number = codec.version_key(request.version)
            found = self._skew.replay(
                model,
                number,
                window=skew_codec.window_of(request),
                lag_us=skew_codec.lag_of(request),
                tolerance=skew_codec.tolerance_of(request),
            )
            return skew_codec.replay_message(found)

    def ProfileFeatures(
        self, request: pb.ProfileFeaturesRequest, context: grpc.ServicerContext
    ) -> pb.ProfileFeaturesResponse:
        """Tell what a window of values looks like."""
        with status.mapped(context):
            return profile_codec.profile_message(profile_codec.profile_of(self._profiling, request))


def _id(parse: Callable[[str], str], name: str) -> str:
    """Return the id in a resource name, or raise RequestMalformedError."""
    try:
        return parse(name)
    except resources.ResourceNameError as error:
        raise RequestMalformedError(str(error), name=name[:128]) from error


def _change_message(change: PlannedChange) -> pb.PlannedChange:
    return pb.PlannedChange(
        name=f"{_COLLECTIONS[change.kind]}/{change.name}", action=change.action, digest=change.digest
    )


def _view_message(state: ViewState) -> pb.FeatureView:
    view = state.bound.view
    return pb.FeatureView(
        name=resources.view_name(view.name),
        join_keys=view.join_keys,
        features=[
            pb.Feature(
                name=feature.name,
                default_value=float("nan") if feature.default is None else feature.default,
                description=feature.description,
                type=feature.type,
            )
            for feature in view.features
        ],
        ttl_us=view.ttl_us,
        digest=view.digest,
        description=view.description,
        materialized_until_us=state.materialized_until_us or 0,
        refresh=view.refresh,
        owner=view.owner,
        tags=view.tags,
    )


def _state_message(state: MaterializationState) -> pb.MaterializationState:
    return pb.MaterializationState(
        name=resources.view_name(state.view),
        state=state.run.state,
        until_us=state.until_us,
        due_us=state.due_us,
        started_us=state.run.started_us,
        entities_read=state.run.entities_read,
        entities_written=state.run.entities_written,
        error=state.run.error,
    )


def _set_message(feature_set: FeatureSet) -> pb.FeatureSet:
    return pb.FeatureSet(
        name=resources.set_name(feature_set.name),
        features=feature_set.features,
        digest=feature_set.digest,
        description=feature_set.description,
        stale_up_to_us=feature_set.stale_up_to_us,
        refuse=feature_set.refuse,
        transforms=[pb.Transform(**transform.document()) for transform in feature_set.transforms],
        operands=feature_set.operands,
        raw_digest=feature_set.raw.digest,
        owner=feature_set.owner,
        tags=feature_set.tags,
    )


def _value_messages(reading: Reading) -> list[pb.FeatureValue]:
    """Return one message a column."""
    plan = reading.plan
    place_of = {view.name: place for place, view in enumerate(plan.views)}
    messages = []
    for column, name in enumerate(plan.feature_names):
        message = pb.FeatureValue(feature=name, value=float(reading.matrix.values[0, column]), status="MISSING")
        place = place_of.get(name.partition(".")[0])
        if column in reading.given:
            message.status = "GIVEN"
        elif is_computed(name):
            message.status = "COMPUTED"
        elif place is not None:
            number = serving_pb.ViewStatus.Name(int(reading.matrix.status[0, place]))  # type: ignore[arg-type]
            message.status = number.removeprefix(_STATUS_PREFIX)
            age_ms = int(reading.matrix.age_ms[0, place])
            if age_ms >= 0:
                message.age_ms = age_ms
        messages.append(message)
    return messages
