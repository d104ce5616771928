"""The time that everything ages, expires, matures and is scheduled by.

Deadlines and latencies are not this clock's: they are wall-clock, always.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from typing import TYPE_CHECKING, Protocol

from storage.errors import InvalidError, PreconditionError

if TYPE_CHECKING:
    from pathlib import Path

_CELL = struct.Struct("<q")


class ClockBackwardsError(InvalidError):
    """The replay clock only moves forward."""

    reason = "CLOCK_BACKWARDS"


class ClockNotReplayError(PreconditionError):
    """Only a replay clock can be moved."""

    reason = "CLOCK_NOT_REPLAY"


class Clock(Protocol):
    """Tells the time."""

    def now_us(self) -> int:
        """Return the microseconds since the Unix epoch."""
        ...


class SystemClock:
    """The machine's time."""

    __slots__ = ()

    def now_us(self) -> int:
        """Return the microseconds since the Unix epoch."""
        return time.time_ns() // 1000


class ReplayClock:
    """A time that stands still until it is moved, shared by all processes that map the same file.

    Parameters
    ----------
    path
        The file that holds the time: eight bytes, little-endian. Created at time 0 when it does not exist.
    """

    __slots__ = ("_map",)

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(descriptor).st_size < _CELL.size:
                os.ftruncate(descriptor, _CELL.size)
            self._map = mmap.mmap(descriptor, _CELL.size)
        finally:
            os.close(descriptor)

    def now_us(self) -> int:
        """Return the microseconds since the Unix epoch."""
        return int.from_bytes(self._map[:8], "little", signed=True)

    def advance_to(self, now_us: int) -> None:
        """Move the time forward, or raise ClockBackwardsError."""
        present = self.now_us()
        if now_us < present:
            raise ClockBackwardsError(
                f"the replay clock stands at {present} and cannot go back to {now_us}",
                present_us=present,
                asked_us=now_us,
            )
        self._map[:8] = _CELL.pack(now_us)
