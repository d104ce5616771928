"""Spools: what is being received, in temporary files that are whole and have their digest before anybody sees them."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import ArtifactDigestError, ArtifactTooLargeError, StoreFullError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

ARTIFACT_BYTES_MAX = 2 * 1024**3
_READ_BYTES = 1024**2
_SPOOL_PREFIX = "put-"


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
            Receiving(file, bytes_max=bytes_max).take(chunks, expected_sha256=expected_sha256)
        yield path
    finally:
        path.unlink(missing_ok=True)


def clear_spools(folder: Path) -> int:
    """Remove the temporary files that a crash left in the folder and return how many there were."""
    left = list(folder.glob(f"{_SPOOL_PREFIX}*"))
    for each in left:
        each.unlink()
    return len(left)


class Receiving:
    """A file that is being written, its digest and its length so far.

    Parameters
    ----------
    file
        Where it goes, at its end.
    bytes_max
        How long it may become.
    """

    __slots__ = ("_bytes_max", "_digest", "_file", "_length")

    def __init__(self, file: IO[bytes], *, bytes_max: int) -> None:
        self._file = file
        self._bytes_max = bytes_max
        self._digest = hashlib.sha256()
        self._length = 0

    def reread(self, length: int) -> None:
        """Take what the file holds already, from its start, as received."""
        self._file.seek(0)
        while self._length < length:
            chunk = self._file.read(min(_READ_BYTES, length - self._length))
            self._digest.update(chunk)
            self._length += len(chunk)

    def take(self, chunks: Iterable[bytes], *, expected_sha256: str) -> None:
        """Write the chunks, and make them durable when all of the file has the digest.

        Raises
        ------
        ArtifactDigestError, ArtifactTooLargeError, StoreFullError
            The bytes are others than announced, too many, or more than the disk has room for.
        """
        for chunk in chunks:
            self._length += len(chunk)
            if self._length > self._bytes_max:
                raise ArtifactTooLargeError(
                    f"the artifact is longer than {self._bytes_max} bytes", bytes_max=self._bytes_max
                )
            self._digest.update(chunk)
            try:
                self._file.write(chunk)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    raise StoreFullError("the disk has no room for the artifact", length_bytes=self._length) from error
                raise
        found = self._digest.hexdigest()
        if found != expected_sha256:
            raise ArtifactDigestError(
                f"{self._length} bytes arrived with the sha256 {found}, announced was {expected_sha256[:64]!r}: "
                "send the file again",
                sha256=found,
                expected_sha256=expected_sha256[:64],
                length_bytes=self._length,
            )
        self._file.flush()
        os.fsync(self._file.fileno())
