"""The calls about artifacts: how far an upload is, downloads, verification, collection."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gateway.control.upkeep import Finding
from gateway.errors import RequestMalformedError
from gateway.rpc import registry_codec as codec
from gateway.rpc import status
from gateway.rpc.registry_calls.parts import RegistryCalls, cancelled_after
from turnout.registry.v1 import artifact_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

    from gateway.control.upkeep import Progress

_PROBLEMS = {
    "missing": pb.ARTIFACT_PROBLEM_MISSING,
    "corrupt": pb.ARTIFACT_PROBLEM_CORRUPT,
    "signature": pb.ARTIFACT_PROBLEM_SIGNATURE,
}


class ArtifactCalls(RegistryCalls):
    """Artifacts: sent, fetched, looked after."""

    def GetUploadStatus(
        self, request: pb.GetUploadStatusRequest, context: grpc.ServicerContext
    ) -> pb.GetUploadStatusResponse:
        """Say how much of an upload that broke off is here."""
        with status.mapped(context):
            return pb.GetUploadStatusResponse(
                received_bytes=self._parts.publisher.uploads.received(request.artifact_sha256),
                stored=self._parts.upkeep.holds(request.artifact_sha256),
            )

    def DownloadArtifact(
        self, request: pb.DownloadArtifactRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.DownloadArtifactResponse]:
        """Send a version's file from an offset on."""
        with status.mapped(context), cancelled_after(context, self._parts.upload_timeout_s):
            version = self._parts.upkeep.version(*codec.version_key(request.name))
            if not 0 <= request.offset <= version.artifact_bytes:
                raise RequestMalformedError(
                    f"the file has {version.artifact_bytes} bytes: it cannot be sent from {request.offset} on",
                    field="offset",
                )
            head = pb.DownloadHead(artifact_sha256=version.artifact_sha256, artifact_bytes=version.artifact_bytes)
            with contextlib.closing(self._parts.upkeep.chunks(version, request.offset)) as chunks:
                yield pb.DownloadArtifactResponse(head=head)
                for chunk in chunks:
                    yield pb.DownloadArtifactResponse(chunk=chunk)

    def VerifyArtifacts(
        self,
        request: pb.VerifyArtifactsRequest,  # noqa: ARG002  (it says nothing)
        context: grpc.ServicerContext,
    ) -> Iterator[pb.VerifyArtifactsResponse]:
        """Read every artifact that a version needs, and say what is wrong."""
        with status.mapped(context), contextlib.closing(self._parts.upkeep.verify()) as told:
            for each in told:
                yield _verified(each)

    def CollectArtifacts(
        self, request: pb.CollectArtifactsRequest, context: grpc.ServicerContext
    ) -> pb.CollectArtifactsResponse:
        """Remove the artifacts that no version needs."""
        with status.mapped(context):
            if request.HasField("grace_s") and request.grace_s < 0:
                raise RequestMalformedError("the grace time is a number of seconds from 0 up", field="grace_s")
            collected = self._parts.upkeep.collect(
                grace_s=request.grace_s if request.HasField("grace_s") else None, dry_run=request.dry_run
            )
            return pb.CollectArtifactsResponse(
                artifacts=[
                    pb.CollectedArtifact(
                        artifact_sha256=kept.sha256, artifact_bytes=kept.length_bytes, put_time_us=kept.put_us
                    )
                    for kept in collected.artifacts
                ],
                total_bytes=sum(kept.length_bytes for kept in collected.artifacts),
                younger=collected.younger,
            )


def _verified(told: Finding | Progress) -> pb.VerifyArtifactsResponse:
    if isinstance(told, Finding):
        return pb.VerifyArtifactsResponse(
            finding=pb.ArtifactFinding(
                problem=_PROBLEMS[told.problem],
                artifact_sha256=told.sha256,
                message=told.message,
                versions=told.versions,
            )
        )
    return pb.VerifyArtifactsResponse(
        progress=pb.VerifyProgress(
            checked=told.checked,
            total=told.total,
            checked_bytes=told.checked_bytes,
            total_bytes=told.total_bytes,
            unreferenced=told.unreferenced,
            unreferenced_bytes=told.unreferenced_bytes,
            done=told.done,
        )
    )
