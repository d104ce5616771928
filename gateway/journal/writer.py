"""The journal's writer: what it has taken survives the death of its process.

Theory of operation
-------------------
One writer has one active segment. `append` hands a whole wave to the kernel with one write before it returns, so that
kill -9 loses nothing that was acknowledged. A thread of the writer's own puts it on the disk (fdatasync) at most one
interval later, for all waves of the interval at once; with an interval of 0 `append` does so itself. The same thread
seals the segments that are full or old, away from the requests.

A segment that failed is never written again: it is cut back to its last good offset and retired, and the next append
begins another. So the bytes below any reader's offset never change. While the disk is full, making another is tried
once an interval, and every append in between is refused at once.

This module is loaded by every worker: no duckdb, no pyarrow.
"""

from __future__ import annotations

import errno
import logging
import shutil
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from gateway.errors import JournalUnavailableError
from gateway.journal.active import ActiveSegment
from gateway.journal.facts import WriterFacts
from gateway.journal.record import Gap, encode
from gateway.journal.segment import check_writer_name, frame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from storage.clock import Clock

_log = logging.getLogger(__name__)

_HOUSEKEEPING_S = 1.0
_NEVER = float("inf")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class JournalWriter:
    """Appends records to segments of its own. Safe to call from several threads.

    Parameters
    ----------
    folder
        The journal's folder; made when it does not exist.
    name
        The writer's name, unique among the writers that are alive: letters, digits, ``_`` and ``-``.
    clock
        Dates the gap records.
    segment_bytes_max
        A segment is sealed before it grows past this.
    segment_age_max_s
        A segment with records is sealed when it is older than this.
    sync_interval_ms
        How long an appended record may be with the kernel only; 0 puts it on the disk before `append` returns.
    retry_interval_ms
        How long appends are refused at once after the folder took nothing.
    free_bytes_min
        What is left free of the disk for others: while it has less, appends are refused as on a full one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        clock: Clock,
        segment_bytes_max: int = 64 * 1024 * 1024,
        segment_age_max_s: float = 300.0,
        sync_interval_ms: float = 50.0,
        retry_interval_ms: float = 100.0,
        free_bytes_min: int = 0,
    ) -> None:
        self._folder = folder
        self._name = check_writer_name(name)
        self._clock = clock
        self._segment_bytes_max = segment_bytes_max
        self._segment_age_max_s = segment_age_max_s
        self._durable = sync_interval_ms <= 0
        self._sync_interval_s = max(sync_interval_ms, 0.0) / 1000
        self._retry_interval_s = retry_interval_ms / 1000
        self._free_bytes_min = free_bytes_min
        folder.mkdir(parents=True, exist_ok=True)
        self._crowded = self._is_crowded()
        self._lock = threading.Lock()  # the active segment and the counts
        self._sync_lock = threading.Lock()  # descriptors are synced and closed under it, never under _lock
        self._active: ActiveSegment | None = None
        self._retired: list[ActiveSegment] = []
        self._refused_until_s = 0.0
        self._failing = False
        self._closed = False
        self._lost: Counter[str] = Counter()
        self._lost_models: Counter[str] = Counter()
        self._records = self._waves = self._bytes = 0
        self._synced_bytes = 0
        self._unsynced_since = self._syncing_since = _NEVER
        self._syncs = self._failed_syncs = self._failed_appends = 0
        self._dirty = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"journal-{name}", daemon=True)
        self._thread.start()

    def append(self, payloads: Sequence[bytes]) -> None:
        """Append the encoded records, all of them or none, or raise JournalUnavailableError.

        When this returns they survive the death of the process. A record larger than 64 MiB raises
        RecordTooLargeError.
        """
        with self._lock:
            self._append(payloads)

    def count_lost(self, label: str, count: int = 1, *, model: str = "") -> None:
        """Remember predictions that were answered and not journalled; a gap record tells of them when writing works.

        Parameters
        ----------
        label
            ``experiment/variant``; empty outside experiments.
        count
            How many.
        model
            Whose they were.
        """
        with self._lock:
            self._lost[label] += count
            self._lost_models[model] += count

    def sync(self) -> None:
        """Put all that was appended on the disk and seal what is full; failures are logged and counted."""
        with self._sync_lock:
            with self._lock:
                active = self._active if self._dirty.is_set() else None
                retired, self._retired = self._retired, []
                self._dirty.clear()
                taken_bytes = self._bytes
                self._syncing_since = min(self._syncing_since, self._unsynced_since)
                self._unsynced_since = _NEVER
            for segment in retired:
                self._seal(segment)
            if active is None or self._sync_active(active):
                with self._lock:
                    self._synced_bytes = taken_bytes
                    self._syncing_since = _NEVER

    def seal(self) -> None:
        """Seal the active segment now, so that it can be compacted."""
        with self._lock:
            self._retire_active()
        self.sync()

    def facts(self) -> WriterFacts:
        """Return what this writer did so far."""
        with self._lock:
            return WriterFacts(
                records=self._records,
                waves=self._waves,
                appended_bytes=self._bytes,
                syncs=self._syncs,
                failed_syncs=self._failed_syncs,
                failed_appends=self._failed_appends,
                lost_pending=self._lost.total(),
                unsynced_bytes=0 if self._durable else self._bytes - self._synced_bytes,
                unsynced_s=max(0.0, time.monotonic() - min(self._syncing_since, self._unsynced_since)),
            )

    def close(self) -> None:
        """Write the pending gap record, put everything on the disk and seal it. Appends are refused from then on."""
        with self._lock:
            if self._closed:
                return
            self._write_gap()
            if self._lost:
                _log.error("%d lost predictions stand in no gap record: %s", self._lost.total(), dict(self._lost))
            self._closed = True
            self._retire_active()
        self._stop.set()
        self._dirty.set()
        self._thread.join()
        self.sync()

    def _append(self, payloads: Sequence[bytes]) -> None:
        if self._closed:
            raise JournalUnavailableError("the journal is closed")
        if self._lost:
            gap = Gap(time_us=self._clock.now_us(), lost=dict(self._lost), models=dict(self._lost_models))
            payloads = [encode(gap), *payloads]
        if not payloads:
            return
        data = frame(payloads)
        if self._active is None and time.monotonic() < self._refused_until_s:
            self._failed_appends += 1
            raise JournalUnavailableError("the journal could not be written a moment ago")
        try:
            self._write(data)
        except OSError as error:
            self._failed_appends += 1
            if not self._failing:
                _log.error("the journal in %s cannot be written: %s", self._folder, error)
            self._failing = True
            raise JournalUnavailableError(f"the journal cannot be written: {error.strerror}") from error
        if self._failing:
            self._failing = False
            _log.warning(
                "the journal in %s is written again; %d predictions were lost", self._folder, self._lost.total()
            )
        self._lost.clear()
        self._lost_models.clear()
        self._records += len(payloads)
        self._waves += 1
        self._bytes += len(data)
        if not self._durable and self._unsynced_since == _NEVER:
            self._unsynced_since = time.monotonic()
            self._dirty.set()

    def _write(self, data: bytes) -> None:
        """Write to the active segment, or once more to a new one when the old one fails; or raise OSError."""
        if self._crowded:
            raise OSError(errno.ENOSPC, "less of the disk is free than is to be left")
        active = self._active
        if active is not None and (
            (active.appended_bytes + len(data) > self._segment_bytes_max and not active.empty)
            or active.age_s > self._segment_age_max_s
        ):
            self._retire_active()
        try:
            self._write_once(data)
        except OSError as error:
            if error.errno in _FULL or active is None:  # another file would fare no better
                self._refused_until_s = time.monotonic() + self._retry_interval_s
                raise
            self._write_once(data)

    def _write_once(self, data: bytes) -> None:
        """Write to the active segment, made when there is none, or give it up and raise OSError."""
        if self._active is None:
            self._active = ActiveSegment(self._folder, self._name)
        try:
            self._active.append(data, durable=self._durable)
        except OSError:
            self._retire_active()
            raise

    def _retire_active(self) -> None:
        """Give up the active segment: cut it to its last good offset now, seal it in the background."""
        active, self._active = self._active, None
        if active is None:
            return
        try:
            active.truncate()
        except OSError as error:
            _log.warning("segment %s could not be cut at %d: %s", active.name, active.appended_bytes, error)
        self._retired.append(active)
        self._dirty.set()

    def _write_gap(self) -> None:
        """Write what was lost as a gap record of its own, when that works."""
        if not self._lost or self._closed:
            return
        try:
            self._append(())
        except JournalUnavailableError:
            _log.debug("%d lost predictions still wait for a gap record", self._lost.total())

    def _run(self) -> None:
        """Sync and seal until the writer is closed."""
        while not self._stop.is_set():
            self._dirty.wait(timeout=_HOUSEKEEPING_S)
            self._stop.wait(self._sync_interval_s)
            self._crowded = self._is_crowded()
            with self._lock:
                self._write_gap()
                active = self._active
                if active is not None and not active.empty and active.age_s > self._segment_age_max_s:
                    self._retire_active()
            self.sync()

    def _is_crowded(self) -> bool:
        return self._free_bytes_min > 0 and shutil.disk_usage(self._folder).free < self._free_bytes_min

    def _sync_active(self, active: ActiveSegment) -> bool:
        """Return whether the active segment is on the disk now; if not it is given up."""
        try:
            active.sync()
        except OSError as error:
            # After a failed sync the kernel may call the same pages clean: nothing more is entrusted to this file.
            _log.error("segment %s could not be put on the disk: %s", active.name, error)
            with self._lock:
                self._failed_syncs += 1
                if self._active is active:
                    self._retire_active()
            return False
        with self._lock:
            self._syncs += 1
        return True

    def _seal(self, segment: ActiveSegment) -> None:
        try:
            segment.retire()
        except OSError as error:
            _log.warning("segment %s could not be sealed; recovery will do it: %s", segment.name, error)
