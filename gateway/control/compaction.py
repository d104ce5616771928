"""Compaction on a schedule, in the one process that owns it."""

from __future__ import annotations

import dataclasses
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.journal.commits import EventFolders
from gateway.journal.compact import Compaction, compact
from storage.errors import DomainError

if TYPE_CHECKING:
    from pathlib import Path

    from storage.clock import Clock

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CompactionFacts:
    """What compaction did since the process began.

    Attributes
    ----------
    runs, failed_runs
        How often it ran, and how often it could not run at all.
    segments, records
        What became Parquet.
    cut_bytes
        What was cut off segments whose writer had died.
    failing
        Why a segment could not be compacted in the last run, by name.
    last_run_us
        When it last ran to its end; -1 before that.
    """

    runs: int = 0
    failed_runs: int = 0
    segments: int = 0
    records: int = 0
    cut_bytes: int = 0
    failing: tuple[tuple[str, str], ...] = ()
    last_run_us: int = -1


class Compactor:
    """Turns sealed segments into Parquet, now and then.

    Parameters
    ----------
    state_folder
        The state folder.
    clock
        Dates the runs.
    interval_s
        How long to wait after a run, in wall-clock seconds.
    """

    def __init__(self, state_folder: Path, clock: Clock, *, interval_s: float = 10.0) -> None:
        self._folders = EventFolders(state_folder)
        self._clock = clock
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._facts = CompactionFacts()

    def run_once(self) -> Compaction:
        """Compact what is sealed, or raise CompactorBusyError or OSError."""
        with self._lock:
            before = self._facts
            done = compact(self._folders)
            self._facts = CompactionFacts(
                runs=before.runs + 1,
                failed_runs=before.failed_runs,
                segments=before.segments + len(done.committed),
                records=before.records + done.records,
                cut_bytes=before.cut_bytes + sum(sealed.cut_bytes for sealed in done.sealed),
                failing=tuple(done.failed.items()),
                last_run_us=self._clock.now_us(),
            )
            return done

    def run(self, stop: threading.Event) -> None:
        """Compact until told to stop; a run that fails is reported and tried again after the interval."""
        while not stop.wait(self._interval_s):
            try:
                self.run_once()
            except (DomainError, OSError) as error:
                _log.warning("compaction did not run: %s", error)
                self._count_failed_run()

    def facts(self) -> CompactionFacts:
        """Return what compaction did since the process began."""
        return self._facts

    def _count_failed_run(self) -> None:
        with self._lock:
            self._facts = dataclasses.replace(self._facts, failed_runs=self._facts.failed_runs + 1)
