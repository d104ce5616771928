"""Files of versions on their way: uploads that go on where they broke off, and downloads that do so too."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, BinaryIO

from turnout.errors import TurnoutError
from turnout.registry.v1 import artifact_pb2, registry_service_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from turnout.registry.v1 import registry_service_pb2_grpc

CHUNK_BYTES_MAX = 1024 * 1024
"""A shorter file is sent from its start whatever was there before."""


class DownloadDamagedError(OSError):
    """What arrived has not the digest of the file that was asked for; it was removed."""


def offset_of(registry: registry_service_pb2_grpc.RegistryServiceStub, file: Path, sha256: str) -> int:
    """Return how many bytes of a file the gateway has from an upload that broke off; an older gateway keeps none."""
    if file.stat().st_size <= CHUNK_BYTES_MAX:
        return 0
    try:
        answer = registry.GetUploadStatus(artifact_pb2.GetUploadStatusRequest(artifact_sha256=sha256))
    except TurnoutError as error:
        if error.code == "UNIMPLEMENTED":
            return 0
        raise
    return min(answer.received_bytes, file.stat().st_size)


def publication(
    head: registry_service_pb2.PublishHead, file: Path
) -> Iterator[registry_service_pb2.PublishVersionRequest]:
    """Yield the messages of a publication."""
    yield registry_service_pb2.PublishVersionRequest(head=head)
    for chunk in _chunks(file, head.offset):
        yield registry_service_pb2.PublishVersionRequest(chunk=chunk)


def download(
    registry: registry_service_pb2_grpc.RegistryServiceStub,
    name: str,
    path: Path,
    *,
    timeout_s: float,
    arrived: Callable[[int, int], None],
) -> registry_service_pb2.Version:
    """Write a version's file, and return the version.

    What arrives is kept beside, as ``PATH.DIGEST.part``, until all of it has the digest; a download that broke off goes
    on there.

    Parameters
    ----------
    arrived
        Is told how many bytes there are, and of how many.

    Raises
    ------
    DownloadDamagedError
        What arrived has another digest.
    OSError
        The file cannot be written.
    """
    version = registry.GetVersion(registry_service_pb2.GetVersionRequest(name=name)).version
    part = path.with_name(f"{path.name}.{version.artifact_sha256[:12]}.part")
    with part.open("ab") as file:
        file.truncate(min(file.tell(), version.artifact_bytes))
        request = artifact_pb2.DownloadArtifactRequest(name=name, offset=file.seek(0, os.SEEK_END))
        for message in registry.DownloadArtifact(request, timeout=timeout_s):
            file.write(message.chunk)
            arrived(file.tell(), version.artifact_bytes)
        file.flush()
        os.fsync(file.fileno())
    with part.open("rb") as written:
        found = hashlib.file_digest(written, "sha256").hexdigest()
    if found != version.artifact_sha256:
        part.unlink()
        raise DownloadDamagedError(
            f"what arrived has the sha256 {found}, that of {name} is {version.artifact_sha256}: download it again"
        )
    part.rename(path)
    return version


def _chunks(file: Path, offset: int) -> Iterator[bytes]:
    with file.open("rb") as source:
        source.seek(offset)
        while chunk := source.read(CHUNK_BYTES_MAX):
            yield chunk


def archive_chunks(source: BinaryIO) -> Iterator[bytes]:
    """Yield what a file holds, in pieces that a message may have."""
    while chunk := source.read(CHUNK_BYTES_MAX):
        yield chunk
