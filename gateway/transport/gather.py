"""Makes waves out of calls that each have a thread of their own.

The first call that finds nobody at work leads: it takes what waits and answers it. Whoever arrives meanwhile waits;
when the leader is done, the first that waits leads the next wave. So an idle server answers a wave of one at once,
nobody waits for a wave to fill, and no thread but those of the calls is needed.
"""

from __future__ import annotations

import threading
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What waits: it can be told that it is its turn to lead."""

    def lead(self) -> None:
        """Wake up and lead the next wave."""
        ...


W = TypeVar("W", bound=Waiting)


class Gathering(Generic[W]):
    """The calls that wait for the next wave, and whether one leads at present.

    Parameters
    ----------
    wave_calls_max
        How many calls make a wave at the most.
    """

    def __init__(self, wave_calls_max: int) -> None:
        self._wave_calls_max = wave_calls_max
        self._lock = threading.Lock()
        self._waiting: list[W] = []
        self._leader: W | None = None

    def join(self, call: W) -> bool:
        """Put a call among those that wait; return whether it leads at once."""
        with self._lock:
            self._waiting.append(call)
            if self._leader is not None:
                return False
            self._leader = call
            return True

    def take(self) -> list[W]:
        """Return the next wave; only for the one that leads, which is always in it."""
        with self._lock:
            wave = self._waiting[: self._wave_calls_max]
            del self._waiting[: self._wave_calls_max]
            return wave

    def hand_over(self) -> None:
        """Stop leading; the first that waits leads next."""
        with self._lock:
            self._leader = self._waiting[0] if self._waiting else None
            if self._leader is not None:
                self._leader.lead()

    def give_up(self, call: W) -> bool:
        """Take a call away that will not wait longer; return False when it was told to lead, which it then must."""
        with self._lock:
            if call is self._leader:
                return False
            if call in self._waiting:
                self._waiting.remove(call)
            return True
