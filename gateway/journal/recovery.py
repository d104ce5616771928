"""What becomes of the segments of a writer that is dead: the torn tail is cut off, the rest is sealed.

A live writer holds a lock on its segment; a segment that is open and not locked belongs to nobody. The supervisor
calls `seal_dead` when a worker has died, and the compactor before each run, so nothing depends on either alone.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.journal.errors import SegmentDamagedError
from gateway.journal.segment import (
    HEADER_BYTES,
    NEW,
    OPEN,
    SEALED,
    Ending,
    Segment,
    check_header,
    list_segments,
    read_chunks,
    sync_folder,
)

if TYPE_CHECKING:
    from pathlib import Path

_log = logging.getLogger(__name__)

CUT = ".cut"
_NEW_AGE_MAX_S = 600.0


@dataclass(frozen=True, slots=True)
class Sealed:
    """What recovery did to one segment.

    Attributes
    ----------
    name
        The segment's name.
    records
        How many whole records it has; a segment with none was removed.
    cut_bytes
        How many bytes after the last good record were cut off.
    ending
        CLEAN when nothing was cut; TORN when the file ends within a frame, as it does when the writer is stopped in a
        write; DAMAGED when what followed was not what had been written. What is cut off is kept beside the segment,
        with the suffix ``.cut``: no length that is wrong may cost a record without a trace.
    """

    name: str
    records: int
    cut_bytes: int
    ending: Ending


def seal_dead(folder: Path, name: str | None = None) -> list[Sealed]:
    """Seal the open segments whose writer is dead, and return what was done to each.

    Parameters
    ----------
    folder
        The journal's folder; one that does not exist has no segments.
    name
        Only segments of this writer; None: of any writer.
    """
    if not folder.is_dir():
        return []
    done = []
    for segment in list_segments(folder):
        if segment.suffix == OPEN and name in {None, segment.writer}:
            sealed = _seal_if_dead(segment)
            if sealed is not None:
                done.append(sealed)
    _remove_unborn(folder)
    return done


def _seal_if_dead(segment: Segment) -> Sealed | None:
    """Seal the segment, or return None when its writer is alive or somebody sealed it first."""
    try:
        descriptor = os.open(segment.path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not segment.path.exists():  # sealed between the open and the lock
            return None
        return _seal(segment, descriptor)
    except BlockingIOError:
        return None
    finally:
        os.close(descriptor)


def _seal(segment: Segment, descriptor: int) -> Sealed:
    """Cut the segment at its last good record, put it on the disk, and rename it; or remove it when it has none."""
    size = os.fstat(descriptor).st_size
    records, end, ending = measure(descriptor)
    if end < size:
        (segment.folder / (segment.name + CUT)).write_bytes(os.pread(descriptor, size - end, end))
    if records:
        os.ftruncate(descriptor, end)
        os.fsync(descriptor)
        segment.path.rename(segment.folder / (segment.name + SEALED))
    else:
        segment.path.unlink()
    sync_folder(segment.folder)
    sealed = Sealed(segment.name, records, size - end, ending)
    if sealed.cut_bytes:
        _log.warning(
            "segment %s: %d bytes after record %d were cut off (%s)",
            segment.name,
            sealed.cut_bytes,
            records,
            ending.value,
        )
    return sealed


def measure(descriptor: int) -> tuple[int, int, Ending]:
    """Return how many whole records the file has, where the last one ends, and why reading ended there."""
    try:
        check_header(os.pread(descriptor, HEADER_BYTES, 0))
    except SegmentDamagedError:
        return 0, 0, Ending.DAMAGED
    records, end, ending = 0, HEADER_BYTES, Ending.CLEAN
    for frames in read_chunks(descriptor, HEADER_BYTES):
        records += len(frames.payloads)
        end, ending = frames.end, frames.ending
    return records, end, ending


def _remove_unborn(folder: Path) -> None:
    """Remove files whose writer died while it made them."""
    for path in folder.glob("*" + NEW):
        try:
            if time.time() - path.stat().st_mtime > _NEW_AGE_MAX_S:
                path.unlink()
        except FileNotFoundError:
            continue
