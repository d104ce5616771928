"""A snapshot that is written: all pairs of a store as columns, in one pass to count and one to write."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from itertools import groupby
from typing import IO, TYPE_CHECKING
from zlib import crc32

import numpy as np

from features.codec import HEADER, bitmap_bytes, value_bytes
from features.snapshot_file import (
    ALIGNMENT,
    FILE_NAME,
    HEAD,
    HEAD_DTYPE,
    LENGTHS,
    MAGIC,
    features_in,
    is_tombstone,
    prefix_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Pairs = Iterable[tuple[bytes, bytes]]

CHUNK_ROWS = 4096
_SLOTS_PER_ENTITY = 4


@dataclass(slots=True)
class _Plan:
    """What the first pass found out of one table."""

    features: int
    places: list[int] = field(default_factory=list)


def build_snapshot(pairs: Callable[[], Pairs], folder: Path) -> int:
    """Write the snapshot of the pairs into a folder, whole or not at all, in place of the one there; return its bytes.

    Parameters
    ----------
    pairs
        Gives all pairs in the order of their keys; asked twice, and gives the same ones.
    folder
        Where to.
    """
    entities: dict[bytes, int] = {}
    plans = _count(pairs(), entities)
    aside = folder / f"{FILE_NAME}.tmp"
    with aside.open("wb") as file:
        parts = _Writer(file).write(entities, plans, pairs())
        start = file.tell()
        directory = json.dumps(parts).encode()
        file.write(directory)
        length = file.tell()
        file.seek(0)
        file.write(HEAD.pack(MAGIC, start, len(directory)))
        file.flush()
        os.fsync(file.fileno())
    aside.rename(folder / FILE_NAME)
    return length


def _count(pairs: Pairs, entities: dict[bytes, int]) -> dict[bytes, _Plan]:
    """Return the tables by their prefixes, and number the entities."""
    plans: dict[bytes, _Plan] = {}
    for key, blob in pairs:
        prefix = prefix_of(key)
        if prefix is None:
            continue
        plan = plans.get(prefix)
        if plan is None:
            features = features_in(len(blob))
            if features is None:
                if not is_tombstone(blob):
                    continue
                features = 0  # until a value tells
            plan = plans[prefix] = _Plan(features)
        elif not plan.features:
            plan.features = features_in(len(blob)) or 0
        if _fits(blob, plan.features):
            plan.places.append(entities.setdefault(key[len(prefix) :], len(entities)))
    return plans


def _fits(blob: bytes, features: int) -> bool:
    return is_tombstone(blob) or (features > 0 and len(blob) == value_bytes(features))


class _Writer:
    """Writes the sections of a file, one after another."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        file.write(bytes(HEAD.size))

    def write(self, entities: dict[bytes, int], plans: dict[bytes, _Plan], pairs: Pairs) -> dict[str, object]:
        """Write everything; return the directory."""
        ends = np.zeros(len(entities) + 1, np.uint64)
        np.cumsum(np.fromiter(map(len, entities), np.uint64, len(entities)), out=ends[1:])
        slots, mask = _index(entities)
        parts: dict[str, object] = {"entities": len(entities), "slots": len(slots), "mask": mask}
        parts["ends"] = self._section(ends.tobytes())
        parts["texts"] = self._section(b"".join(entities))
        parts["index"] = self._section(slots.tobytes())
        tables: dict[str, dict[str, int | None]] = {}
        loose: list[tuple[bytes, bytes]] = []
        for prefix, group in groupby(pairs, lambda pair: prefix_of(pair[0])):
            plan = None if prefix is None else plans.get(prefix)
            if prefix is None or plan is None:
                loose += group
            else:
                tables[prefix.decode()] = self._table(plan, len(entities), group, loose)
        parts["tables"] = tables
        parts["loose"] = self._section(b"")
        for key, blob in loose:
            self._file.write(LENGTHS.pack(len(key), len(blob)) + key + blob)
        parts["loose_end"] = self._file.tell()
        return parts

    def _table(
        self, plan: _Plan, entities: int, pairs: Pairs, loose: list[tuple[bytes, bytes]]
    ) -> dict[str, int | None]:
        """Write a table column by column: its places in the file are known before its rows."""
        count, features = len(plan.places), plan.features or 1
        places = np.array(plan.places, np.intp)
        rows_at = None
        if count != entities or (places != np.arange(count)).any():
            rows = np.full(entities + 1, count, np.uint32)
            rows[places] = np.arange(count)
            rows_at = self._section(rows.tobytes())
        widths = (HEADER.size, bitmap_bytes(features), 8 * features)
        starts = [self._section(b"")]
        for width in widths:
            starts.append(_aligned(starts[-1] + width * (count + 1)))
        row = 0
        for chunk in _chunks(pairs, plan.features, loose):
            for column, start, width in zip(_columns(chunk, features), starts, widths, strict=False):
                self._file.seek(start + width * row)
                self._file.write(column)
            row += len(chunk)
        self._file.truncate(starts[-1])
        self._file.seek(starts[-1])
        return {
            "count": count,
            "features": features,
            "rows": rows_at,
            "heads": starts[0],
            "nulls": starts[1],
            "values": starts[2],
        }

    def _section(self, content: bytes) -> int:
        """Write a section and return where it begins."""
        start = _aligned(self._file.tell())
        self._file.seek(start)
        self._file.write(content)
        return start


def _chunks(pairs: Pairs, features: int, loose: list[tuple[bytes, bytes]]) -> Iterator[list[bytes]]:
    """Yield the blobs of a table some thousands at a time; other pairs are put aside."""
    chunk: list[bytes] = []
    for key, blob in pairs:
        if not _fits(blob, features):
            loose.append((key, blob))
            continue
        chunk.append(blob)
        if len(chunk) == CHUNK_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _columns(blobs: list[bytes], features: int) -> tuple[bytes, bytes, bytes]:
    """Return the heads, the null bitmaps and the values of some blobs."""
    size = value_bytes(features)
    table = np.frombuffer(b"".join([blob.ljust(size, b"\0") for blob in blobs]), np.uint8).reshape(-1, size)
    values_at = HEADER.size + bitmap_bytes(features)
    return (
        table[:, : HEAD_DTYPE.itemsize].tobytes(),
        table[:, HEADER.size : values_at].tobytes(),
        table[:, values_at:].tobytes(),
    )


def _index(entities: dict[bytes, int]) -> tuple[NDArray[np.uint32], int]:
    """Return the slots of the index, and the mask of a hash that gives an entity's first one.

    Sorted by their first slots, each entity goes into that one or else behind the one before it: linear probing.
    """
    count = len(entities)
    mask = (1 << (_SLOTS_PER_ENTITY * count).bit_length()) - 1
    wanted = np.fromiter(map(crc32, entities), np.int64, count) & mask
    order = np.argsort(wanted, kind="stable")
    steps = np.arange(count)
    taken = np.maximum.accumulate(wanted[order] - steps) + steps
    slots = np.zeros(max(mask + 1, int(taken[-1]) + 1 if count else 0) + 1, np.uint32)
    slots[taken] = order + 1
    return slots, mask


def _aligned(place: int) -> int:
    return -(-place // ALIGNMENT) * ALIGNMENT
