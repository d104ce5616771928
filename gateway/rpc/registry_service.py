"""The registry over gRPC, on the control port."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from gateway.errors import RequestMalformedError
from gateway.rpc import paging, status
from gateway.rpc import registry_codec as codec
from registry import aliases, models, versions
from turnout.registry.v1 import registry_service_pb2 as pb
from turnout.registry.v1 import registry_service_pb2_grpc as pb_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

    from gateway.control.publish import Publisher
    from storage.clock import Clock
    from storage.database import Database

CHUNK_BYTES_MAX = 1024**2
UPLOAD_TIMEOUT_S = 900.0


class RegistryService(pb_grpc.RegistryServiceServicer):
    """Answers the registry's calls: a message in, one transaction of the registry, a message out.

    Parameters
    ----------
    database, clock
        Where models, versions and aliases are kept, and the time they are dated by.
    publisher
        What takes publications; it has its own transactions.
    upload_timeout_s
        How long one publication may take: it holds one of the port's threads, which a client that stalls must not do
        for ever.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        publisher: Publisher,
        upload_timeout_s: float = UPLOAD_TIMEOUT_S,
    ) -> None:
        self._database = database
        self._clock = clock
        self._publisher = publisher
        self._upload_timeout_s = upload_timeout_s

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
            found = models.list_models(tx, after=paging.text_after(request.page_token), limit_max=size + 1)
            return pb.ListModelsResponse(
                models=[codec.model_message(model) for model in found[:size]],
                next_page_token=paging.token_for(found[size - 1].id) if len(found) > size else "",
            )

    def PublishVersion(
        self, request_iterator: Iterator[pb.PublishVersionRequest], context: grpc.ServicerContext
    ) -> pb.PublishVersionResponse:
        """Publish a version: first a head, then the bytes of the file."""
        with status.mapped(context):
            first = next(request_iterator, None)
            if first is None or first.WhichOneof("part") != "head":
                raise RequestMalformedError("a publication begins with its head")
            with _cancelled_after(context, self._upload_timeout_s):
                published = self._publisher.publish(
                    codec.publication(first.head),
                    _chunks(request_iterator),
                    actor=status.actor(context),
                    wanted=context.is_active,
                )
            return pb.PublishVersionResponse(
                version=codec.version_message(published.version),
                revision=published.revision,
                same_bytes_as=published.same_bytes_as,
            )

    def GetVersion(self, request: pb.GetVersionRequest, context: grpc.ServicerContext) -> pb.GetVersionResponse:
        """Return one version."""
        with status.mapped(context), self._database.read() as tx:
            version = versions.get_version(tx, *codec.version_key(request.name))
            return pb.GetVersionResponse(version=codec.version_message(version))

    def ListVersions(self, request: pb.ListVersionsRequest, context: grpc.ServicerContext) -> pb.ListVersionsResponse:
        """List the versions of a model, newest first."""
        with status.mapped(context), self._database.read() as tx:
            model = models.get_model(tx, codec.model_id(request.parent)).id
            size = paging.page_size(request.page_size)
            before = paging.number_after(request.page_token)
            found = versions.list_versions(tx, model, before=before, limit_max=size + 1)
            return pb.ListVersionsResponse(
                versions=[codec.version_message(version) for version in found[:size]],
                next_page_token=paging.token_for(found[size - 1].number) if len(found) > size else "",
            )

    def PromoteVersion(
        self, request: pb.PromoteVersionRequest, context: grpc.ServicerContext
    ) -> pb.PromoteVersionResponse:
        """Make a version the champion."""
        with status.mapped(context):
            model, number = codec.version_key(request.name)
            evidence = codec.json_object(request.evidence_json, "evidence_json")
            with self._database.write() as tx:
                move = aliases.promote(
                    tx,
                    model,
                    number,
                    generation=request.generation if request.HasField("generation") else None,
                    reason=request.reason,
                    evidence=evidence,
                    actor=status.actor(context),
                    now_us=self._clock.now_us(),
                )
            return pb.PromoteVersionResponse(alias=codec.alias_message(move.stands), revision=move.revision)

    def RollbackModel(
        self, request: pb.RollbackModelRequest, context: grpc.ServicerContext
    ) -> pb.RollbackModelResponse:
        """Make an earlier champion the champion again."""
        with status.mapped(context):
            model = codec.model_id(request.name)
            with self._database.write() as tx:
                move = aliases.rollback(
                    tx,
                    model,
                    number=request.version or None,
                    generation=request.generation if request.HasField("generation") else None,
                    reason=request.reason,
                    actor=status.actor(context),
                    now_us=self._clock.now_us(),
                )
            return pb.RollbackModelResponse(alias=codec.alias_message(move.stands), revision=move.revision)

    def SetAlias(self, request: pb.SetAliasRequest, context: grpc.ServicerContext) -> pb.SetAliasResponse:
        """Move an alias, or make it."""
        with status.mapped(context):
            model, number = codec.version_key(request.name)
            with self._database.write() as tx:
                move = aliases.set_alias(
                    tx,
                    model,
                    number,
                    alias=request.alias,
                    generation=request.generation if request.HasField("generation") else None,
                    reason=request.reason,
                    actor=status.actor(context),
                    now_us=self._clock.now_us(),
                )
            return pb.SetAliasResponse(alias=codec.alias_message(move.stands), revision=move.revision)

    def ListAliasHistory(
        self, request: pb.ListAliasHistoryRequest, context: grpc.ServicerContext
    ) -> pb.ListAliasHistoryResponse:
        """List the moves of a model's aliases, newest first."""
        with status.mapped(context), self._database.read() as tx:
            size = paging.page_size(request.page_size)
            found = aliases.alias_history(
                tx,
                codec.model_id(request.parent),
                alias=request.alias,
                before_revision=paging.number_after(request.page_token),
                limit_max=size + 1,
            )
            return pb.ListAliasHistoryResponse(
                moves=[codec.move_message(move) for move in found[:size]],
                next_page_token=paging.token_for(found[size - 1].revision) if len(found) > size else "",
            )


@contextlib.contextmanager
def _cancelled_after(context: grpc.ServicerContext, timeout_s: float) -> Iterator[None]:
    """Cancel the call when the body takes longer, which ends whatever waits for its next message."""
    timer = threading.Timer(timeout_s, context.cancel)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _chunks(requests: Iterator[pb.PublishVersionRequest]) -> Iterator[bytes]:
    """Yield the bytes of the messages after the head, or raise RequestMalformedError."""
    for request in requests:
        if request.WhichOneof("part") != "chunk":
            raise RequestMalformedError("after the head of a publication come chunks only")
        if len(request.chunk) > CHUNK_BYTES_MAX:
            raise RequestMalformedError(f"a chunk is longer than {CHUNK_BYTES_MAX} bytes", bytes_max=CHUNK_BYTES_MAX)
        yield request.chunk
