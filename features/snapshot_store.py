"""The online store as snapshots: a file of columns that readers map into memory, swapped whole like a model.

Theory of operation
-------------------
The writer keeps what is written in an LMDB environment beside the snapshot, where it is compared, set and durable. A
while after a write it builds a snapshot of all of it and renames it into place; the more time that takes, the longer
it waits until it builds the next one. Readers look some times a second whether there is another file, and go over to
it between two waves: what was mapped before stays whole until its last reader lets go.
"""

from __future__ import annotations

import fcntl
import logging
import math
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from features.errors import StoreUnavailableError
from features.lmdb_store import LmdbStore
from features.snapshot import Snapshot
from features.snapshot_build import build_snapshot
from features.snapshot_file import FILE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LOOK_INTERVAL_S = 0.1
SETTLE_S = 0.2
REST_FACTOR = 4
"""A writer rests so many times as long as its last snapshot took."""

_STAGE = "stage"
_log = logging.getLogger(__name__)


def open_snapshots(folder: str, *, writable: bool, map_bytes_max: int) -> SnapshotReader | SnapshotWriter:
    """Return the store of a folder, for reading or for writing."""
    if writable:
        return SnapshotWriter(folder, map_bytes_max=map_bytes_max)
    return SnapshotReader(folder)


class SnapshotReader:
    """The newest snapshot of a folder.

    Parameters
    ----------
    folder
        Where snapshots come to be; there need be none yet.
    """

    far = False

    def __init__(self, folder: str) -> None:
        self._path = Path(folder) / FILE_NAME
        self._identity: tuple[int, int] | None = None
        self._snapshot: Snapshot | None = None
        self._look_at = -math.inf

    def tables(self) -> Snapshot | None:
        """Return the newest snapshot; None while there is none."""
        if time.monotonic() >= self._look_at:
            self.look()
        return self._snapshot

    def get_many(self, keys: Sequence[bytes], *, until: float = math.inf) -> list[bytes | None]:
        """Return the blob of each key from the newest snapshot, None where there is none."""
        del until  # memory does not wait
        snapshot = self.tables()
        if snapshot is None and self._identity is not None:
            raise StoreUnavailableError(f"the snapshot {self._path} cannot be read")
        return [None] * len(keys) if snapshot is None else snapshot.get_many(keys)

    def put_many(self, pairs: Iterable[tuple[bytes, bytes]], *, kept_us: int = 0) -> int:  # noqa: ARG002  (the port's)
        """Raise StoreUnavailableError: this one reads."""
        raise StoreUnavailableError("a snapshot is written by the gateway's control plane alone")

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its blob."""
        self.look()
        if self._snapshot is not None:
            yield from self._snapshot.scan()

    def forget(self, prefix: bytes, before_us: int) -> int:  # noqa: ARG002  (the port's)
        """Raise StoreUnavailableError: this one reads."""
        raise StoreUnavailableError("a snapshot is written by the gateway's control plane alone")

    def close(self) -> None:
        """Let go of the file."""
        self._snapshot = None
        self._look_at = math.inf

    def look(self) -> None:
        """Take over another file when there is one; one that cannot be read changes nothing."""
        self._look_at = time.monotonic() + LOOK_INTERVAL_S
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return
        identity = (found.st_ino, found.st_mtime_ns)
        if identity != self._identity:
            self._identity = identity
            try:
                self._snapshot = Snapshot(self._path)
            except StoreUnavailableError as error:
                _log.error("the snapshot is not taken over: %s", error)


class SnapshotWriter:
    """What snapshots are made of; it reads its own writes at once, others read them in the next snapshot.

    Parameters
    ----------
    folder
        Where to.
    map_bytes_max
        How large the environment of what is written may grow.
    """

    far = False

    def __init__(self, folder: str, *, map_bytes_max: int) -> None:
        self._folder = Path(folder)
        self._lock = _only_writer(self._folder)
        self._stage = LmdbStore(str(self._folder / _STAGE), writable=True, map_bytes_max=map_bytes_max)
        self._building = threading.Lock()
        self._written = threading.Event()
        self._closed = threading.Event()
        self._written.set()  # a writer that was killed may have left more than its last snapshot has
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
        self._thread.start()

    def get_many(self, keys: Sequence[bytes], *, until: float = math.inf) -> list[bytes | None]:
        """Return the blob of each key as it was written last, None where there is none."""
        return self._stage.get_many(keys, until=until)

    def tables(self) -> None:
        """Return nothing: who writes looks up keys."""

    def put_many(self, pairs: Iterable[tuple[bytes, bytes]], *, kept_us: int = 0) -> int:
        """Write what is not older than what is stored; the next snapshot has it."""
        changed = self._stage.put_many(pairs, kept_us=kept_us)
        if changed:
            self._written.set()
        return changed

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its blob."""
        return self._stage.scan()

    def forget(self, prefix: bytes, before_us: int) -> int:
        """Remove old values; they are not in the next snapshot."""
        removed = self._stage.forget(prefix, before_us)
        if removed:
            self._written.set()
        return removed

    def publish(self) -> int:
        """Build a snapshot of all that was written until now, and return its bytes."""
        with self._building:
            self._written.clear()
            try:
                with self._stage.moment() as pairs:
                    return build_snapshot(pairs, self._folder)
            except BaseException:
                self._written.set()
                raise

    def close(self) -> None:
        """Publish what was not, and let go of the folder."""
        self._closed.set()
        self._thread.join()
        if self._written.is_set():
            self.publish()
        self._stage.close()
        self._lock.close()

    def _run(self) -> None:
        rest_s = SETTLE_S
        while not self._closed.wait(rest_s):
            if not self._written.is_set():
                rest_s = SETTLE_S
                continue
            began = time.monotonic()
            try:
                self.publish()
            except Exception:  # noqa: BLE001  (whatever it is, it is tried again)
                _log.exception("a snapshot was not built")
            rest_s = max(SETTLE_S, REST_FACTOR * (time.monotonic() - began))


def _only_writer(folder: Path) -> IO[bytes]:
    """Return the lock of a folder's one writer, or raise StoreUnavailableError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("wb")
    except OSError as error:
        raise StoreUnavailableError(f"the snapshots at {folder} cannot be written: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StoreUnavailableError(f"another process writes the snapshots at {folder}", folder=folder) from error
    return lock
