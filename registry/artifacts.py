"""Artifacts: bytes addressed by their sha256, created once and never changed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from registry.errors import (
    ArtifactCorruptError,
    ArtifactDigestError,
    ArtifactMissingError,
    ArtifactTooLargeError,
    StoreFullError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

ARTIFACT_BYTES_MAX = 2 * 1024**3
READ_BYTES = 1024**2
_SPOOL_PREFIX = "put-"
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ArtifactStore(Protocol):
    """Keeps artifacts."""

    def put(self, chunks: Iterable[bytes], *, expected_sha256: str, bytes_max: int = ARTIFACT_BYTES_MAX) -> int:
        """Keep the bytes for good and return how many they are; bytes that are kept already stay untouched.

        Raises
        ------
        ArtifactDigestError
            They do not have the digest. Nothing was kept.
        ArtifactTooLargeError
            They are more than `bytes_max`. Nothing was kept.
        """
        ...

    def path(self, sha256: str) -> Path:
        """Return a local file that holds the artifact, or raise ArtifactMissingError; the bytes are not looked at."""
        ...

    def place(self, sha256: str) -> Path:
        """Return where the local file of an artifact is, or would be."""
        ...

    def verify(self, sha256: str) -> Path:
        """Return a local file that holds the artifact and has its digest.

        Raises
        ------
        ArtifactMissingError
            There is none.
        ArtifactCorruptError
            Its bytes have changed.
        """
        ...


class LocalArtifacts:
    """Artifacts in a folder: `sha256/ab/<digest>`.

    A file appears under its digest whole or not at all: written aside, synced, renamed, and the folder synced. What a
    crash leaves aside, the next start removes.

    Parameters
    ----------
    folder
        Created when it does not exist. One process puts; any number read.
    """

    __slots__ = ("_folder", "_incoming")

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "sha256"
        self._incoming = folder / "incoming"
        for each in (self._folder, self._incoming):
            each.mkdir(parents=True, exist_ok=True)

    def put(self, chunks: Iterable[bytes], *, expected_sha256: str, bytes_max: int = ARTIFACT_BYTES_MAX) -> int:
        """Keep the bytes for good and return how many they are, as the port says."""
        place = self.place(expected_sha256)
        with spooled(chunks, folder=self._incoming, expected_sha256=expected_sha256, bytes_max=bytes_max) as spool:
            length = spool.stat().st_size
            # Bytes that rotted are replaced by the good ones; good ones are left alone.
            if not place.exists() or digest_of(place) != expected_sha256:
                spool.chmod(0o444)
                if not place.parent.exists():
                    place.parent.mkdir(exist_ok=True)
                    _sync_folder(self._folder)
                spool.rename(place)
                _sync_folder(place.parent)
        return length

    def path(self, sha256: str) -> Path:
        """Return the file that holds the artifact, or raise ArtifactMissingError; the bytes are not looked at."""
        place = self.place(sha256)
        if not place.is_file():
            raise ArtifactMissingError(f"there is no artifact {sha256}", sha256=sha256)
        return place

    def place(self, sha256: str) -> Path:
        """Return where the file of an artifact is, or would be."""
        if _SHA256.fullmatch(sha256) is None:  # it becomes a path: nothing else may
            raise ArtifactDigestError(f"{sha256[:80]!r} is not a sha256 in lower-case hexadecimal")
        return self._folder / sha256[:2] / sha256

    def verify(self, sha256: str) -> Path:
        """Return the file that holds the artifact, or raise ArtifactMissingError or ArtifactCorruptError."""
        place = self.path(sha256)
        found = digest_of(place)
        if found != sha256:
            raise ArtifactCorruptError(f"the artifact {sha256} was changed: its digest is {found}", sha256=sha256)
        return place

    def clear_incoming(self) -> int:
        """Remove what unfinished puts left and return how many there were; for the start, before any put."""
        return clear_spools(self._incoming)


@contextlib.contextmanager
def spooled(
    chunks: Iterable[bytes], *, folder: Path, expected_sha256: str, bytes_max: int = ARTIFACT_BYTES_MAX
) -> Iterator[Path]:
    """Give a synced temporary file of the chunks, which have the digest; it is gone afterwards unless it was moved.

    Memory holds one chunk at a time.

    Raises
    ------
    ArtifactDigestError, ArtifactTooLargeError, StoreFullError
        The bytes are others than announced, too many, or more than the disk has room for.
    """
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=_SPOOL_PREFIX)
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _write(file, chunks, expected_sha256=expected_sha256, bytes_max=bytes_max)
        yield path
    finally:
        path.unlink(missing_ok=True)


def clear_spools(folder: Path) -> int:
    """Remove the temporary files that a crash left in the folder and return how many there were."""
    left = list(folder.glob(f"{_SPOOL_PREFIX}*"))
    for each in left:
        each.unlink()
    return len(left)


def digest_of(path: Path) -> str:
    """Return the sha256 of a file in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def chunks_of(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, piece by piece."""
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            yield chunk


def _write(file: IO[bytes], chunks: Iterable[bytes], *, expected_sha256: str, bytes_max: int) -> None:
    digest = hashlib.sha256()
    length = 0
    for chunk in chunks:
        length += len(chunk)
        if length > bytes_max:
            raise ArtifactTooLargeError(f"the artifact is longer than {bytes_max} bytes", bytes_max=bytes_max)
        digest.update(chunk)
        try:
            file.write(chunk)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise StoreFullError("the disk has no room for the artifact", length_bytes=length) from error
            raise
    if digest.hexdigest() != expected_sha256:
        raise ArtifactDigestError(
            f"{length} bytes arrived with the sha256 {digest.hexdigest()}, announced was {expected_sha256[:64]!r}: "
            "send the file again",
            sha256=digest.hexdigest(),
            expected_sha256=expected_sha256[:64],
            length_bytes=length,
        )
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the names in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
