"""What is found out about a part that settings name before anything relies on it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CLOCK_AHEAD_MAX_MS = 1000.0
_S_TO_MS = 1000


@dataclass(slots=True)
class Inspection:
    """What was found.

    Attributes
    ----------
    version
        What the part says it is; empty where it says nothing.
    clock_ahead_ms
        How far its clock is before this machine's; None where it tells no time.
    clock_error_ms
        By how much that may be wrong.
    found
        What is as it should be or will be done, in sentences.
    warnings
        What works but should be looked at.
    failures
        What keeps a gateway from working.
    """

    version: str = ""
    clock_ahead_ms: float | None = None
    clock_error_ms: float = 0.0
    found: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def timing(self) -> Iterator[_Reading]:
        """Compare a clock that is read within the block, once, with this machine's: the middle of before and after."""
        reading = _Reading()
        before_s = time.time()
        yield reading
        after_s = time.time()
        if reading.time_s is None:
            return
        self.clock_error_ms = (after_s - before_s) / 2 * _S_TO_MS + reading.resolution_s * _S_TO_MS
        self.clock_ahead_ms = (reading.time_s - (before_s + after_s) / 2) * _S_TO_MS
        if abs(self.clock_ahead_ms) > CLOCK_AHEAD_MAX_MS + self.clock_error_ms:
            self.warnings.append(
                f"its clock is {abs(self.clock_ahead_ms) / _S_TO_MS:.1f} s "
                f"{'before' if self.clock_ahead_ms > 0 else 'behind'} this machine's: set both by one time server"
            )


@dataclass(slots=True)
class _Reading:
    """A time that another machine told, in seconds of the epoch."""

    time_s: float | None = None
    resolution_s: float = 0.0
