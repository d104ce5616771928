"""What a journal's writer tells of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WriterFacts:
    """What a writer did so far.

    Attributes
    ----------
    records, waves, appended_bytes
        What was appended.
    syncs, failed_syncs
        How often it was put on the disk, and how often that failed.
    failed_appends
        How many appends were refused.
    lost_pending
        Predictions that were lost and stand in no gap record yet.
    unsynced_bytes, unsynced_s
        What was appended and is not known to be on the disk, and for how long the oldest of it has not been.
    """

    records: int
    waves: int
    appended_bytes: int
    syncs: int
    failed_syncs: int
    failed_appends: int
    lost_pending: int
    unsynced_bytes: int
    unsynced_s: float
