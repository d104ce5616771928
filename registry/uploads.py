"""Uploads: what is being received of a file, kept for a while when it breaks off, so that it can go on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from typing import TYPE_CHECKING

from registry.artifacts import check_digest
from registry.errors import (
    ArtifactDigestError,
    ArtifactTooLargeError,
    StoreFullError,
    UploadBusyError,
    UploadOffsetError,
)
from registry.spool import ARTIFACT_BYTES_MAX, Receiving, clear_spools, spooled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import BufferedRandom
    from pathlib import Path

GRACE_S = 86_400.0
UPLOADS_MAX = 32
"""How many uploads that broke off are kept; of more, the oldest goes."""
KEPT_BYTES_MIN = 1024**2
"""What is shorter is sent again sooner than it is asked for."""
_PREFIX = "part-"


class Uploads:
    """Receives files into a folder, by digest.

    Parameters
    ----------
    folder
        Its own. What a crash left there that cannot go on, and what is older than the grace time, is removed.
    grace_s
        How long an upload that broke off is kept.
    """

    __slots__ = ("_folder", "_grace_s")

    def __init__(self, folder: Path, *, grace_s: float = GRACE_S) -> None:
        self._folder = folder
        self._grace_s = grace_s
        folder.mkdir(parents=True, exist_ok=True)
        clear_spools(folder)
        self._clear()

    def received(self, sha256: str) -> int:
        """Return how many bytes of a file are here from an upload that broke off; 0 when there is none."""
        check_digest(sha256)
        try:
            return self._place(sha256).stat().st_size
        except FileNotFoundError:
            return 0

    @contextlib.contextmanager
    def receiving(
        self,
        chunks: Iterable[bytes],
        *,
        expected_sha256: str,
        offset: int = 0,
        bytes_max: int = ARTIFACT_BYTES_MAX,
    ) -> Iterator[Path]:
        """Give a synced file of the bytes that has the digest; it is gone afterwards.

        When the chunks break off, what came is kept for the next try. Memory holds one chunk at a time.

        Parameters
        ----------
        offset
            How many bytes of the file are here already; the chunks come after them.

        Raises
        ------
        UploadOffsetError
            So many are not here.
        UploadBusyError
            Somebody else is sending the rest of the same upload.
        ArtifactDigestError, ArtifactTooLargeError, StoreFullError
            As `spooled`; nothing is kept then.
        """
        check_digest(expected_sha256)
        self._clear()
        file = self._locked(expected_sha256)
        if file is None and offset:
            raise UploadBusyError("somebody else is sending the rest of this file: try again, or send all of it")
        if file is None:
            with spooled(chunks, folder=self._folder, expected_sha256=expected_sha256, bytes_max=bytes_max) as path:
                yield path
            return
        place = self._place(expected_sha256)
        with file:
            self._receive(file, chunks, expected_sha256=expected_sha256, offset=offset, bytes_max=bytes_max)
            try:
                yield place
            finally:
                place.unlink(missing_ok=True)

    def _receive(
        self, file: BufferedRandom, chunks: Iterable[bytes], *, expected_sha256: str, offset: int, bytes_max: int
    ) -> None:
        here = os.fstat(file.fileno()).st_size
        if not 0 <= offset <= here:
            self._keep(file, expected_sha256)
            raise UploadOffsetError(f"{here} bytes of this file are here, not {offset}", received_bytes=here)
        file.truncate(offset)
        receiving = Receiving(file, bytes_max=bytes_max)
        receiving.reread(offset)
        try:
            receiving.take(chunks, expected_sha256=expected_sha256)
        except (ArtifactDigestError, ArtifactTooLargeError, StoreFullError):
            self._place(expected_sha256).unlink(missing_ok=True)
            raise
        except BaseException:
            self._keep(file, expected_sha256)
            raise

    def _keep(self, file: BufferedRandom, sha256: str) -> None:
        """Leave what came for the next try, unless it is too little."""
        file.flush()
        if os.fstat(file.fileno()).st_size < KEPT_BYTES_MIN:
            self._place(sha256).unlink(missing_ok=True)

    def _locked(self, sha256: str) -> BufferedRandom | None:
        """Return the file of an upload, locked; None when somebody else is receiving it."""
        place = self._place(sha256)
        while True:
            file = os.fdopen(os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if place.stat().st_ino == os.fstat(file.fileno()).st_ino:
                    return file
            except BlockingIOError:
                file.close()
                return None
            except FileNotFoundError:
                pass
            file.close()  # it was removed between the opening and the locking: once more

    def _clear(self) -> None:
        """Remove what is too old, and of too many the oldest; what is being received is young."""
        found = []
        for path in self._folder.glob(f"{_PREFIX}*"):
            with contextlib.suppress(FileNotFoundError):
                found.append((path.stat().st_mtime, path))
        found.sort(reverse=True)
        for place, (modified_s, path) in enumerate(found):
            if place >= UPLOADS_MAX or modified_s < time.time() - self._grace_s:
                path.unlink(missing_ok=True)

    def _place(self, sha256: str) -> Path:
        return self._folder / f"{_PREFIX}{sha256}"
