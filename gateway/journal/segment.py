"""The segment file: a header, and then frames of u32 length, u32 CRC-32C and the record's bytes.

A segment's name is unique for ever: ``<writer>.<creation in microseconds, 16 digits>.<8 hex digits>``. Its suffix tells
what it is: ``.new`` is being created, ``.open`` is written by the process that holds its lock (flock), ``.sealed``
never changes again. Everything is little-endian.
"""

from __future__ import annotations

import dataclasses
import enum
import os
import re
import secrets
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import google_crc32c

from gateway.journal.errors import RecordTooLargeError, SegmentDamagedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NEW = ".new"
OPEN = ".open"
SEALED = ".sealed"

RECORD_BYTES_MAX = 64 * 1024 * 1024
CHUNK_BYTES = 8 * 1024 * 1024
_SCHEMA = 1
_MAGIC = b"\x89TURNJNL"  # a first byte that no text has
_HEADER = struct.Struct("<8sII")
HEADER = _HEADER.pack(_MAGIC, _SCHEMA, google_crc32c.value(_MAGIC + _SCHEMA.to_bytes(4, "little")))
HEADER_BYTES = len(HEADER)

_FRAME = struct.Struct("<II")
FRAME_BYTES = _FRAME.size
_pack = _FRAME.pack
_crc = google_crc32c.value

_WRITER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME = re.compile(r"(?P<writer>[A-Za-z0-9_-]{1,64})\.(?P<created>\d{16})\.[0-9a-f]{8}")


class Ending(enum.Enum):
    """Why reading frames ended."""

    CLEAN = "clean"
    """At the end of the bytes."""
    TORN = "torn"
    """Within a frame: its writer was stopped, or has not finished."""
    DAMAGED = "damaged"
    """At a frame that is all there and is not what was written."""


@dataclass(frozen=True, slots=True)
class Frames:
    """The whole frames of a stretch of bytes.

    Attributes
    ----------
    positions
        Where each frame begins in the file, in bytes.
    payloads
        The records' bytes.
    end
        Where the last whole frame ends in the file: the last good offset.
    ending
        Why reading ended there.
    """

    positions: list[int]
    payloads: list[bytes]
    end: int
    ending: Ending


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """A segment file that was seen in the journal's folder. Sorts by creation within a writer.

    Attributes
    ----------
    name
        The file's name without its suffix.
    suffix
        `OPEN` or `SEALED`, when it was seen.
    folder
        Where it is.
    """

    name: str
    suffix: str
    folder: Path

    @property
    def path(self) -> Path:
        """Where the file was when it was seen."""
        return self.folder / (self.name + self.suffix)

    @property
    def writer(self) -> str:
        """The name of the writer."""
        return self.name.split(".", 1)[0]

    @property
    def created_us(self) -> int:
        """When it was created, by the machine's time."""
        return int(self.name.split(".", 2)[1])


def check_writer_name(name: str) -> str:
    """Return the writer's name, or raise ValueError when it cannot be part of a file's name."""
    if not _WRITER.fullmatch(name):
        raise ValueError(f"a journal writer's name has 1 to 64 letters, digits, `_` or `-`, not {name!r}")
    return name


def check_segment_name(name: str) -> str:
    """Return the segment's name, or raise ValueError when no writer would have given it."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"no segment is called {name[:100]!r}")
    return name


def new_name(writer: str) -> str:
    """Return a segment name that no other segment has or had.

    The machine's time orders the segments of a writer; the random part keeps names apart when that time is set back.
    """
    return f"{writer}.{time.time_ns() // 1000:016d}.{secrets.token_hex(4)}"


def list_segments(folder: Path) -> list[Segment]:
    """Return the open and sealed segments that are in the folder right now, sorted by name."""
    found = []
    for entry in os.listdir(folder):  # noqa: PTH208  (names are all that is wanted; a Path each is not)
        name, dot, kind = entry.rpartition(".")
        if dot + kind in {OPEN, SEALED} and _NAME.fullmatch(name):
            found.append(Segment(name, dot + kind, folder))
    return sorted(found)


def frame(payloads: Sequence[bytes]) -> bytes:
    """Return the records as frames, one after another, or raise RecordTooLargeError."""
    parts = []
    for payload in payloads:
        size = len(payload)
        if not 0 < size <= RECORD_BYTES_MAX:
            raise RecordTooLargeError(
                f"a record has 1 to {RECORD_BYTES_MAX} bytes, not {size}", bytes=size, bytes_max=RECORD_BYTES_MAX
            )
        parts.append(_pack(size, _crc(payload)))
        parts.append(payload)
    return b"".join(parts)


def check_header(head: bytes) -> None:
    """Raise SegmentDamagedError when the bytes do not begin a segment that this release can read."""
    if head[:HEADER_BYTES] != HEADER:
        raise SegmentDamagedError("the file does not begin with the header of a journal segment of schema 1")


def read_frames(data: bytes, start: int = 0) -> Frames:
    """Return the whole frames at the beginning of the bytes.

    Parameters
    ----------
    data
        Bytes of a segment, from the beginning of a frame.
    start
        Where they stand in the file.

    Notes
    -----
    A frame of length 0 is damage: after a power cut a file may end in zeros, and zero is the CRC-32C of nothing.
    """
    positions: list[int] = []
    payloads: list[bytes] = []
    offset, size = 0, len(data)
    ending = Ending.CLEAN
    unpack = _FRAME.unpack_from
    while offset < size:
        if offset + FRAME_BYTES > size:
            ending = Ending.TORN
            break
        length, crc = unpack(data, offset)
        if not 0 < length <= RECORD_BYTES_MAX:
            ending = Ending.DAMAGED
            break
        end = offset + FRAME_BYTES + length
        if end > size:
            ending = Ending.TORN
            break
        payload = data[offset + FRAME_BYTES : end]
        if _crc(payload) != crc:
            ending = Ending.DAMAGED
            break
        positions.append(start + offset)
        payloads.append(payload)
        offset = end
    return Frames(positions, payloads, start + offset, ending)


def read_chunks(descriptor: int, start: int) -> Iterator[Frames]:
    """Yield the whole frames of a file from the offset on, some megabytes at a time; the last tells how it ended.

    Yields at least once. The file may grow meanwhile.
    """
    wanted = CHUNK_BYTES
    while True:
        data = os.pread(descriptor, wanted, start)
        frames = read_frames(data, start)
        if len(data) < wanted or frames.ending is Ending.DAMAGED:
            yield frames
            return
        if frames.payloads:
            yield dataclasses.replace(frames, ending=Ending.CLEAN)
            wanted = CHUNK_BYTES
        else:
            wanted *= 2  # one frame is larger than what was read; frames have a largest size
        start = frames.end


def sync_folder(folder: Path) -> None:
    """Make the names in the folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
