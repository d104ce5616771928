"""Lanes beside the waves, for what would hold up others: slow versions, and stores that are reached over a network.

Theory of operation
-------------------
Whoever needs a lane waits in it, and a thread of the pool takes its turn with all that waits there, a wave at the most.
One lane has one turn at a time, and goes to the end of the queue after it: so lanes take turns with one another, and
the calls that arrive during a turn make the next one.

A lane takes further calls only while it holds fewer than there is room left for all (the dynamic threshold that
switches use for their queues): one greedy lane gets half of the room, two get a third each, and something is always
left for the next one.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

T = TypeVar("T")
_log = logging.getLogger(__name__)


class _Lane(Generic[T]):
    __slots__ = ("busy", "held", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[tuple[T, int]] = deque()
        self.held = 0
        self.busy = False


class Lanes(Generic[T]):
    """Lanes by what they are for.

    Parameters
    ----------
    threads_max
        How many turns may be taken at once.
    calls_max
        The room: how many calls may be in all lanes together, those of the present turns included.
    turn_calls_max
        After so many calls a turn takes no more.
    """

    def __init__(self, name: str, *, threads_max: int, calls_max: int, turn_calls_max: int) -> None:
        self._calls_max = calls_max
        self._turn_calls_max = turn_calls_max
        self._pool = ThreadPoolExecutor(threads_max, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._lanes: dict[Hashable, _Lane[T]] = {}
        self._held = 0

    def reserve(self, key: Hashable, calls: int) -> int:
        """Return how many of so many calls there is room for in a lane; `put` must follow for that many."""
        with self._lock:
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = _Lane()
            free = self._calls_max - self._held
            taken = max(0, min(calls, (free - lane.held + 1) // 2))
            lane.held += taken
            self._held += taken
            self._forget_idle(key, lane)
            return taken

    def put(self, key: Hashable, item: T, calls: int, turn: Callable[[Sequence[T]], None]) -> None:
        """Let an item wait in a lane.

        Parameters
        ----------
        key
            Which lane.
        item
            What waits.
        calls
            How many calls it is; they were reserved.
        turn
            What is done with the items of a lane, on a thread of the pool. It answers whatever happens; what it
            raises is logged, and the lane goes on.
        """
        with self._lock:
            lane = self._lanes[key]
            lane.waiting.append((item, calls))
            if not lane.busy:
                lane.busy = True
                self._pool.submit(self._take_turn, key, lane, turn)

    def close(self) -> None:
        """Take no further items; what waits is still done."""
        self._pool.shutdown(wait=True)

    def _take_turn(self, key: Hashable, lane: _Lane[T], turn: Callable[[Sequence[T]], None]) -> None:
        items: list[T] = []
        taken = 0
        with self._lock:
            while lane.waiting and (not items or taken + lane.waiting[0][1] <= self._turn_calls_max):
                item, calls = lane.waiting.popleft()
                items.append(item)
                taken += calls
        try:
            turn(items)
        except Exception:  # noqa: BLE001  (a lane whose turn never ends would hold all that come to it for ever)
            _log.exception("a turn of a lane failed")
        with self._lock:
            lane.held -= taken
            self._held -= taken
            lane.busy = bool(lane.waiting)
            if lane.busy:
                self._pool.submit(self._take_turn, key, lane, turn)
            self._forget_idle(key, lane)

    def _forget_idle(self, key: Hashable, lane: _Lane[T]) -> None:
        if not lane.held:
            del self._lanes[key]
