"""Tables that memory does not hold: all rows in a Parquet file in the order of time, and an even part of them here."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trainer.rounding import rounded
from trainer.table import numbers_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ROWS = "rows.parquet"
_GROUP_ROWS_MAX = 16_384
_SORT_PART = 4
"""Sorting takes at most one part in so many of a step's memory; the rest of it is on the disk."""


def write_sorted(
    path: Path, reader: pa.RecordBatchReader, order: Sequence[str], *, rows_max: int, memory_bytes: int
) -> int:
    """Write the rows of a stream to a Parquet file in an order, and return how many there were.

    Parameters
    ----------
    path
        The file; what does not fit into memory meanwhile goes to the folder that it is in.
    reader
        The rows.
    order
        The columns that they are sorted by.
    rows_max
        How many are written at most: of more every so many'th, which is the same part of any time.
    memory_bytes
        What the whole step may take.
    """
    by = ", ".join(_quoted(name) for name in order)
    limit: dict[str, str | int | float | bool | list[str]] = {
        "memory_limit": f"{memory_bytes // _SORT_PART >> 20}MiB",
        "temp_directory": str(path.parent),
        "threads": 1,
    }
    with duckdb.connect(config={**limit, "preserve_insertion_order": False}) as connection:
        connection.register("come", reader)
        whole = path.with_suffix(".whole")
        _copy(connection, f"SELECT * FROM come ORDER BY {by}", whole)
        count = rows_in(whole)
        if count <= rows_max:
            whole.rename(path)
            return count
        at = "file_row_number"
        drawn = f"({at} + 1) * {rows_max} // {count} > {at} * {rows_max} // {count}"
        numbered = f"read_parquet({_text(whole)}, file_row_number = true)"
        connection.execute("SET preserve_insertion_order = true")
        _copy(connection, f"SELECT * EXCLUDE ({at}) FROM {numbered} WHERE {drawn}", path)
        whole.unlink()
    return count


def rows_in(path: Path) -> int:
    """Return how many rows a file has."""
    with pq.ParquetFile(path) as file:
        count: int = file.metadata.num_rows
    return count


def even_part(path: Path, count_max: int) -> pa.Table:
    """Return every so many'th row of a file, at most so many in all, in their order."""
    with pq.ParquetFile(path) as file:
        count, first, kept = file.metadata.num_rows, 0, []
        wanted = np.unique(np.linspace(0, count - 1, min(count, count_max)).round().astype(np.int64))
        for batch in file.iter_batches(_GROUP_ROWS_MAX):
            inside = wanted[(wanted >= first) & (wanted < first + batch.num_rows)] - first
            kept.append(batch.take(pa.array(inside)))
            first += batch.num_rows
        return pa.Table.from_batches(kept, file.schema_arrow)


class Stream:
    """The rows of a file up to a time: in batches, in a changed order of them, or by their numbers.

    Parameters
    ----------
    path
        Rows in the order of time.
    names
        The features, in order.
    until_us
        The latest time, in microseconds since the Unix epoch.
    batch_rows
        How many rows are here at a time.
    wide
        Which features float32 would not do for [features]; the others are rounded to it.
    """

    def __init__(
        self, path: Path, names: Sequence[str], *, until_us: int, batch_rows: int, wide: NDArray[np.bool_]
    ) -> None:
        self._file = pq.ParquetFile(path)
        self._columns = self._named(names)
        self._wide = wide
        self.batch_rows = batch_rows
        self.rows = sum(int((times <= until_us).sum()) for times in self._times())
        sizes = [self._file.metadata.row_group(at).num_rows for at in range(self._file.num_row_groups)]
        self._starts = np.concatenate([[0], np.cumsum(sizes)])

    def batches(self, generator: np.random.Generator | None = None) -> Iterator[tuple[Floats, Floats]]:
        """Yield features [n, features] and labels [n], in the order of time or, with a generator, in one of its own."""
        groups = np.arange(int(np.searchsorted(self._starts, self.rows)))
        if generator is not None:
            groups = generator.permutation(groups)
        many = max(1, self.batch_rows // max(1, int(self._starts[1])))
        for at in range(0, len(groups), many):
            some = [self._group(int(group)) for group in groups[at : at + many]]
            rows, labels = np.concatenate([each[0] for each in some]), np.concatenate([each[1] for each in some])
            order = np.arange(len(labels)) if generator is None else generator.permutation(len(labels))
            yield rows[order], labels[order]

    def at(self, first: int, last: int) -> Floats:
        """Return the features of the rows from one number to before another."""
        groups = range(int(np.searchsorted(self._starts, first, "right")) - 1, int(np.searchsorted(self._starts, last)))
        found = np.concatenate([self._group(group)[0] for group in groups])
        begin = int(self._starts[groups[0]])
        return found[first - begin : last - begin]

    def labels(self) -> Floats:
        """Return all labels [rows]."""
        return numbers_in(self._file.read(columns=["label"]).slice(0, self.rows), ("label",))[:, 0]

    def _group(self, group: int) -> tuple[Floats, Floats]:
        part = self._file.read_row_group(group, columns=[*self._columns, "label"])
        part = part.slice(0, self.rows - int(self._starts[group]))
        return rounded(numbers_in(part, self._columns), wide=self._wide), numbers_in(part, ("label",))[:, 0]

    def _named(self, names: Sequence[str]) -> list[str]:
        there = set(self._file.schema_arrow.names)
        return [name if name in there else name.removeprefix("request.") for name in names]

    def _times(self) -> Iterator[NDArray[np.int64]]:
        for batch in self._file.iter_batches(columns=["event_time"]):
            times = batch.column(0).cast(pa.timestamp("us")).cast(pa.int64())
            yield cast("NDArray[np.int64]", times.to_numpy(zero_copy_only=False))


def _copy(connection: duckdb.DuckDBPyConnection, select: str, path: Path) -> None:
    connection.execute(f"COPY ({select}) TO {_text(path)} (FORMAT parquet, ROW_GROUP_SIZE {_GROUP_ROWS_MAX})")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
