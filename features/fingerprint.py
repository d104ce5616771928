"""The fingerprint of a table: equal for equal rows in any order, different when a row, a name or a type differs.

Beside the table's own hash stand the query that made it and the time as of which it was made: see `provenance`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# The increments and multipliers of SplitMix64 (Steele, Lea, Flood 2014); two lanes make 128 bits.
_LANES = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03))
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
# What stands for a null: another number in each lane, so that no cell can pass for one in both.
_NULLS = (np.uint64(0x6E756C6C6E756C6C), np.uint64(0x2545F4914F6CDD1D))
_QUERY_HEX = 32


class Fingerprint:
    """Takes the batches of a table as they pass, in memory that does not grow with them.

    Notes
    -----
    Each row is hashed by mixing its cells in the order of the columns; the rows' hashes are summed modulo 2^64, which
    forgets their order but not their multiplicity. Each column's cells are hashed and summed likewise.
    """

    __slots__ = ("_columns", "_rows", "_schema", "_sums")

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = [[field.name, str(field.type)] for field in schema]
        self._rows = 0
        self._sums = [0 for _ in _LANES]
        self._columns = [[0 for _ in _LANES] for _ in self._schema]

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the rows of a batch."""
        cells = [(_cells(column), _nulls(column)) for column in batch.columns]
        for lane, increment in enumerate(_LANES):
            row = np.full(batch.num_rows, increment)
            for sums, (numbers, nulls) in zip(self._columns, cells, strict=True):
                marked = numbers if nulls is None else np.where(nulls, _NULLS[lane], numbers)
                row = _mixed((row ^ marked) + increment)
                sums[lane] = _summed(sums[lane], _mixed(marked + increment))
            self._sums[lane] = _summed(self._sums[lane], row)
        self._rows += batch.num_rows

    def digest(self) -> str:
        """Return the fingerprint of all rows so far: the hexadecimal sha256 of schema, count, rows and columns."""
        parts = json.dumps([self._schema, self._rows, self._sums, self._columns], separators=(",", ":"))
        return hashlib.sha256(parts.encode()).hexdigest()


def provenance(table: str, query: Sequence[object], as_of_us: int) -> str:
    """Return a table's whole fingerprint: ``table:HASH query:HASH as-of:TIME``, the time in UTC with microseconds.

    Parameters
    ----------
    table
        The table's own fingerprint.
    query
        What made it, as values that JSON can hold.
    as_of_us
        The time as of which it was made, in microseconds since the Unix epoch.
    """
    asked = json.dumps(list(query), separators=(",", ":"))
    moment = dt.datetime.fromtimestamp(as_of_us // 10**6, dt.UTC).replace(microsecond=as_of_us % 10**6)
    as_of = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return f"table:{table} query:{hashlib.sha256(asked.encode()).hexdigest()[:_QUERY_HEX]} as-of:{as_of}"


def _summed(total: int, numbers: NDArray[np.uint64]) -> int:
    return (total + int(numbers.sum(dtype=np.uint64))) % (1 << 64)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return SplitMix64's finalizer of each number."""
    state = (state ^ (state >> np.uint64(30))) * _M1
    state = (state ^ (state >> np.uint64(27))) * _M2
    mixed: NDArray[np.uint64] = state ^ (state >> np.uint64(31))
    return mixed


def _cells(column: pa.Array) -> NDArray[np.uint64]:
    """Return one number a cell; equal cells have equal numbers, -0.0 is 0.0 and every NaN is one."""
    kind = column.type
    cells: NDArray[np.uint64]
    if pa.types.is_floating(kind):
        floats = column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64) + 0.0
        floats[np.isnan(floats)] = np.nan
        cells = floats.view(np.uint64)
    elif pa.types.is_signed_integer(kind) or pa.types.is_boolean(kind):
        cells = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False).view(np.uint64)
    elif pa.types.is_timestamp(kind):
        cells = column.view(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False).view(np.uint64)
    else:
        cells = _hashed(column)
    return cells


def _nulls(column: pa.Array) -> NDArray[np.bool_] | None:
    """Return which cells are null; None when none is."""
    if not column.null_count:
        return None
    nulls: NDArray[np.bool_] = column.is_null().to_numpy(zero_copy_only=False)
    return nulls


def _hashed(column: pa.Array) -> NDArray[np.uint64]:
    """Return a number for each cell of any other type: the hash of its text, made once for each distinct one."""
    texts = [None if cell is None else str(cell) for cell in column.to_pylist()]
    encoded = pa.array(texts, pa.string()).dictionary_encode()
    if not len(encoded.dictionary):
        return np.zeros(len(column), np.uint64)
    hashes = np.array(
        [
            int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
            for text in encoded.dictionary.to_pylist()
        ],
        dtype=np.uint64,
    )
    chosen: NDArray[np.uint64] = hashes[encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)]
    return chosen
