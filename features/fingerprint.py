"""The fingerprint of a table: equal for equal rows in any order, different when a row, a name or a type differs."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The increments and multipliers of SplitMix64 (Steele, Lea, Flood 2014); two lanes make 128 bits.
_LANES = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD1B54A32D192ED03))
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_NULL = np.uint64(0x6E756C6C6E756C6C)


class Fingerprint:
    """Takes the batches of a table as they pass, in memory that does not grow with them.

    Notes
    -----
    Each row is hashed by mixing its cells in the order of the columns; the rows' hashes are summed modulo 2^64, which
    forgets their order but not their multiplicity.
    """

    __slots__ = ("_rows", "_schema", "_sums")

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = [[field.name, str(field.type)] for field in schema]
        self._rows = 0
        self._sums = [0 for _ in _LANES]

    def add(self, batch: pa.RecordBatch) -> None:
        """Take the rows of a batch."""
        cells = [_cells(column) for column in batch.columns]
        for lane, increment in enumerate(_LANES):
            row = np.full(batch.num_rows, increment)
            for cell in cells:
                row = _mixed((row ^ cell) + increment)
            self._sums[lane] = (self._sums[lane] + int(row.sum(dtype=np.uint64))) % (1 << 64)
        self._rows += batch.num_rows

    def digest(self) -> str:
        """Return the fingerprint of all rows so far, as the hexadecimal sha256 of schema, count and sums."""
        parts = json.dumps([self._schema, self._rows, self._sums], separators=(",", ":"))
        return hashlib.sha256(parts.encode()).hexdigest()


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
    if column.null_count:
        return np.where(column.is_null().to_numpy(zero_copy_only=False), _NULL, cells)
    return cells


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
