"""A snapshot that is read: a file in memory, looked up without an object for each entity it holds."""

from __future__ import annotations

import json
import mmap
from itertools import pairwise
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

from features.codec import CODEC_TOMBSTONE, HEADER, bitmap_bytes, entity_text, value_bytes
from features.errors import StoreUnavailableError
from features.snapshot_file import CODEC_AT, HEAD, HEAD_DTYPE, LENGTHS, MAGIC, features_in, prefix_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from numpy.typing import NDArray

_FLOAT_BYTES = 8
MEMO_ENTITIES_MAX = 65_536
"""How many entities' places a reader remembers; looking one up in the file takes some twenty times as long."""


class SnapshotColumn:
    """The values of one table for the entities of a lookup."""

    __slots__ = ("_heads", "_rows", "_table")

    def __init__(self, table: _Table, rows: NDArray[np.integer[Any]]) -> None:
        self._table = table
        self._rows = rows
        self._heads = table.heads.take(rows)

    @property
    def head(self) -> NDArray[np.uint32]:
        """The first four bytes of each value as a number."""
        head: NDArray[np.uint32] = self._heads["head"]
        return head

    @property
    def event_us(self) -> NDArray[np.int64]:
        """The event times."""
        event_us: NDArray[np.int64] = self._heads["event_us"]
        return event_us

    def values(self) -> NDArray[np.float64]:
        """Return the stored features."""
        return self._table.values.take(self._rows, axis=0)

    def nulls(self) -> NDArray[np.uint8]:
        """Return the null bitmaps."""
        return self._table.nulls.take(self._rows, axis=0)


class _Table:
    """The columns of the values whose keys have one prefix; the last row is blank."""

    __slots__ = ("_content", "_part", "count", "features", "heads", "nulls", "rows", "size", "values")

    def __init__(self, content: mmap.mmap | bytes, part: dict[str, Any], entities: int) -> None:
        self._content = content
        self._part = part
        self.count: int = part["count"]
        self.features: int = part["features"]
        self.size = value_bytes(self.features)
        rows, nulls = self.count + 1, bitmap_bytes(self.features)
        self.heads = np.frombuffer(content, HEAD_DTYPE, rows, part["heads"])
        self.nulls = np.frombuffer(content, np.uint8, rows * nulls, part["nulls"]).reshape(rows, nulls)
        self.values = np.frombuffer(content, "<f8", rows * self.features, part["values"]).reshape(rows, self.features)
        self.rows: NDArray[np.uint32] | None = None
        if part["rows"] is not None:
            self.rows = np.frombuffer(content, "<u4", entities + 1, part["rows"])

    def blob(self, place: int) -> bytes | None:
        """Return the value of an entity as it was written; None where there is none."""
        row = place if self.rows is None else int(self.rows[place])
        if row == self.count:
            return None
        content, part = self._content, self._part
        start = part["heads"] + HEADER.size * row
        head = content[start : start + HEADER.size]
        if head[CODEC_AT] == CODEC_TOMBSTONE:
            return head
        width = bitmap_bytes(self.features)
        start = part["nulls"] + width * row
        nulls = content[start : start + width]
        width = _FLOAT_BYTES * self.features
        start = part["values"] + width * row
        return head + nulls + content[start : start + width]


class _Memo(dict[str | None, int]):
    """Places of entities that were looked up."""

    __slots__ = ("_find",)

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self._find = snapshot.find

    def __missing__(self, entity: str | None) -> int:
        if entity is None:
            return -1
        place = self._find(entity_text(entity).encode())
        if len(self) >= MEMO_ENTITIES_MAX:
            self.clear()
        self[entity] = place
        return place


class Snapshot:
    """One snapshot file; several processes that read it share its memory.

    Parameters
    ----------
    path
        The file. Raises StoreUnavailableError when it is none, or not whole.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self._content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            magic, start, length = HEAD.unpack_from(self._content)
            if magic != MAGIC:
                raise StoreUnavailableError(f"{path} is no snapshot")
            parts = json.loads(self._content[start : start + length])
        except (OSError, ValueError) as error:
            raise StoreUnavailableError(f"the snapshot {path} cannot be read: {error}") from error
        content = memoryview(self._content)
        entities = parts["entities"]
        self._ends = content[parts["ends"] : parts["ends"] + 8 * (entities + 1)].cast("Q")
        self._texts = content[parts["texts"] : parts["index"]]
        self._index = content[parts["index"] : parts["index"] + 4 * parts["slots"]].cast("I")
        self._mask = parts["mask"]
        self._tables = {
            prefix.encode(): _Table(self._content, part, entities) for prefix, part in parts["tables"].items()
        }
        self._by_text = {prefix.decode(): table for prefix, table in self._tables.items()}
        self._loose = dict(_pairs(self._content, parts["loose"], parts["loose_end"]))
        self._memo = _Memo(self)
        self._place_of = self._memo.__getitem__

    def find(self, text: bytes) -> int:
        """Return the place of an entity, by its text in keys; -1, which is where blanks are, where there is none."""
        index, ends = self._index, self._ends
        slot = crc32(text) & self._mask
        while mark := index[slot]:
            if self._texts[ends[mark - 1] : ends[mark]] == text:
                return int(mark) - 1
            slot += 1
        return -1

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the blob of each key, None where there is none."""
        return [self._get(key) for key in keys]

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its blob."""
        for prefix, table in self._tables.items():
            for place, (start, end) in enumerate(pairwise(self._ends)):
                blob = table.blob(place)
                if blob is not None:
                    yield prefix + self._texts[start:end], blob
        yield from self._loose.items()

    def _get(self, key: bytes) -> bytes | None:
        prefix = prefix_of(key)
        table = None if prefix is None else self._tables.get(prefix)
        if prefix is not None and table is not None:
            place = self.find(key[len(prefix) :])
            blob = table.blob(place) if place >= 0 else None
            if blob is not None:
                return blob
        return self._loose.get(key) if self._loose else None

    def places(self, entities: Iterable[str | None], count: int) -> NDArray[np.intp]:
        """Return where the values of each entity are, of so many."""
        return np.fromiter(map(self._place_of, entities), np.intp, count)

    def column(self, prefix: str, size: int, places: NDArray[np.intp]) -> SnapshotColumn:
        """Return the values of the keys that begin so, of so many bytes, for the entities at these places."""
        table = self._by_text.get(prefix)
        if table is None or table.size != size:
            return SnapshotColumn(_blank_table(size), np.zeros(len(places), np.intp))
        return SnapshotColumn(table, places if table.rows is None else table.rows.take(places))


def _pairs(content: mmap.mmap, start: int, end: int) -> list[tuple[bytes, bytes]]:
    pairs = []
    while start < end:
        key_bytes, blob_bytes = LENGTHS.unpack_from(content, start)
        start += LENGTHS.size
        pairs.append((content[start : start + key_bytes], content[start + key_bytes : start + key_bytes + blob_bytes]))
        start += key_bytes + blob_bytes
    return pairs


def _blank_table(size: int) -> _Table:
    """Return a table without entities."""
    part = {"count": 0, "features": features_in(size), "heads": 0, "nulls": 0, "values": 0, "rows": None}
    return _Table(bytes(size), part, 0)
