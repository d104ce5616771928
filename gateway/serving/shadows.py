"""Shadows: what waits to be run again by a version that answers nobody, and the thread that runs it.

Theory of operation
-------------------
A wave's calls are put into a queue once they have their answers: one append, and nothing is woken. The thread looks by
itself, and takes a little of what waits when the worker is quiet: no call is taken and unanswered, and all other
threads together have used less than half of a core since it looked last. While they use more it looks ever more
seldom. So a worker that is fully loaded runs next to no shadows; what finds no room in the queue is dropped, and
counted.

What waits holds no lease. The thread takes one for each run, under a lock that `settle` takes too: a version that the
table named no more before that is not run, and one that it still named is kept open.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from experiments.bucketing import BUCKETS, bucket_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gateway.serving.request import Request
    from gateway.serving.table import ServingTable, ShadowTarget
    from gateway.serving.walk import Groups
    from gateway.telemetry.meter import Meter

CALLS_MAX = 2048
"""How many calls may wait for a quiet moment."""
BYTES_MAX = 64 * 1024 * 1024
"""How many bytes of tensors the calls that wait may hold."""
TURN_CALLS_MAX = 8
"""How many calls one turn takes: then it is looked again whether a live call waits."""
TURN_S = 0.0005
"""How long a turn should take; slower versions get fewer calls a turn."""
EMPTY_S = 0.004
"""How often it is looked whether something waits."""
LOOK_S = 0.001
"""How long it is watched whether the worker is quiet, before each turn."""
BUSY_S_MAX = 0.016
"""How long it is not looked at a worker that stays busy."""
BUSY_SHARE = 0.5
"""From which part of a core on a worker is busy."""

CALLS = "turnout_shadow_calls_total"

_log = logging.getLogger(__name__)


class Shadows:
    """Runs shadows in quiet moments.

    Parameters
    ----------
    run
        Runs some calls, records them, and returns how many it paired, how many failed, and the seconds that one took.
    table
        The table that is answered from.
    others_cpu_s
        What the threads of the process used of processors, but for the one that asks.
    in_flight
        How many calls are taken and not answered.
    meter
        Where it is counted what became of the calls.
    """

    def __init__(
        self,
        *,
        run: Callable[[ShadowTarget, Sequence[Request]], tuple[int, int, float]],
        table: Callable[[], ServingTable | None],
        others_cpu_s: Callable[[], float],
        in_flight: Callable[[], int],
        meter: Meter,
    ) -> None:
        self._run_calls = run
        self._table = table
        self._others_cpu_s = others_cpu_s
        self._in_flight = in_flight
        self._meter = meter
        self._lock = threading.Lock()  # the queue
        self._leasing = threading.Lock()
        self._queue: deque[tuple[ShadowTarget, Sequence[Request]]] = deque()
        self._calls = self._bytes = 0
        self._begun = threading.Event()
        self._stop = threading.Event()
        self._call_s = 0.0
        self._thread = threading.Thread(target=self._work, name="shadows", daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Look for calls from now on; before that the thread sleeps."""
        self._begun.set()

    def offer(self, groups: Groups) -> None:
        """Take in calls that have their answers, as far as they are sampled and there is room."""
        for target, requests in groups.items():
            shadow = target.shadow
            if shadow is None:
                continue
            sampled = requests if shadow.places >= BUCKETS else _sample(shadow, requests)
            size = _bytes_of(sampled)
            with self._lock:
                fits = self._calls + len(sampled) <= CALLS_MAX and self._bytes + size <= BYTES_MAX
                if fits:
                    self._queue.append((shadow, sampled))
                    self._calls += len(sampled)
                    self._bytes += size
            if not fits:
                self._count(shadow, "dropped", _answered(sampled))

    def settle(self) -> None:
        """Return when what the present table does not name is leased no more by this; called after each swap."""
        with self._leasing:
            return

    def close(self, timeout_s: float = 1.0) -> None:
        """Stop; what still waits is counted as dropped."""
        self._stop.set()
        self._begun.set()
        self._thread.join(timeout_s)
        while (taken := self._take(CALLS_MAX)) is not None:
            self._count(taken[0], "dropped", _answered(taken[1]))

    def _work(self) -> None:
        """Take a turn in every quiet moment."""
        self._begun.wait()
        pause_s = 0.0
        while not self._stop.wait(pause_s):
            if not self._queue:
                pause_s = EMPTY_S
                continue
            if self._is_busy():
                pause_s = min(max(LOOK_S, 2 * pause_s), BUSY_S_MAX)
                continue
            pause_s = 0.0
            try:
                self._turn()
            except Exception:  # noqa: BLE001  (nothing may end the thread)
                _log.exception("a shadow failed; it goes on with the next calls")

    def _is_busy(self) -> bool:
        """Watch for a moment and return whether live calls need the worker."""
        began, used_s = time.monotonic(), self._others_cpu_s()
        if self._in_flight() or self._stop.wait(LOOK_S):
            return True
        share = (self._others_cpu_s() - used_s) / (time.monotonic() - began)
        return share > BUSY_SHARE or self._in_flight() > 0

    def _turn(self) -> None:
        """Run some of what waits, or drop it when its version is not wanted any more."""
        calls_max = max(1, min(TURN_CALLS_MAX, int(TURN_S / self._call_s))) if self._call_s else 1
        taken = self._take(calls_max)
        if taken is None:
            return
        shadow, requests = taken
        if not self._lease(shadow):
            self._count(shadow, "dropped", _answered(requests))
            return
        try:
            paired, failed, self._call_s = self._run_calls(shadow, requests)
        except BaseException:
            self._count(shadow, "dropped", _answered(requests))
            raise
        finally:
            shadow.slot.release()
        self._count(shadow, "paired", paired)
        self._count(shadow, "failed", failed)
        self._count(shadow, "dropped", _answered(requests) - paired - failed)

    def _take(self, calls_max: int) -> tuple[ShadowTarget, list[Request]] | None:
        """Take calls of one shadow out of the queue; None when there are none."""
        with self._lock:
            if not self._queue:
                return None
            shadow = self._queue[0][0]
            taken: list[Request] = []
            while self._queue and self._queue[0][0] is shadow and len(taken) < calls_max:
                _, requests = self._queue.popleft()
                room = calls_max - len(taken)
                taken += requests[:room]
                if len(requests) > room:
                    self._queue.appendleft((shadow, requests[room:]))
            self._calls -= len(taken)
            self._bytes -= _bytes_of(taken)
            return shadow, taken

    def _lease(self, shadow: ShadowTarget) -> bool:
        """Keep the version open, unless the table names it no more."""
        with self._leasing:
            table = self._table()
            route = table.routes.get(shadow.slot.key.model) if table is not None else None
            wanted = route is not None and route.shadow is not None and route.shadow.slot is shadow.slot
            if wanted:
                shadow.slot.lease()
            return wanted

    def _count(self, shadow: ShadowTarget, result: str, calls: int) -> None:
        if calls:
            key = shadow.slot.key
            self._meter.count(CALLS, (key.model, str(key.version), result), calls)


def _sample(shadow: ShadowTarget, requests: Iterable[Request]) -> list[Request]:
    state, places = shadow.state, shadow.places
    return [each for each in requests if bucket_after(state, each.unit_id or each.request_id) < places]


def _answered(requests: Iterable[Request]) -> int:
    return sum(request.error is None for request in requests)


def _bytes_of(requests: Iterable[Request]) -> int:
    """Return how many bytes of tensors calls hold; mostly they have none."""
    return sum([len(tensor.data) for request in requests for tensor in request.tensors])
