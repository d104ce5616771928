"""The straight line that every prediction walks, in waves: admit, assign, lease, features, run, journal.

The unit is the list of calls that are waiting right now, never one call. A step looks at the calls that are still in
the wave; a call that fails leaves with its error and holds up nobody. The store is read once, each version runs once,
and the journal is written once for the whole wave, before any of its replies leaves.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from features.fetch import fetch
from gateway.errors import DeadlineSpentError, JournalUnavailableError, StillLoadingError
from gateway.serving.entries import entry
from gateway.serving.inputs import check_finite, check_wanted, feed_tensors
from gateway.serving.running import run_version
from gateway.serving.stored import check_given, fill, lookup
from storage.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from features.store import OnlineStore
    from gateway.journal.writer import JournalWriter
    from gateway.models.slots import Slot
    from gateway.serving.request import Request
    from gateway.serving.table import ServingTable, Target
    from gateway.serving.tally import Tally
    from gateway.telemetry.tracing import Watch
    from storage.clock import Clock


class Pipeline:
    """Answers waves of requests from the present serving table.

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
    """

    def __init__(
        self,
        *,
        store: OnlineStore,
        journal: JournalWriter,
        clock: Clock,
        tally: Tally,
        code_of: Callable[[DomainError], int],
    ) -> None:
        self._store = store
        self._journal = journal
        self._clock = clock
        self._tally = tally
        self._code_of = code_of
        self._lock = threading.Lock()
        self._table: ServingTable | None = None

    @property
    def table(self) -> ServingTable | None:
        """The table that the next wave is answered from; None before the first."""
        return self._table

    def swap(self, table: ServingTable) -> None:
        """Answer from this table from now on; returns when no wave walks on the one before."""
        self._table = table
        with self._lock:
            return

    def run(self, wave: Sequence[Request], watch: Watch | None = None) -> None:
        """Give each request its outputs or its error; a watch is told when each step ends."""
        with self._lock:
            started = time.monotonic()
            table = self._table
            now_us = self._clock.now_us()
            assigned = self._assign(table, wave, now_us=now_us, started=started)
            if watch is not None:
                watch.mark("assign")
            if assigned:
                self._walk(assigned, now_us=now_us, started=started, watch=watch)
            self._tally.count(wave, started)

    def _walk(self, assigned: list[Request], *, now_us: int, started: float, watch: Watch | None) -> None:
        """Take the requests that have a target through the steps that follow."""
        groups: dict[Slot, list[Request]] = {}
        for request in assigned:
            if request.target is not None:
                groups.setdefault(request.target.slot, []).append(request)
        for slot in groups:
            slot.lease()
        try:
            self._feed(assigned, now_us)
            if watch is not None:
                watch.mark("features")
            self._expire(assigned)
            for slot, group in groups.items():
                self._run(slot, [request for request in group if request.error is None])
            if watch is not None:
                watch.mark("run")
            self._expire(assigned)
            self._record(assigned, now_us=now_us, started=started)
            if watch is not None:
                watch.mark("journal")
        finally:
            for slot in groups:
                slot.release()

    def _assign(
        self, table: ServingTable | None, wave: Sequence[Request], *, now_us: int, started: float
    ) -> list[Request]:
        """Give each request its target; return those that have one and whose inputs fit it."""
        assigned: list[Request] = []
        for request in wave:
            try:
                if table is None:
                    raise StillLoadingError("the worker has not loaded its first serving table; try again")
                if started > request.deadline:
                    raise DeadlineSpentError("the deadline passed before the call was admitted")
                if not request.unit_id and len(request.entities) == 1:
                    request.unit_id = next(iter(request.entities.values()))
                if request.event_time_us is None:
                    request.event_time_us = now_us
                target = _target(table, request)
                _check(request, target.slot)
                request.target = target
                assigned.append(request)
            except DomainError as error:
                request.error = error
        return assigned

    def _feed(self, wave: Sequence[Request], now_us: int) -> None:
        """Fill the input that a bound feature set covers, with one read of the store for the whole wave."""
        groups: dict[tuple[str, str], list[Request]] = {}
        for request in wave:
            slot = request.target.slot if request.target is not None else None
            if slot is not None and slot.plan is not None and slot.feature_input not in request.feeds:
                # The arms of an experiment mostly share one set: they are decoded together, too.
                groups.setdefault((slot.feature_set, slot.feature_dtype.char), []).append(request)
        if not groups:
            return
        lookups = [lookup(group) for group in groups.values()]
        began = time.monotonic()
        matrices = fetch(self._store, lookups, now_us)
        self._tally.count_read(began)
        for asked, group, matrix in zip(lookups, groups.values(), matrices, strict=True):
            fill(group, matrix)
            self._tally.count_features(asked.plan, matrix)

    def _run(self, slot: Slot, group: Sequence[Request]) -> None:
        """Run a version over the calls of the wave that it answers."""
        if not group:
            return
        began = time.monotonic()
        run_version(slot, group)
        self._tally.count_run(slot.key, sum([request.rows for request in group]), began)

    @staticmethod
    def _expire(wave: Sequence[Request]) -> None:
        """Take the calls out of the wave whose deadline has passed."""
        now = time.monotonic()
        for request in wave:
            if request.error is None and now > request.deadline:
                request.error = DeadlineSpentError("the deadline passed while the call was answered")

    def _record(self, wave: Sequence[Request], *, now_us: int, started: float) -> None:
        """Write the wave into the journal, or count what could not be written."""
        latency_us = int((time.monotonic() - started) * 1e6)
        entries = [entry(request, now_us=now_us, latency_us=latency_us, code_of=self._code_of) for request in wave]
        try:
            self._journal.append(entries)
        except JournalUnavailableError:
            for request in wave:
                target = request.target
                if target is not None:
                    self._journal.count_lost(f"{target.experiment}/{target.variant}" if target.experiment else "")
                    self._tally.count_lost(target.experiment, target.variant)


def _target(table: ServingTable, request: Request) -> Target:
    """Return what answers a request: its pin, else its variant, else the champion; or raise."""
    route = table.route(request.model)
    if request.version or request.alias:
        return route.pinned(version=request.version, alias=request.alias)
    return route.unpinned(request.unit_id)


def _check(request: Request, slot: Slot) -> None:
    """Take over the tensors that the caller sent, or raise InputMismatchError where anything does not fit."""
    if request.tensors or slot.plan is None or slot.more_inputs:
        feed_tensors(request, slot)
    else:
        request.rows = 1
    if slot.plan is not None and slot.feature_input not in request.feeds:
        check_given(request, slot.plan)
        if slot.finite:
            check_finite(request, slot)
    if request.wanted:
        check_wanted(request, slot)
