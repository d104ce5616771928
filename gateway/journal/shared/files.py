"""Writes a Parquet file of events anew, as this release would have written it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.journal.columns import lift, marked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_BATCH_ROWS = 65_536


def written_anew(
    kind: str, before: Path, after: Path, *, keep: Callable[[pa.Table], pa.Table] = lambda rows: rows
) -> int:
    """Write what is kept of a file into another one, durably, and return how many rows that is.

    Parameters
    ----------
    kind
        A key of `gateway.journal.columns.SCHEMAS`; the file may have an earlier schema of it.
    keep
        Of some rows, in this release's schema, those that are written.
    """
    rows = 0
    with after.open("wb") as written:
        with pq.ParquetFile(before) as file:
            schema = marked(lift(kind, file.schema_arrow.empty_table())).schema
            with pq.ParquetWriter(written, schema, compression="zstd") as writer:
                for batch in file.iter_batches(_BATCH_ROWS, use_threads=False):
                    kept = keep(lift(kind, pa.Table.from_batches([batch])))
                    writer.write_table(marked(kept))
                    rows += kept.num_rows
        written.flush()
        os.fsync(written.fileno())
    return rows
