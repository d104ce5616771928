"""Artifacts: bytes addressed by their sha256, created once and never changed."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from registry.errors import ArtifactCorruptError, ArtifactDigestError, ArtifactMissingError
from registry.spool import ARTIFACT_BYTES_MAX, clear_spools, spooled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

READ_BYTES = 1024**2
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Kept:
    """An artifact as the store lists it: its digest by its name, its length, and when it was put there."""

    sha256: str
    length_bytes: int
    put_us: int


class ArtifactStore(Protocol):
    """Keeps artifacts, and gives them as files of this machine."""

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
        """Return a local file that holds the artifact, or raise ArtifactMissingError.

        It is brought here when it is not. The bytes of a file that is here already are not looked at.
        """
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

    def check(self, sha256: str) -> None:
        """Read what is kept for good, not a copy of it, and raise as `verify` does when it is not as it was put."""
        ...

    def holds(self, sha256: str) -> bool:
        """Return whether the artifact is kept for good; the bytes are not looked at."""
        ...

    def listed(self) -> Iterator[Kept]:
        """Yield all that is kept for good, in no order."""
        ...

    def remove(self, sha256: str) -> None:
        """Remove an artifact and every copy of it here; nothing happens when there is none."""
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
            else:
                os.utime(place)  # as old as its last put: a collection passes over what is young
        return length

    def path(self, sha256: str) -> Path:
        """Return the file that holds the artifact, or raise ArtifactMissingError; the bytes are not looked at."""
        place = self.place(sha256)
        if not place.is_file():
            raise ArtifactMissingError(f"there is no artifact {sha256}", sha256=sha256)
        return place

    def place(self, sha256: str) -> Path:
        """Return where the file of an artifact is, or would be."""
        check_digest(sha256)
        return self._folder / sha256[:2] / sha256

    def verify(self, sha256: str) -> Path:
        """Return the file that holds the artifact, or raise ArtifactMissingError or ArtifactCorruptError."""
        place = self.path(sha256)
        check_found(sha256, digest_of(place))
        return place

    def check(self, sha256: str) -> None:
        """Read what is kept, and raise as `verify` does."""
        self.verify(sha256)

    def holds(self, sha256: str) -> bool:
        """Return whether the artifact is there; the bytes are not looked at."""
        return self.place(sha256).is_file()

    def listed(self) -> Iterator[Kept]:
        """Yield all that is kept; what has another name than a digest is not ours and is passed over."""
        for path in self._folder.glob("??/*"):
            if _SHA256.fullmatch(path.name) is not None and path.is_file():
                found = path.stat()
                yield Kept(path.name, found.st_size, found.st_mtime_ns // 1000)

    def remove(self, sha256: str) -> None:
        """Remove an artifact for good; nothing happens when there is none."""
        place = self.place(sha256)
        place.unlink(missing_ok=True)
        if place.parent.exists():
            _sync_folder(place.parent)

    def clear_incoming(self) -> int:
        """Remove what unfinished puts left and return how many there were; for the start, before any put."""
        return clear_spools(self._incoming)


def check_found(sha256: str, found: str) -> None:
    """Raise ArtifactCorruptError unless the digest that was found is the artifact's."""
    if found != sha256:
        raise ArtifactCorruptError(f"the artifact {sha256} was changed: its digest is {found}", sha256=sha256)


def check_digest(sha256: str) -> None:
    """Raise ArtifactDigestError unless it is a digest: it becomes a path, and nothing else may."""
    if _SHA256.fullmatch(sha256) is None:
        raise ArtifactDigestError(f"{sha256[:80]!r} is not a sha256 in lower-case hexadecimal")


def digest_of(path: Path) -> str:
    """Return the sha256 of a file in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def chunks_of(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, piece by piece."""
    with path.open("rb") as file:
        while chunk := file.read(READ_BYTES):
            yield chunk


def _sync_folder(folder: Path) -> None:
    """Make the names in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
