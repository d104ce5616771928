"""Outcomes of the journal as a table for the SQL of labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.declared_sources import JOURNAL_TABLE
from features.definitions import Source

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.journal.log import EventLog

_ROWS = """
SELECT p.request_id, p.model, p.version, p.variant, p.unit_id, p.entities, p.feature_set, p.features,
    make_timestamp(p.event_time_us) AS event_time, j.name, j.value, make_timestamp(j.event_time_us) AS outcome_time
FROM joined j JOIN predictions p ON j.request_id = p.request_id
WHERE p.status = 0
"""


def write_outcomes(events: EventLog, folder: Path) -> Source:
    """Write a row for each outcome that belongs to an answered prediction, and return the source that declares them.

    Rows are streamed to a Parquet file in the folder, so that memory stays within the log's own bound.
    """
    path = folder / f"{JOURNAL_TABLE}.parquet"
    quoted = str(path).replace("'", "''")
    with events.snapshot() as connection:
        connection.execute(f"COPY ({_ROWS}) TO '{quoted}' (FORMAT parquet)")
    return Source(name=JOURNAL_TABLE, kind="parquet", path=str(path))
