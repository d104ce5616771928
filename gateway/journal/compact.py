"""Sealed segments become Parquet, each exactly once.

Theory of operation
-------------------
A segment goes through four durable steps, and a crash between any two leaves a state that the next run finishes:

1. its parts are written, each to a temporary name, synced and renamed to a name made from the segment's own. Nobody
   reads a part that no marker names, so parts of an interrupted run are simply written over;
2. the folders are synced;
3. the commit marker appears, by one rename: at this instant readers turn from the segment to the parts;
4. the segment is deleted. One that has a marker is deleted without being read again.

One process compacts a state folder, and a lock holds it to that.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.journal.columns import KINDS, SCHEMA_NUMBER, marked, table_of
from gateway.journal.commits import Commit, Commits, EventFolders, Part, write_commit
from gateway.journal.errors import CompactorBusyError, SegmentDamagedError
from gateway.journal.record import Gap, Outcome, Prediction, Record, Shadow, decode
from gateway.journal.recovery import Sealed, seal_dead
from gateway.journal.segment import (
    HEADER_BYTES,
    SEALED,
    Ending,
    Segment,
    check_header,
    list_segments,
    read_chunks,
    sync_folder,
)
from storage.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_log = logging.getLogger(__name__)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROWS_PER_TABLE = 8192

Partition = tuple[str, str]
"""The kind and the folder of a part."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """What one run did.

    Attributes
    ----------
    sealed
        The segments of dead writers that were sealed first.
    committed
        The segments that are Parquet now.
    records
        How many records they had.
    failed
        Why a segment could not be compacted, by name. It stays, stays readable, and is tried again next time.
    """

    sealed: tuple[Sealed, ...]
    committed: tuple[str, ...]
    records: int
    failed: dict[str, str]


def compact(folders: EventFolders, *, after: Callable[[str], None] = lambda _step: None) -> Compaction:
    """Compact all sealed segments, those of dead writers too, or raise CompactorBusyError.

    Parameters
    ----------
    folders
        Where the events are.
    after
        Called after each durable step with its name: ``part``, ``synced``, ``committed``, ``deleted``.
    """
    folders.journal.mkdir(parents=True, exist_ok=True)
    folders.events.mkdir(parents=True, exist_ok=True)
    with sole_compactor(folders.events / "compactor.lock"):
        sealed = seal_dead(folders.journal)
        known = Commits(folders).refresh()
        committed, records = [], 0
        failed: dict[str, str] = {}
        for segment in list_segments(folders.journal):
            if segment.suffix != SEALED:
                continue
            try:
                commit = known.get(segment.name) or _commit(folders, segment, after)
                segment.path.unlink()
                after("deleted")
            except (DomainError, OSError, pa.ArrowException, ArithmeticError, ValueError) as error:
                failed[segment.name] = str(error)
                _log.warning("segment %s could not be compacted: %s", segment.name, error)
            else:
                committed.append(segment.name)
                records += commit.records
        sync_folder(folders.journal)
        return Compaction(tuple(sealed), tuple(committed), records, failed)


@contextlib.contextmanager
def sole_compactor(path: Path) -> Iterator[None]:
    """Hold the lock that one compactor has, or raise CompactorBusyError."""
    with path.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CompactorBusyError("another process compacts these events", path=path) from None
        yield


def _commit(folders: EventFolders, segment: Segment, after: Callable[[str], None]) -> Commit:
    """Write the segment's parts and then its marker, all durably."""
    parts, touched = [], set()
    times: list[int] = []
    for (kind, folder), table in _partitions(segment).items():
        path = folders.events / folder / f"part-{segment.name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_part(path, table)
        after("part")
        touched.update(folders_between(folders.events, path.parent))
        parts.append(Part(kind, str(path.relative_to(folders.events)), table.num_rows))
        times += [value.as_py() for value in pa.compute.min_max(table["time_us"]).values()]
    for folder_path in touched:
        sync_folder(folder_path)
    after("synced")
    commit = Commit(
        segment=segment.name,
        schema=SCHEMA_NUMBER,
        records=sum(part.rows for part in parts),
        first_time_us=min(times, default=0),
        last_time_us=max(times, default=0),
        parts=tuple(parts),
    )
    write_commit(folders, commit)
    after("committed")
    return commit


def _partitions(segment: Segment) -> dict[Partition, pa.Table]:
    """Return the segment's records by partition, or raise a DomainError when it is not whole records throughout.

    All of a segment is held as columns, which take about its own size.
    """
    tables: dict[Partition, list[pa.Table]] = {}
    with segment.path.open("rb") as file:
        check_header(file.read(HEADER_BYTES))
        for frames in read_chunks(file.fileno(), HEADER_BYTES):
            for start in range(0, len(frames.payloads), _ROWS_PER_TABLE):
                end = start + _ROWS_PER_TABLE
                for partition, placed in _group(frames.positions[start:end], frames.payloads[start:end]).items():
                    tables.setdefault(partition, []).append(table_of(partition[0], segment.name, placed))
            if frames.ending is not Ending.CLEAN:
                raise SegmentDamagedError(
                    f"sealed segment {segment.name} is {frames.ending.value} at byte {frames.end}",
                    segment=segment.name,
                    offset_bytes=frames.end,
                )
    return {partition: pa.concat_tables(pieces) for partition, pieces in tables.items()}


def _group(positions: list[int], payloads: list[bytes]) -> dict[Partition, list[tuple[int, Any]]]:
    groups: dict[Partition, list[tuple[int, Any]]] = {}
    for position, payload in zip(positions, payloads, strict=True):
        record = decode(payload)
        groups.setdefault(_partition_of(record), []).append((position, record))
    return groups


def _partition_of(record: Record) -> Partition:
    """Return the kind and the folder, by the day on which the record was made."""
    kind = KINDS[type(record)]
    day = (_EPOCH + timedelta(microseconds=record.time_us)).date().isoformat()
    match record:
        case Prediction() | Shadow():
            return kind, f"{kind}/day={day}/model={quote(record.model, safe='')}"
        case Outcome() | Gap():
            return kind, f"{kind}/day={day}"


def write_part(path: Path, table: pa.Table) -> None:
    """Make the part appear whole and stay, but for its name, which the folder's sync makes durable."""
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            pq.write_table(marked(table), file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def folders_between(root: Path, folder: Path) -> list[Path]:
    """Return the folders from the root down to the folder, both included."""
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]
