"""What the Open Inference Protocol asks besides inferences: health, metadata, configuration and the repository.

Inferences themselves are answered in waves; see `data_plane`.
"""

from __future__ import annotations

import logging
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING

from gateway.errors import RequestMalformedError, StillLoadingError
from gateway.inference import grpc_service_pb2 as pb
from gateway.inference import grpc_service_pb2_grpc
from gateway.rpc.infer_codec import pin_of
from gateway.rpc.inference_messages import PLATFORM, config_of, described, statistics_of
from gateway.rpc.status import actor, mapped
from gateway.serving.wishes import HOLD_S_MAX
from storage.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import grpc

    from gateway.models.slots import Slot, VersionKey
    from gateway.serving.table import ServingTable
    from gateway.serving.tally import VersionCounts
    from gateway.serving.wishes import Wishes

EXTENSIONS = ("model_configuration", "model_repository", "statistics")
"""What is served of the protocol's extensions, all of it and nothing else: clients act on this list."""

UNLOADED = "it was unloaded, and comes back when it is loaded or the gateway restarts"

_log = logging.getLogger(__name__)
_STATES = {"loading": "LOADING", "ready": "READY", "draining": "UNLOADING"}


class InferenceService(grpc_service_pb2_grpc.GRPCInferenceServiceServicer):
    """Says what one worker serves.

    Parameters
    ----------
    table
        Gives the present serving table; None before the first.
    wishes
        Knows where each version stands, and takes models out of service and back.
    counts_of
        Gives what a version answered so far.
    is_ready
        Says whether the worker takes calls.
    """

    def __init__(
        self,
        *,
        table: Callable[[], ServingTable | None],
        wishes: Wishes,
        counts_of: Callable[[VersionKey], VersionCounts],
        is_ready: Callable[[], bool],
    ) -> None:
        self._table = table
        self._wishes = wishes
        self._counts_of = counts_of
        self._is_ready = is_ready

    def ServerLive(self, request: pb.ServerLiveRequest, context: grpc.ServicerContext) -> pb.ServerLiveResponse:
        """Say that the worker is alive."""
        del request, context
        return pb.ServerLiveResponse(live=True)

    def ServerReady(self, request: pb.ServerReadyRequest, context: grpc.ServicerContext) -> pb.ServerReadyResponse:
        """Say whether the worker takes inferences."""
        del request, context
        return pb.ServerReadyResponse(ready=self._is_ready())

    def ModelReady(self, request: pb.ModelReadyRequest, context: grpc.ServicerContext) -> pb.ModelReadyResponse:
        """Say whether a model could answer; one that is not known could not."""
        with mapped(context):
            try:
                self._slot(request.name, request.version)
            except MissingError:
                return pb.ModelReadyResponse(ready=False)
            return pb.ModelReadyResponse(ready=self._is_ready())

    def ServerMetadata(
        self, request: pb.ServerMetadataRequest, context: grpc.ServicerContext
    ) -> pb.ServerMetadataResponse:
        """Say what the server is."""
        del request, context
        return pb.ServerMetadataResponse(name="turnout", version=version_of("turnout"), extensions=EXTENSIONS)

    def ModelMetadata(
        self, request: pb.ModelMetadataRequest, context: grpc.ServicerContext
    ) -> pb.ModelMetadataResponse:
        """Say what a model takes and gives."""
        with mapped(context):
            slot = self._slot(request.name, request.version)
            return pb.ModelMetadataResponse(
                name=request.name,
                versions=[str(number) for number in sorted(self._newest().route(request.name).versions)],
                platform=PLATFORM,
                inputs=described(slot.session.inputs),
                outputs=described(slot.session.outputs),
            )

    def ModelConfig(self, request: pb.ModelConfigRequest, context: grpc.ServicerContext) -> pb.ModelConfigResponse:
        """Say how a model is configured."""
        with mapped(context):
            return pb.ModelConfigResponse(config=config_of(self._slot(request.name, request.version)))

    def RepositoryIndex(
        self, request: pb.RepositoryIndexRequest, context: grpc.ServicerContext
    ) -> pb.RepositoryIndexResponse:
        """List the versions that are served or should be."""
        with mapped(context):
            _refuse_repository(request.repository_name)
            index = [
                pb.RepositoryIndexResponse.ModelIndex(
                    name=key.model,
                    version=str(key.version),
                    state=_STATES.get(standing.state.value, "UNAVAILABLE"),
                    reason=standing.reason,
                )
                for key, standing in sorted(self._wishes.progress.standings.items(), key=lambda item: _order(item[0]))
            ]
            return pb.RepositoryIndexResponse(
                models=[each for each in index if each.state == "READY" or not request.ready]
            )

    def ModelStatistics(
        self, request: pb.ModelStatisticsRequest, context: grpc.ServicerContext
    ) -> pb.ModelStatisticsResponse:
        """Say what the versions answered in this worker."""
        with mapped(context):
            if request.version:
                keys = {self._slot(request.name, request.version).key}
            else:
                keys = self._newest().route(request.name).slots() if request.name else self._newest().slots()
            return pb.ModelStatisticsResponse(
                model_stats=[statistics_of(key, self._counts_of(key)) for key in sorted(keys, key=_order)]
            )

    def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: grpc.ServicerContext
    ) -> pb.RepositoryModelLoadResponse:
        """Serve a model again as the registry wants it, and return when it answers."""
        with mapped(context):
            _refuse_repository(request.repository_name)
            _refuse_parameters(request.parameters)
            self._wishes.unhold(request.model_name, timeout_s=_patience_s(context))
            _log.info("model %s was loaded by %s", request.model_name, actor(context))
            return pb.RepositoryModelLoadResponse()

    def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: grpc.ServicerContext
    ) -> pb.RepositoryModelUnloadResponse:
        """Take a model out of service on this gateway, and return when no call reaches it any more."""
        with mapped(context):
            _refuse_repository(request.repository_name)
            _refuse_parameters(request.parameters, "unload_dependents")
            self._wishes.hold(request.model_name, UNLOADED, timeout_s=_patience_s(context))
            _log.info("model %s was unloaded by %s", request.model_name, actor(context))
            return pb.RepositoryModelUnloadResponse()

    def _newest(self) -> ServingTable:
        table = self._table()
        if table is None:
            raise StillLoadingError("the worker has not loaded its first serving table; try again")
        return table

    def _slot(self, model: str, version: str) -> Slot:
        """Return what is loaded of a model: a pin, or else the champion; or raise a MissingError."""
        route = self._newest().route(model)
        if version:
            number, alias = pin_of(model, version)
            return route.pinned(version=number, alias=alias).slot
        return route.unpinned("").slot


def _refuse_repository(name: str) -> None:
    if name:
        raise RequestMalformedError(
            "`repository_name` must be empty: the registry is the one repository", field="repository_name"
        )


def _refuse_parameters(parameters: Mapping[str, pb.ModelRepositoryParameter], *known: str) -> None:
    for name, value in parameters.items():
        if name not in known:
            raise RequestMalformedError(
                f"the parameter `{name}` is not known: what is served is what was published", parameter=name
            )
        if value.WhichOneof("parameter_choice") != "bool_param":
            raise RequestMalformedError(f"the parameter `{name}` must be true or false", parameter=name)


def _patience_s(context: grpc.ServicerContext) -> float:
    """Return how long a call may wait for what it asked for."""
    return min(HOLD_S_MAX, context.time_remaining())


def _order(key: VersionKey) -> tuple[str, int]:
    return key.model, key.version
