"""Retired versions on their way out: drained of leases, and then freed at a quiet moment.

Freeing a session is one destructor of ONNX Runtime, which holds the interpreter from its first instruction to its last,
on whatever thread it runs: 4.5 ms for 5 MiB, 36 ms for 60 MB. Nobody can cut it in pieces, so it is put where nobody
waits for it: into a pause between calls, or, when there is none for long, wherever it falls.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.models.slots import Slot, VersionKey

DRAIN_S = 30.0
"""How long a retired version may be leased before it is reported as stuck. It is never closed under a lease."""
QUIET_S = 0.005
"""How long no call must have been answered for a moment to be quiet."""
QUIET_WAIT_S_MAX = 5.0
"""How long a drained version waits for a quiet moment."""
_LOOK_S = 0.001
_DRAIN_LOOK_S = 0.05


@dataclass(slots=True)
class _Leaving:
    slot: Slot
    retired_at: float
    drained_at: float | None = None


class Retiring:
    """The retired versions of a worker; for one thread.

    Parameters
    ----------
    activity
        A number that changes with every call that is answered.
    now
        The monotonic clock, in seconds.

    Attributes
    ----------
    freed
        How many versions were freed.
    free_s_sum, free_s_max
        How long the interpreter was held for it, in total and at the worst.
    hurried
        How many of them found no quiet moment in time.
    """

    def __init__(self, activity: Callable[[], float], *, now: Callable[[], float] = time.monotonic) -> None:
        self._activity = activity
        self._now = now
        self._leaving: list[_Leaving] = []
        self._seen = activity()
        self._seen_at = now()
        self.freed = 0
        self.free_s_sum = 0.0
        self.free_s_max = 0.0
        self.hurried = 0

    @property
    def size_bytes(self) -> int:
        """What the retired versions still hold."""
        return sum(each.slot.size_bytes for each in self._leaving)

    @property
    def pause_s(self) -> float | None:
        """How long to wait before `step` is worth a call; None when nothing is leaving."""
        if not self._leaving:
            return None
        return _DRAIN_LOOK_S if all(each.drained_at is None for each in self._leaving) else _LOOK_S

    def add(self, slot: Slot) -> None:
        """Take over a version that no serving table names any more."""
        slot.retire()
        self._leaving.append(_Leaving(slot, self._now()))

    def standings(self) -> dict[VersionKey, str]:
        """Return what is leaving, and why it is still there: empty, or that it is leased for too long."""
        return {each.slot.key: self._reason(each) for each in self._leaving}

    def step(self) -> bool:
        """Look at the leases and free at most one version; return whether one was freed."""
        now = self._now()
        if (seen := self._activity()) != self._seen:
            self._seen, self._seen_at = seen, now
        for each in self._leaving:
            if each.drained_at is None and each.slot.is_free:
                each.drained_at = now
        drained = [each for each in self._leaving if each.drained_at is not None]
        if not drained:
            return False
        is_quiet = now - self._seen_at >= QUIET_S
        first = drained[0]
        if not is_quiet and now - (first.drained_at or now) < QUIET_WAIT_S_MAX:
            return False
        self._leaving.remove(first)
        self._free(first.slot)
        self.hurried += not is_quiet
        return True

    def _free(self, slot: Slot) -> None:
        started = time.perf_counter()
        slot.close()
        took_s = time.perf_counter() - started
        self.freed += 1
        self.free_s_sum += took_s
        self.free_s_max = max(self.free_s_max, took_s)

    def _reason(self, each: _Leaving) -> str:
        stuck = each.drained_at is None and self._now() - each.retired_at > DRAIN_S
        return f"still leased after {DRAIN_S:g} s" if stuck else ""
