"""Compaction on a schedule, in the one process that owns it, and what is done to Parquet files beside it."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.control.erasing import Erasures
from gateway.control.reducing.kept import drop_void
from gateway.journal.commits import EventFolders
from gateway.journal.compact import Compaction, compact, sole_compactor
from gateway.journal.rewriting import Rewriter
from storage.errors import DomainError
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gateway.control.sharing import Sharing
    from storage.clock import Clock
    from storage.database import Database

NICENESS = 10  # a tenth of what others get where the machine is busy, so that it does not fall behind for ever

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
    merged_parts, retired_parts
        How many Parquet files went into larger ones, and how many were dropped because they were old.
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
    merged_parts: int = 0
    retired_parts: int = 0
    failing: tuple[tuple[str, str], ...] = ()
    last_run_us: int = -1


class Compactor:
    """Turns sealed segments into Parquet, now and then; merges what is small and drops what is old.

    Parameters
    ----------
    state_folder
        The state folder.
    clock
        Dates the runs.
    interval_s
        How long to wait after a run, in wall-clock seconds.
    kept_days
        For how many days, counted from that of the recording, events of a kind are kept; 0: for ever.
    database
        Where the dropping of old events is audited.
    sharing
        This gateway's part in a log that several share; None: it has its own.
    """

    def __init__(
        self,
        state_folder: Path,
        clock: Clock,
        *,
        interval_s: float = 10.0,
        kept_days: Mapping[str, int] | None = None,
        database: Database | None = None,
        sharing: Sharing | None = None,
    ) -> None:
        self._sharing = sharing
        self._folders = EventFolders(state_folder)
        self._kept_days = kept_days or {}
        self._database = database
        self._clock = clock
        self._interval_s = interval_s
        self._lock = threading.Lock()
        self._facts = CompactionFacts()

    def run_once(self) -> Compaction:
        """Compact what is sealed and tend what is Parquet, or raise CompactorBusyError or OSError."""
        return self.tend(lambda _rewriter, _erasures: None)

    def tend(self, work: Callable[[Rewriter, Erasures], None]) -> Compaction:
        """Run once, and do some work when what is sealed is Parquet; raise as `run_once`."""
        with self._lock:
            before = self._facts
            done = compact(self._folders)
            with sole_compactor(self._folders.events / "compactor.lock"):
                erasures = Erasures(self._folders)
                self._exchange(erasures)
                work(Rewriter(self._folders), erasures)
                rewriter = Rewriter(self._folders)  # anew: what ran before it may have rewritten files
                retired = self._retire(rewriter)
                merged = rewriter.merge(apart=self._sharing.apart() if self._sharing is not None else frozenset())
                rewriter.sweep()
            drop_void(self._folders)
            self._facts = CompactionFacts(
                runs=before.runs + 1,
                failed_runs=before.failed_runs,
                segments=before.segments + len(done.committed),
                records=before.records + done.records,
                cut_bytes=before.cut_bytes + sum(sealed.cut_bytes for sealed in done.sealed),
                merged_parts=before.merged_parts + merged,
                retired_parts=before.retired_parts + retired,
                failing=tuple(done.failed.items()),
                last_run_us=self._clock.now_us(),
            )
            return done

    def run(self, stop: threading.Event) -> None:
        """Compact until told to stop; a run that fails is reported and tried again after the interval.

        The calling thread gives way to all that answers: nobody waits for what it does.
        """
        with contextlib.suppress(OSError):  # a system where threads have no priority of their own
            own = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, own, max(NICENESS, os.getpriority(os.PRIO_PROCESS, own)))
        while not stop.wait(self._interval_s):
            try:
                self.run_once()
            except (DomainError, OSError) as error:
                _log.warning("compaction did not run: %s", error)
                self._count_failed_run()

    def facts(self) -> CompactionFacts:
        """Return what compaction did since the process began."""
        return self._facts

    def _exchange(self, erasures: Erasures) -> None:
        """Erase what is to be erased, and exchange events with other gateways where there are any.

        When the exchange fails all stays here, and is exchanged next time.
        """
        if self._sharing is None:
            erasures.erase(Rewriter(self._folders))
            return
        try:
            self._sharing.exchange(erasures)
            self._sharing.retire(self._kept_days, self._clock.now_us())
        except (DomainError, OSError, ValueError) as error:
            _log.warning("the events were not exchanged with other gateways: %s", error)
            self._sharing.count_failure()

    def _retire(self, rewriter: Rewriter) -> int:
        now_us = self._clock.now_us()
        retired = rewriter.retire(self._kept_days, now_us)
        if retired and self._database is not None:
            with self._database.write() as tx:
                record_change(
                    tx,
                    kind="events.retired",
                    resource="events",
                    actor="turnout",
                    detail={"files": retired, "kept_days": dict(self._kept_days)},
                    now_us=now_us,
                )
        return retired

    def _count_failed_run(self) -> None:
        with self._lock:
            self._facts = dataclasses.replace(self._facts, failed_runs=self._facts.failed_runs + 1)
