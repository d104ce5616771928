"""Shares of the entities: those whose keys hash to one number are done together, by whoever it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from features.offline import parquet
from storage.crew import SharedFolderError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import Any

    from features.offline import Batches, OfflineStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """In how many shares the entities are, which one this is, from 0, and the file that it is written to."""

    of: int
    number: int
    path: Path

    def holds(self, columns: Sequence[str]) -> str:
        """Return the SQL of whether a row's keys are of this share."""
        return f"hash({', '.join(columns)}) % {self.of} = {self.number}"

    def write(self, batches: Batches) -> int:
        """Write the share as a Parquet file; return how many rows it has."""
        rows = 0
        with pq.ParquetWriter(self.path, batches.schema, compression="zstd") as writer:
            for batch in batches:
                rows += batch.num_rows
                writer.write_batch(batch)
        return rows


def is_shared(offline: OfflineStore, rows: int) -> bool:
    """Return whether work on so many rows is cut into shares."""
    crew = offline.limits.crew
    return crew.shares > 1 and rows >= crew.rows_min


def shared(offline: OfflineStore, name: str, work: Callable[[Any], int], task: Callable[[Share], Any]) -> str:
    """Have all shares done, and return the SQL of their rows together.

    Parameters
    ----------
    name
        What the files' names begin with.
    work
        Writes the share of a task, and returns how many rows it wrote.
    task
        Makes the task of a share.

    Raises
    ------
    SharedFolderError
        What was written is not what is read here.
    """
    crew = offline.limits.crew
    shares = [
        Share(of=crew.shares, number=number, path=offline.folder / f"{name}-{number}.parquet")
        for number in range(crew.shares)
    ]
    counts = crew.run(work, [task(share) for share in shares])
    for share, count in zip(shares, counts, strict=True):
        seen = pq.read_metadata(share.path).num_rows if share.path.is_file() else None
        if seen != count:
            raise SharedFolderError(
                f"a share of {count} rows was written to {share.path} elsewhere, and {seen or 'none'} are here: the "
                "state folder must be one folder, under one path, on all machines",
                path=share.path,
            )
    return f"SELECT * FROM {parquet(share.path for share in shares)}"
