"""The calls about versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.control.clearances import arms_of
from gateway.errors import RequestMalformedError
from gateway.rpc import paging, status
from gateway.rpc import registry_codec as codec
from gateway.rpc.registry_calls.parts import CHUNK_BYTES_MAX, RegistryCalls, cancelled_after
from registry import models, search, version_changes, versions
from turnout import resources
from turnout.registry.v1 import registry_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

_OVER = ("concluded", "archived")


class VersionCalls(RegistryCalls):
    """Versions: published, read, listed, found, updated, staged, deleted and brought back."""

    def PublishVersion(
        self, request_iterator: Iterator[pb.PublishVersionRequest], context: grpc.ServicerContext
    ) -> pb.PublishVersionResponse:
        """Publish a version: first a head, then the bytes of the file."""
        with status.mapped(context):
            first = next(request_iterator, None)
            if first is None or first.WhichOneof("part") != "head":
                raise RequestMalformedError("a publication begins with its head")
            with cancelled_after(context, self._parts.upload_timeout_s):
                published = self._parts.publisher.publish(
                    codec.publication(first.head),
                    _chunks(request_iterator),
                    actor=status.actor(context),
                    wanted=context.is_active,
                )
            return pb.PublishVersionResponse(
                version=codec.version_message(published.version),
                revision=published.revision,
                same_bytes_as=published.same_bytes_as,
                same_bytes_elsewhere=[resources.version_name(*each) for each in published.same_bytes_elsewhere],
            )

    def GetVersion(self, request: pb.GetVersionRequest, context: grpc.ServicerContext) -> pb.GetVersionResponse:
        """Return one version."""
        with status.mapped(context), self._database.read() as tx:
            version = versions.get_version(tx, *codec.version_key(request.name))
            return pb.GetVersionResponse(version=codec.version_message(version, whole=True))

    def ListVersions(self, request: pb.ListVersionsRequest, context: grpc.ServicerContext) -> pb.ListVersionsResponse:
        """List the versions of a model, newest first."""
        with status.mapped(context), self._database.read() as tx:
            model = models.get_model(tx, codec.model_id(request.parent)).id
            size = paging.page_size(request.page_size)
            before = paging.number_after(request.page_token)
            found = versions.list_versions(tx, model, before=before, limit_max=size + 1, deleted=request.show_deleted)
            return pb.ListVersionsResponse(
                versions=[codec.version_message(version) for version in found[:size]],
                next_page_token=paging.token_for(found[size - 1].number) if len(found) > size else "",
            )

    def SearchVersions(
        self, request: pb.SearchVersionsRequest, context: grpc.ServicerContext
    ) -> pb.SearchVersionsResponse:
        """Find versions by a filter."""
        with status.mapped(context), self._database.read() as tx:
            page = search.search_versions(
                tx,
                filter_text=request.filter,
                order_by=request.order_by,
                token=request.page_token,
                limit_max=paging.page_size(request.page_size),
                deleted=request.show_deleted,
            )
            return pb.SearchVersionsResponse(
                versions=[codec.version_message(version) for version in page.versions],
                next_page_token=page.next_token,
            )

    def UpdateVersion(
        self, request: pb.UpdateVersionRequest, context: grpc.ServicerContext
    ) -> pb.UpdateVersionResponse:
        """Replace what may change of a version."""
        with status.mapped(context):
            values = {
                "description": request.version.description,
                "tags": dict(request.version.tags),
                "properties": dict(request.version.properties),
                "deprecated_reason": request.version.deprecated_reason,
            }
            fields = {_column(path): values.get(path) for path in request.update_mask.paths}
            with self._database.write() as tx:
                version = version_changes.update_version(
                    tx,
                    *codec.version_key(request.version.name),
                    fields,
                    etag=request.etag,
                    actor=status.actor(context),
                    now_us=self._clock.now_us(),
                )
            return pb.UpdateVersionResponse(version=codec.version_message(version))

    def SetVersionStage(
        self, request: pb.SetVersionStageRequest, context: grpc.ServicerContext
    ) -> pb.SetVersionStageResponse:
        """Move a version to a stage by hand."""
        with status.mapped(context):
            key, stage = codec.version_key(request.name), codec.stage_of(request.stage)
            with self._database.write() as tx:
                version = version_changes.move_stage(
                    tx, *key, stage, actor=status.actor(context), now_us=self._clock.now_us()
                )
            return pb.SetVersionStageResponse(version=codec.version_message(version))

    def DeleteVersion(
        self, request: pb.DeleteVersionRequest, context: grpc.ServicerContext
    ) -> pb.DeleteVersionResponse:
        """Hide a version."""
        with status.mapped(context):
            model, number = codec.version_key(request.name)
            with self._database.write() as tx:
                arms = arms_of(tx, versions.get_version(tx, model, number))
                version = version_changes.delete_version(
                    tx,
                    model,
                    number,
                    pinned={number} if any(experiment.state not in _OVER for experiment, _, _ in arms) else (),
                    etag=request.etag,
                    actor=status.actor(context),
                    now_us=self._clock.now_us(),
                )
            return pb.DeleteVersionResponse(version=codec.version_message(version))

    def UndeleteVersion(
        self, request: pb.UndeleteVersionRequest, context: grpc.ServicerContext
    ) -> pb.UndeleteVersionResponse:
        """Bring a deleted version back."""
        with status.mapped(context):
            key = codec.version_key(request.name)
            with self._database.write() as tx:
                version = version_changes.restore_version(
                    tx, *key, actor=status.actor(context), now_us=self._clock.now_us()
                )
            return pb.UndeleteVersionResponse(version=codec.version_message(version))


def _column(path: str) -> str:
    return "deprecated" if path == "deprecated_reason" else path


def _chunks(requests: Iterator[pb.PublishVersionRequest]) -> Iterator[bytes]:
    """Yield the bytes of the messages after the head, or raise RequestMalformedError."""
    for request in requests:
        if request.WhichOneof("part") != "chunk":
            raise RequestMalformedError("after the head of a publication come chunks only")
        if len(request.chunk) > CHUNK_BYTES_MAX:
            raise RequestMalformedError(f"a chunk is longer than {CHUNK_BYTES_MAX} bytes", bytes_max=CHUNK_BYTES_MAX)
        yield request.chunk
