"""What of a worker is not counted as it happens: it is read off its parts before the meter is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.guard import GuardedStore
from gateway.telemetry.vitals import put_vitals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.bootstrap.parts import Parts
    from gateway.journal.facts import WriterFacts
    from gateway.telemetry.meter import Meter


def put_gauges(slot: int, parts: Parts, versions: Mapping[str, float]) -> None:
    """Bring the gauges of a worker up to date; of its versions they are what the installer counted."""
    meter = parts.meter
    worker = (str(slot),)
    parts.tally.settle()
    put_vitals(meter, f"worker-{slot}")
    if isinstance(parts.store, GuardedStore):
        guard = parts.store.facts()
        meter.put("turnout_online_store_open", worker, int(guard.is_open))
        meter.put("turnout_online_store_opens_total", worker, guard.opened)
        meter.put("turnout_online_store_reads_failed_total", worker, guard.failed)
        meter.put("turnout_online_store_reads_skipped_total", worker, guard.skipped)
    _put_journal(meter, worker, parts.journal.facts())
    if versions:
        _put_versions(meter, worker, versions)


def _put_journal(meter: Meter, worker: tuple[str], facts: WriterFacts) -> None:
    meter.put("turnout_journal_records_total", (), facts.records)
    meter.put("turnout_journal_bytes_total", (), facts.appended_bytes)
    meter.put("turnout_journal_syncs_total", ("done",), facts.syncs)
    meter.put("turnout_journal_syncs_total", ("failed",), facts.failed_syncs)
    meter.put("turnout_journal_refusals_total", (), facts.failed_appends)
    meter.put("turnout_journal_unsynced_bytes", worker, facts.unsynced_bytes)
    meter.put("turnout_journal_unsynced_age_seconds", worker, facts.unsynced_s)


def _put_versions(meter: Meter, worker: tuple[str], counts: Mapping[str, float]) -> None:
    hurried = counts["freed_in_a_hurry"]
    meter.put("turnout_version_frees_total", (*worker, "quiet"), counts["freed"] - hurried)
    meter.put("turnout_version_frees_total", (*worker, "hurry"), hurried)
    meter.put("turnout_version_free_seconds_total", worker, counts["free_s_sum"])
    meter.put("turnout_version_free_max_seconds", worker, counts["free_s_max"])
    meter.put("turnout_versions_resident_bytes", (*worker, "ready"), counts["resident_bytes"])
    meter.put("turnout_versions_resident_bytes", (*worker, "leaving"), counts["leaving_bytes"])
