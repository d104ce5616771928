"""The segment that a writer appends to: whole waves or nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING

from gateway.journal.segment import HEADER, HEADER_BYTES, NEW, OPEN, SEALED, new_name, sync_folder

if TYPE_CHECKING:
    from pathlib import Path


class ActiveSegment:
    """A new segment file, locked by this process for as long as it is open.

    The file is made and locked under a name that nobody looks at and then renamed, so that an ``.open`` file without
    a lock always belongs to a writer that is dead. The lock goes with the process, however it ends.

    Parameters
    ----------
    folder
        The journal's folder.
    writer
        The writer's name.

    Raises
    ------
    OSError
        When the file cannot be made; nothing is left behind then.
    """

    __slots__ = ("_descriptor", "_folder", "_name_durable", "appended_bytes", "born_s", "name")

    def __init__(self, folder: Path, writer: str) -> None:
        self._folder = folder
        self._name_durable = False
        self.name = new_name(writer)
        self.born_s = time.monotonic()
        self.appended_bytes = HEADER_BYTES
        """The last good offset: where the last whole wave ends."""
        path = folder / (self.name + NEW)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_all(self._descriptor, HEADER)
            path.rename(folder / (self.name + OPEN))
        except OSError:
            os.close(self._descriptor)
            path.unlink(missing_ok=True)
            raise

    @property
    def empty(self) -> bool:
        """Whether no record was appended."""
        return self.appended_bytes == HEADER_BYTES

    @property
    def age_s(self) -> float:
        """For how many seconds the segment has existed."""
        return time.monotonic() - self.born_s

    def append(self, data: bytes, *, durable: bool) -> None:
        """Append frames with one write, or raise OSError; then `retire` is all that may follow.

        With `durable` they are on the disk when this returns, else they are with the kernel.
        """
        _write_all(self._descriptor, data)
        if durable:
            self.sync()
        self.appended_bytes += len(data)

    def sync(self) -> None:
        """Put what was appended on the disk, and the file's name the first time, or raise OSError."""
        os.fdatasync(self._descriptor)
        if not self._name_durable:
            sync_folder(self._folder)
            self._name_durable = True

    def truncate(self) -> None:
        """Cut off what a failed append left behind, or raise OSError."""
        if os.fstat(self._descriptor).st_size != self.appended_bytes:
            os.ftruncate(self._descriptor, self.appended_bytes)

    def retire(self) -> None:
        """Seal the segment and give up the lock; an empty one is removed. Raise OSError when it could not be sealed.

        A segment that could not be sealed stays ``.open`` without a lock, and recovery seals it.
        """
        path = self._folder / (self.name + OPEN)
        try:
            self.truncate()
            if self.empty:
                path.unlink()
            else:
                os.fdatasync(self._descriptor)
                path.rename(self._folder / (self.name + SEALED))
            sync_folder(self._folder)
        finally:
            os.close(self._descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    """Write all the bytes, going on after a short write, or raise OSError."""
    written = os.write(descriptor, data)
    if written == len(data):
        return
    rest = memoryview(data)[written:]
    while rest:
        written = os.write(descriptor, rest)
        if not written:
            raise OSError(errno.EIO, "the file takes no more bytes")
        rest = rest[written:]
