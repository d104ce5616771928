"""What the Open Inference Protocol asks besides inferences: health, metadata, configuration and the repository.

Inferences themselves are answered in waves; see `data_plane`.
"""

from __future__ import annotations

from importlib.metadata import version as version_of
from typing import TYPE_CHECKING

from gateway.errors import ModelNotServedError, RequestMalformedError, StillLoadingError
from gateway.inference import grpc_service_pb2 as pb
from gateway.inference import grpc_service_pb2_grpc, model_config_pb2
from gateway.rpc.dtypes import INFER_NAME_OF
from gateway.rpc.infer_codec import pin_of
from gateway.rpc.status import mapped
from storage.errors import MissingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import grpc

    from gateway.models.session import Port
    from gateway.models.slots import Slot, VersionKey
    from gateway.serving.standing import Standing
    from gateway.serving.table import Route, ServingTable

EXTENSIONS = ("model_configuration",)
"""What is served of the protocol's extensions, all of it and nothing else: clients act on this list."""

PLATFORM = "onnxruntime_onnx"
_STATES = {"loading": "LOADING", "ready": "READY", "draining": "UNLOADING"}
_CONFIG_TYPES = {
    name: model_config_pb2.DataType.Value(f"TYPE_{'STRING' if infer == 'BYTES' else infer}")
    for name, infer in INFER_NAME_OF.items()
}


class InferenceService(grpc_service_pb2_grpc.GRPCInferenceServiceServicer):
    """Says what one worker serves.

    Parameters
    ----------
    table
        Gives the present serving table; None before the first.
    standings
        Gives where each version stands.
    is_ready
        Says whether the worker takes calls.
    """

    def __init__(
        self,
        *,
        table: Callable[[], ServingTable | None],
        standings: Callable[[], Mapping[VersionKey, Standing]],
        is_ready: Callable[[], bool],
    ) -> None:
        self._table = table
        self._standings = standings
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
                versions=[str(number) for number in sorted(self._route(request.name).versions)],
                platform=PLATFORM,
                inputs=_described(slot.session.inputs),
                outputs=_described(slot.session.outputs),
            )

    def ModelConfig(self, request: pb.ModelConfigRequest, context: grpc.ServicerContext) -> pb.ModelConfigResponse:
        """Say how a model is configured."""
        with mapped(context):
            return pb.ModelConfigResponse(config=_config(self._slot(request.name, request.version)))

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
                for key, standing in sorted(
                    self._standings().items(), key=lambda item: (item[0].model, item[0].version)
                )
            ]
            return pb.RepositoryIndexResponse(
                models=[each for each in index if each.state == "READY" or not request.ready]
            )

    def _route(self, model: str) -> Route:
        table = self._table()
        if table is None:
            raise StillLoadingError("the worker has not loaded its first serving table; try again")
        route = table.routes.get(model)
        if route is None:
            raise ModelNotServedError(f"model `{model}` is not served: it has no version with an alias", model=model)
        return route

    def _slot(self, model: str, version: str) -> Slot:
        """Return what is loaded of a model: a pin, or else the champion; or raise a MissingError."""
        route = self._route(model)
        if version:
            number, alias = pin_of(model, version)
            return route.pinned(version=number, alias=alias).slot
        return route.unpinned("").slot


def _refuse_repository(name: str) -> None:
    if name:
        raise RequestMalformedError(
            "`repository_name` must be empty: the registry is the one repository", field="repository_name"
        )


def _described(ports: Sequence[Port]) -> list[pb.ModelMetadataResponse.TensorMetadata]:
    return [
        pb.ModelMetadataResponse.TensorMetadata(name=port.name, datatype=INFER_NAME_OF[port.dtype], shape=port.shape)
        for port in ports
    ]


def _config(slot: Slot) -> model_config_pb2.ModelConfig:
    facts = {"artifact_sha256": slot.digest, "version": str(slot.key.version)}
    if slot.feature_set:
        facts["feature_set"] = slot.feature_set
    return model_config_pb2.ModelConfig(
        name=slot.key.model,
        platform=PLATFORM,
        backend="onnxruntime",
        input=[
            model_config_pb2.ModelInput(
                name=port.name,
                data_type=_CONFIG_TYPES[port.dtype],
                dims=port.shape,
                optional=port.name == slot.feature_input,
            )
            for port in slot.session.inputs
        ],
        output=[
            model_config_pb2.ModelOutput(name=port.name, data_type=_CONFIG_TYPES[port.dtype], dims=port.shape)
            for port in slot.session.outputs
        ],
        instance_group=[
            model_config_pb2.ModelInstanceGroup(
                name=slot.key.model, kind=model_config_pb2.ModelInstanceGroup.KIND_CPU, count=1
            )
        ],
        default_model_filename="model.onnx",
        parameters={name: model_config_pb2.ModelParameter(string_value=value) for name, value in facts.items()},
        model_transaction_policy=model_config_pb2.ModelTransactionPolicy(decoupled=False),
    )
