"""All numbers of the gateway at one instant: those of the workers, summed, and those of the control plane."""

from __future__ import annotations

import contextlib
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from gateway.journal.segment import OPEN, SEALED, list_segments
from gateway.telemetry.vitals import put_vitals

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.control.compaction import Compactor
    from gateway.control.fleet import Fleet
    from gateway.control.publisher import TablePublisher
    from gateway.control.sharing import Sharing
    from gateway.telemetry.logs import Logs
    from gateway.telemetry.meter import Meter

REPORTS_WAIT_S = 0.25
"""How long a reader waits for the workers to say how they stand now; past it, what they said last counts."""


class Figures:
    """Gathers the numbers for whoever asks.

    Parameters
    ----------
    meter
        What the control plane counts itself.
    logs
        What writes its log.
    fleet, publisher, compactor, sharing
        What else is told of; the last may be None.
    journal
        The folder of the segments.
    """

    def __init__(
        self,
        *,
        meter: Meter,
        logs: Logs,
        fleet: Fleet,
        publisher: TablePublisher,
        compactor: Compactor,
        sharing: Sharing | None,
        journal: Path,
    ) -> None:
        self._meter = meter
        self._logs = logs
        self._fleet = fleet
        self._publisher = publisher
        self._compactor = compactor
        self._sharing = sharing
        self._journal = journal

    def gather(self) -> Meter:
        """Return the numbers as they stand now."""
        self._fleet.refresh(REPORTS_WAIT_S)
        figures = self._fleet.figures()
        figures.merge(self._meter)
        put_vitals(figures, "control")
        self._logs.put_counts(figures)
        figures.put("turnout_build_info", (version("turnout"),), 1)
        _, silent_since_us = self._publisher.following
        figures.put(
            "turnout_database_silent_seconds", (), time.time() - silent_since_us / 1e6 if silent_since_us else 0.0
        )
        figures.put("turnout_revision", (), self._publisher.written)
        self._put_workers(figures)
        self._put_compaction(figures)
        self._put_sharing(figures)
        self._put_segments(figures)
        return figures

    def _put_workers(self, figures: Meter) -> None:
        for report in self._fleet.reports():
            worker = str(report.slot)
            figures.put("turnout_worker_ready", (worker,), report.ready)
            figures.put("turnout_worker_revision", (worker,), report.revision)
            figures.put("turnout_worker_restarts_total", (worker,), report.restarts)
            for loaded in report.versions:
                figures.put("turnout_version_state", (worker, loaded.model, str(loaded.version), loaded.state), 1)

    def _put_compaction(self, figures: Meter) -> None:
        facts = self._compactor.facts()
        figures.put("turnout_compaction_runs_total", ("done",), facts.runs)
        figures.put("turnout_compaction_runs_total", ("failed",), facts.failed_runs)
        figures.put("turnout_compaction_records_total", (), facts.records)
        figures.put("turnout_compaction_failing_segments", (), len(facts.failing))
        figures.put("turnout_journal_cut_bytes_total", (), facts.cut_bytes)

    def _put_sharing(self, figures: Meter) -> None:
        if self._sharing is None:
            return
        facts = self._sharing.facts
        figures.put("turnout_shared_segments_total", ("shipped",), facts.shipped)
        figures.put("turnout_shared_segments_total", ("fetched",), facts.fetched)
        figures.put("turnout_shared_exchanges_failed_total", (), facts.failed)
        figures.put("turnout_shared_waiting_segments", (), facts.waiting)
        figures.put("turnout_shared_waiting_bytes", (), facts.waiting_bytes)
        figures.put("turnout_shared_erasures_open", (), facts.erasures_open)

    def _put_segments(self, figures: Meter) -> None:
        now_s = time.time()
        counts = {OPEN: [0, 0], SEALED: [0, 0]}
        lag_s = 0.0
        for segment in list_segments(self._journal):
            with contextlib.suppress(FileNotFoundError):  # compacted meanwhile
                found = segment.path.stat()
                counts[segment.suffix][0] += 1
                counts[segment.suffix][1] += found.st_size
                if segment.suffix == SEALED:
                    lag_s = max(lag_s, now_s - found.st_mtime)
        for state, (segments, size_bytes) in counts.items():
            figures.put("turnout_journal_segments", (state.strip("."),), segments)
            figures.put("turnout_journal_segment_bytes", (state.strip("."),), size_bytes)
        figures.put("turnout_compaction_lag_seconds", (), lag_s)
