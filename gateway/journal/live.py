"""The records that are not Parquet yet, decoded once each and kept as columns."""

from __future__ import annotations

import logging
import os
import tempfile
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.journal.columns import KINDS, SCHEMAS, table_of
from gateway.journal.errors import RecordUnreadableError, SegmentDamagedError
from gateway.journal.record import decode
from gateway.journal.segment import HEADER_BYTES, OPEN, SEALED, check_header, read_chunks

if TYPE_CHECKING:
    from gateway.journal.segment import Frames

_log = logging.getLogger(__name__)

_ROWS_PER_TABLE = 8192


class Spill:
    """Rows of a segment in a temporary Parquet file, which goes when nobody refers to this object any more."""

    __slots__ = ("__weakref__", "kind", "path", "rows")

    def __init__(self, kind: str, table: pa.Table) -> None:
        descriptor, name = tempfile.mkstemp(prefix="turnout-tail-", suffix=".parquet")
        os.close(descriptor)
        self.kind = kind
        self.path = Path(name)
        self.rows = table.num_rows
        weakref.finalize(self, self.path.unlink, missing_ok=True)
        pq.write_table(table, self.path, compression="zstd")


@dataclass(frozen=True, slots=True)
class TailView:
    """What was known of one segment at one instant; its attributes are those of `Tail`.

    A spill's file stays for as long as anybody holds a view of it.
    """

    name: str
    end: int
    tables: dict[str, pa.Table]
    spills: tuple[Spill, ...]


@dataclass(slots=True)
class Tail:
    """What is known of one segment.

    Attributes
    ----------
    name
        The segment's name.
    end
        The offset up to which it was read, in bytes.
    tables
        Its records by kind, in order, in pieces.
    spills
        Earlier records that were put aside.
    held_bytes
        The memory that the columns take.
    """

    name: str
    end: int = HEADER_BYTES
    tables: dict[str, list[pa.Table]] = field(default_factory=lambda: {kind: [] for kind in SCHEMAS})
    spills: list[Spill] = field(default_factory=list)
    held_bytes: int = 0

    def add(self, frames: Frames) -> None:
        """Take the records of some frames; one of a kind that is not known is left out."""
        for start in range(0, len(frames.payloads), _ROWS_PER_TABLE):
            placed: dict[str, list[tuple[int, object]]] = {}
            for position, payload in zip(
                frames.positions[start : start + _ROWS_PER_TABLE],
                frames.payloads[start : start + _ROWS_PER_TABLE],
                strict=True,
            ):
                try:
                    record = decode(payload)
                except RecordUnreadableError as error:
                    _log.warning("segment %s: the record at %d is left out: %s", self.name, position, error)
                    continue
                placed.setdefault(KINDS[type(record)], []).append((position, record))
            for kind, rows in placed.items():
                table = table_of(kind, self.name, rows)
                _push(self.tables[kind], table)
                self.held_bytes += table.nbytes
        self.end = frames.end

    def view(self) -> TailView:
        """Return what is known now; it does not change when the tail grows."""
        tables = {kind: pa.concat_tables(pieces) for kind, pieces in self.tables.items() if pieces}
        return TailView(self.name, self.end, tables, tuple(self.spills))

    def spill(self) -> None:
        """Put the columns into temporary files."""
        for kind, pieces in self.tables.items():
            if pieces:
                self.spills.append(Spill(kind, pa.concat_tables(pieces)))
                pieces.clear()
        self.held_bytes = 0


class LiveTails:
    """The tails of the segments that are not committed. Not safe to call from several threads.

    Parameters
    ----------
    folder
        The journal's folder.
    held_bytes_max
        How much memory the columns may take before the largest tails go to temporary files.
    """

    def __init__(self, folder: Path, *, held_bytes_max: int) -> None:
        self._folder = folder
        self._held_bytes_max = held_bytes_max
        self._tails: dict[str, Tail] = {}

    def refresh(self, names: set[str]) -> list[TailView]:
        """Read what is new in exactly these segments and return them by name, without those that are gone meanwhile.

        Other segments are forgotten.
        """
        for name in self._tails.keys() - names:
            del self._tails[name]
        present = []
        for name in sorted(names):
            descriptor = self._open(name)
            if descriptor is None:
                self._tails.pop(name, None)
                continue
            try:
                if self._read(name, descriptor):
                    self._shrink()
            finally:
                os.close(descriptor)
            present.append(name)
        return [self._tails[name].view() for name in present]

    def _open(self, name: str) -> int | None:
        """Open the segment, whichever suffix it has, or return None when it is gone."""
        for suffix in (OPEN, SEALED):
            try:
                return os.open(self._folder / (name + suffix), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
        return None

    def _read(self, name: str, descriptor: int) -> bool:
        """Read what is new in the segment and return whether there was anything."""
        tail = self._tails.get(name) or Tail(name)
        size = os.fstat(descriptor).st_size
        if size < tail.end:  # its writer took back a wave that it never acknowledged
            tail = Tail(name)
        self._tails[name] = tail
        if size == tail.end:
            return False
        try:
            if tail.end == HEADER_BYTES:
                check_header(os.pread(descriptor, HEADER_BYTES, 0))
            for frames in read_chunks(descriptor, tail.end):
                tail.add(frames)
        except SegmentDamagedError as error:
            _log.warning("segment %s cannot be read: %s", name, error)
        return True

    def _shrink(self) -> None:
        """Put the largest tails aside until the others fit."""
        held_bytes = sum(tail.held_bytes for tail in self._tails.values())
        while held_bytes > self._held_bytes_max:
            largest = max(self._tails.values(), key=lambda tail: tail.held_bytes)
            held_bytes -= largest.held_bytes
            largest.spill()


def _push(pieces: list[pa.Table], table: pa.Table) -> None:
    """Append a piece, joining small ones so that many small reads leave few pieces."""
    pieces.append(table)
    while len(pieces) > 1 and pieces[-2].num_rows <= 2 * pieces[-1].num_rows:
        last, before = pieces.pop(), pieces.pop()
        pieces.append(pa.concat_tables([before, last]).combine_chunks())
