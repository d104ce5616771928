"""The straight line that every prediction walks, in waves: admit, assign, lease, features, run, journal.

The unit is the list of calls that are waiting right now, never one call. A step looks at the calls that are still in
the wave; a call that fails leaves with its error and holds up nobody. The store is read once, each version runs once,
and the journal is written once for the whole wave, before any of its replies leaves.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from features.memory import Memory
from gateway.errors import JournalUnavailableError, OverloadedError
from gateway.serving.admission import admit
from gateway.serving.entries import Times, entries
from gateway.serving.lanes import Lanes
from gateway.serving.running import run_version
from gateway.serving.stored import feed
from gateway.serving.walk import Walk
from storage.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from features.store import OnlineStore
    from gateway.journal.writer import JournalWriter
    from gateway.serving.request import Request
    from gateway.serving.shadows import Shadows
    from gateway.serving.table import ServingTable
    from gateway.serving.tally import Tally
    from gateway.serving.walk import Done, Share
    from gateway.telemetry.tracing import Watch
    from storage.clock import Clock

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineLimits:
    """What the pipeline bounds.

    Attributes
    ----------
    slow_run_s
        A version whose median run over the calls of a wave takes longer is slow.
    slow_threads
        How many slow versions may run at once.
    calls_max, wave_calls_max
        The transport's bounds, which hold for what waits apart, too.
    """

    slow_run_s: float = 0.005
    slow_threads: int = 2
    calls_max: int = 256
    wave_calls_max: int = 64


class Pipeline:
    """Answers waves of requests from the present serving table.

    What would hold up others goes apart and is answered by itself: the calls of a version whose runs are slow, and
    those that read a store over a network.

    Parameters
    ----------
    store
        The online features.
    journal
        Where every call past its assignment is written before it is answered.
    clock
        What ages features and stamps events.
    tally
        Counts what was answered.
    code_of
        The gRPC status code of an error, for the journal.
    limits
        What is slow, and how much may wait apart.
    """

    def __init__(
        self,
        *,
        store: OnlineStore,
        journal: JournalWriter,
        clock: Clock,
        tally: Tally,
        code_of: Callable[[DomainError], int],
        limits: PipelineLimits | None = None,
    ) -> None:
        self._store = store
        self._memory = Memory() if store.far else None
        self._journal = journal
        self._clock = clock
        self._tally = tally
        self._code_of = code_of
        self._limits = limits = limits or PipelineLimits()
        self._lock = threading.Lock()
        self._table: ServingTable | None = None
        self._shadows: Shadows | None = None
        self._shadowing: Shadows | None = None
        self._slow: Lanes[Walk] = Lanes(
            "slow",
            threads_max=limits.slow_threads,
            calls_max=limits.calls_max,
            turn_calls_max=limits.wave_calls_max,
        )
        self._far: Lanes[Walk] = Lanes(
            "store", threads_max=1, calls_max=2 * limits.calls_max, turn_calls_max=limits.wave_calls_max
        )

    @property
    def table(self) -> ServingTable | None:
        """The table that the next wave is answered from; None before the first."""
        return self._table

    def swap(self, table: ServingTable) -> None:
        """Answer from this table from now on; returns when no wave walks on the one before without a lease."""
        self._table = table
        with self._lock:
            self._shadowing = self._shadows if table.shadowed else None
        if self._shadows is not None:
            if table.shadowed:
                self._shadows.begin()
            self._shadows.settle()

    def shadow_by(self, shadows: Shadows) -> None:
        """Say who takes the answered calls of models that have a shadow; called before the first table."""
        self._shadows = shadows

    def run(self, wave: Sequence[Request]) -> None:
        """Give each request its outputs or its error."""
        lock = threading.Lock()
        over = threading.Event()
        left = len(wave)

        def done(requests: Sequence[Request]) -> None:
            nonlocal left
            with lock:
                left -= len(requests)
                if not left:
                    over.set()

        self.start(wave, done)
        over.wait()

    def start(self, wave: Sequence[Request], done: Done, watch: Watch | None = None) -> None:
        """Give each request its outputs or its error, and say so.

        `done` is told of all requests: at once, on this thread; and of those that went apart later, on another one. It
        raises nothing. A watch is told when each step ends of those that did not go apart.
        """
        with self._lock:
            walk, refused = self._admit(wave, done)
            walk.watch = watch
            walk.mark("assign")
            if walk.shares:
                self._proceed(walk)
            requests = [*refused, *walk.requests]
            if len(requests) == len(wave):  # nobody went apart: in the order in which they came
                requests = list(wave)
            self._tally.count(requests, walk.started)
        done(requests)
        if self._shadowing is not None:
            self._shadowing.offer(walk.groups)

    def _admit(self, wave: Sequence[Request], done: Done) -> tuple[Walk, list[Request]]:
        """Give each request its target; return those whose inputs fit it, under leases, and those that leave."""
        started = time.monotonic()
        groups, refused, soonest = admit(self._table, wave, started)
        walk = Walk(groups, started=started, now_us=self._clock.now_us(), soonest=soonest, done=done)
        walk.lease()
        return walk, refused

    def _proceed(self, walk: Walk) -> None:
        """Read the features and answer; what reads a store afar goes apart."""
        if self._store.far:
            for share in [share for share in walk.shares if share.slot.plan is not None]:
                self._set_apart(walk, share, self._far, "store", self._turn_of_store)
        else:
            self._feed([walk])
        self._advance(walk)

    def _turn_of_store(self, walks: Sequence[Walk]) -> None:
        self._feed(walks)
        for walk in walks:
            self._advance(walk)
            self._tell(walk)

    def _turn_of_slow(self, walks: Sequence[Walk]) -> None:
        for walk in walks:
            walk.drop_gone()
            self._complete(walk)
            self._tell(walk)

    def _tell(self, walk: Walk) -> None:
        requests = walk.requests
        try:
            self._tally.count(requests, walk.started)
        finally:  # nobody else would ever answer them
            walk.done(requests)
        if self._shadowing is not None:
            self._shadowing.offer(walk.groups)

    def _feed(self, walks: Sequence[Walk]) -> None:
        """Read the features of all the calls at once."""
        try:
            feed(self._store, [share for walk in walks for share in walk.shares], self._tally, self._memory)
        except Exception:  # noqa: BLE001  (whatever it is, every call must be answered)
            _log.exception("reading features failed")
            for walk in walks:
                _hide_failure(walk)
        for walk in walks:
            walk.mark("features")

    def _advance(self, walk: Walk) -> None:
        """Answer the calls whose features are read; those of slow versions go apart."""
        walk.drop_gone()
        for share in [share for share in walk.shares if share.slot.pace.slow and share.requests]:
            self._set_apart(walk, share, self._slow, share.slot, self._turn_of_slow)
        self._complete(walk)

    @staticmethod
    def _set_apart(
        walk: Walk, share: Share, lanes: Lanes[Walk], key: Hashable, turn: Callable[[Sequence[Walk]], None]
    ) -> None:
        """Let calls of one version wait in a lane; those that there is no room for fail and stay."""
        calls = lanes.reserve(key, len(share.requests))
        for request in share.requests[calls:]:
            request.error = OverloadedError("more calls wait for this version than it may hold; try again later")
        if calls:
            lanes.put(key, walk.split_off(share, calls), calls, turn)
        else:
            share.drop_failed()

    def _complete(self, walk: Walk) -> None:
        """Run the versions and write the journal, and give the leases back."""
        try:
            self._run(walk.shares)
            walk.mark("run")
            walk.drop_gone()
            self._record(walk)
            walk.mark("journal")
        except Exception:  # noqa: BLE001  (as above)
            _log.exception("a wave of %d calls failed", len(walk.requests))
            _hide_failure(walk)
        finally:
            walk.release()

    def _run(self, shares: Sequence[Share]) -> None:
        """Run each version over the calls that it answers."""
        for share in shares:
            if share.requests:
                slot = share.slot
                began = time.monotonic()
                run_version(slot, share.requests, partial(self._tally.count_run, slot.key), share.matrix)
                took_s = time.monotonic() - began
                slot.pace.note(took_s, self._limits.slow_run_s)
                share.run_us = int(took_s * 1e6)
                share.run_rows = sum([request.rows for request in share.requests])

    def _record(self, walk: Walk) -> None:
        """Write the calls into the journal, or count what could not be written."""
        latency_us = int((time.monotonic() - walk.started) * 1e6)
        records = []
        for target, requests in walk.groups.items():
            times = Times(walk.now_us, latency_us, *walk.ran(target.slot))
            records += entries(target, requests, times, code_of=self._code_of)
        if not records:
            return
        try:
            self._journal.append(records)
        except JournalUnavailableError:
            for target, requests in walk.groups.items():
                label = f"{target.experiment}/{target.variant}" if target.experiment else ""
                self._journal.count_lost(label, len(requests), model=target.slot.key.model)
                self._tally.count_lost(target.experiment, target.variant, len(requests))


def _hide_failure(walk: Walk) -> None:
    """Let the calls that have no error leave with one that tells no particulars."""
    for request in walk.requests:
        if request.error is None:
            request.error = DomainError("internal error; the gateway's log has the particulars")
    walk.drop_failed()
