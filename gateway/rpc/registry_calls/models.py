"""The calls about models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.rpc import paging, status
from gateway.rpc import registry_codec as codec
from gateway.rpc.registry_calls.parts import RegistryCalls
from registry import models
from turnout.registry.v1 import registry_service_pb2 as pb

if TYPE_CHECKING:
    import grpc


class ModelCalls(RegistryCalls):
    """Models: created, read, listed, updated, deleted and brought back."""

    def CreateModel(self, request: pb.CreateModelRequest, context: grpc.ServicerContext) -> pb.CreateModelResponse:
        """Create a model."""
        with status.mapped(context):
            with self._database.write() as tx:
                model = models.create_model(
                    tx,
                    request.model_id,
                    description=request.model.description,
                    owner=request.model.owner,
                    tags=dict(request.model.tags),
                    properties=dict(request.model.properties),
                    actor=status.actor(context),
                    now_us=self._clock.now_us(),
                )
            return pb.CreateModelResponse(model=codec.model_message(model))

    def GetModel(self, request: pb.GetModelRequest, context: grpc.ServicerContext) -> pb.GetModelResponse:
        """Return one model."""
        with status.mapped(context), self._database.read() as tx:
            model = models.get_model(tx, codec.model_id(request.name))
            return pb.GetModelResponse(model=codec.model_message(model))

    def ListModels(self, request: pb.ListModelsRequest, context: grpc.ServicerContext) -> pb.ListModelsResponse:
        """List models by name."""
        with status.mapped(context), self._database.read() as tx:
            size = paging.page_size(request.page_size)
            after = paging.text_after(request.page_token)
            found = models.list_models(tx, after=after, limit_max=size + 1, deleted=request.show_deleted)
            return pb.ListModelsResponse(
                models=[codec.model_message(model) for model in found[:size]],
                next_page_token=paging.token_for(found[size - 1].id) if len(found) > size else "",
            )

    def UpdateModel(self, request: pb.UpdateModelRequest, context: grpc.ServicerContext) -> pb.UpdateModelResponse:
        """Replace fields of a model."""
        with status.mapped(context):
            values = {
                "description": request.model.description,
                "owner": request.model.owner,
                "tags": dict(request.model.tags),
                "properties": dict(request.model.properties),
                "gates": [codec.gate_document(gate) for gate in request.model.gates],
            }
            with self._database.write() as tx:
                model = models.update_model(
                    tx,
                    codec.model_id(request.model.name),
                    {path: values.get(path) for path in request.update_mask.paths},
                    etag=request.etag,
                    actor=status.actor(context),
                    now_us=self._clock.now_us(),
                )
            return pb.UpdateModelResponse(model=codec.model_message(model))

    def DeleteModel(self, request: pb.DeleteModelRequest, context: grpc.ServicerContext) -> pb.DeleteModelResponse:
        """Hide a model."""
        with status.mapped(context):
            model_id = codec.model_id(request.name)
            with self._database.write() as tx:
                model = models.delete_model(
                    tx, model_id, etag=request.etag, actor=status.actor(context), now_us=self._clock.now_us()
                )
            return pb.DeleteModelResponse(model=codec.model_message(model))

    def UndeleteModel(
        self, request: pb.UndeleteModelRequest, context: grpc.ServicerContext
    ) -> pb.UndeleteModelResponse:
        """Bring a deleted model back."""
        with status.mapped(context):
            model_id = codec.model_id(request.name)
            with self._database.write() as tx:
                model = models.restore_model(tx, model_id, actor=status.actor(context), now_us=self._clock.now_us())
            return pb.UndeleteModelResponse(model=codec.model_message(model))
