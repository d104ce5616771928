"""The calls that send the registry as one archive, and take one in."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from gateway.errors import RequestMalformedError
from gateway.rpc import registry_codec as codec
from gateway.rpc import status
from gateway.rpc.registry_calls.parts import CHUNK_BYTES_MAX, RegistryCalls, cancelled_after
from turnout import resources
from turnout.registry.v1 import archive_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc


class ArchiveCalls(RegistryCalls):
    """The registry as a file."""

    def ExportRegistry(
        self, request: pb.ExportRegistryRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ExportRegistryResponse]:
        """Send an archive of some or all models."""
        with status.mapped(context), cancelled_after(context, self._parts.upload_timeout_s):
            models = [codec.model_id(name) for name in request.models]
            with contextlib.closing(self._parts.archives.export(models)) as chunks:
                for chunk in chunks:
                    yield pb.ExportRegistryResponse(chunk=chunk)

    def ImportRegistry(
        self, request_iterator: Iterator[pb.ImportRegistryRequest], context: grpc.ServicerContext
    ) -> pb.ImportRegistryResponse:
        """Take an archive in, all of it or nothing."""
        with status.mapped(context), cancelled_after(context, self._parts.upload_timeout_s):
            taken = self._parts.archives.take_in(_chunks(request_iterator), actor=status.actor(context))
            return pb.ImportRegistryResponse(
                added=[resources.model_name(model) for model in taken.added],
                unchanged=[resources.model_name(model) for model in taken.unchanged],
                versions=taken.versions,
                taints=taken.taints,
                revision=taken.revision,
            )


def _chunks(requests: Iterator[pb.ImportRegistryRequest]) -> Iterator[bytes]:
    for request in requests:
        if len(request.chunk) > CHUNK_BYTES_MAX:
            raise RequestMalformedError(f"a chunk is longer than {CHUNK_BYTES_MAX} bytes", bytes_max=CHUNK_BYTES_MAX)
        yield request.chunk
