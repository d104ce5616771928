"""The straight line that every prediction walks, in waves: admit, assign, lease, features, run, journal.

The unit is the list of calls that are waiting right now, never one call. A step looks at the calls that are still in
the wave; a call that fails leaves with its error and holds up nobody. The store is read once, each version runs once,
and the journal is written once for the whole wave, before any of its replies leaves.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from gateway.errors import DeadlineSpentError, JournalUnavailableError, StillLoadingError
from gateway.serving.entries import entries
from gateway.serving.inputs import check_finite, check_wanted, feed_tensors
from gateway.serving.running import run_version
from gateway.serving.stored import check_given, feed
from gateway.serving.walk import shares_of
from storage.errors import DomainError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from features.store import OnlineStore
    from gateway.journal.writer import JournalWriter
    from gateway.models.slots import Slot
    from gateway.serving.request import Request
    from gateway.serving.table import ServingTable, Target
    from gateway.serving.tally import Tally
    from gateway.serving.walk import Groups, Share
    from gateway.telemetry.tracing import Watch
    from storage.clock import Clock

DEADLINE_DEFAULT_S = 10.0
"""How long a call may take whose client named no deadline."""


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
            now_us = self._clock.now_us()
            groups, soonest = self._assign(wave, started)
            if watch is not None:
                watch.mark("assign")
            if groups:
                self._walk(groups, now_us=now_us, started=started, soonest=soonest, watch=watch)
            self._tally.count(wave, started)

    def _walk(self, groups: Groups, *, now_us: int, started: float, soonest: float, watch: Watch | None) -> None:
        """Take the requests that have a target through the steps that follow."""
        shares = shares_of(groups)
        for share in shares:
            share.slot.lease()
        try:
            self._feed(shares, now_us)
            if watch is not None:
                watch.mark("features")
            _expire(shares, soonest)
            self._run(shares)
            if watch is not None:
                watch.mark("run")
            _expire(shares, soonest)
            self._record(groups, now_us=now_us, started=started)
            if watch is not None:
                watch.mark("journal")
        finally:
            for share in shares:
                share.slot.release()

    def _assign(self, wave: Sequence[Request], started: float) -> tuple[Groups, float]:
        """Give each request its target; return those whose inputs fit it, and when the first of them expires."""
        table = self._table
        groups: Groups = {}
        soonest = latest = started + DEADLINE_DEFAULT_S
        for request in wave:
            try:
                if table is None:
                    raise StillLoadingError("the worker has not loaded its first serving table; try again")
                if request.deadline is None:
                    request.deadline = latest
                elif request.deadline < soonest:
                    if request.deadline < started:
                        raise DeadlineSpentError("the deadline passed before the call was admitted")
                    soonest = request.deadline
                if not request.unit_id and len(request.entities) == 1:
                    request.unit_id = next(iter(request.entities.values()))
                target = _target(table, request)
                _check(request, target.slot)
            except DomainError as error:
                request.error = error
                continue
            request.target = target
            group = groups.get(target)
            if group is None:
                groups[target] = [request]
            else:
                group.append(request)
        return groups, soonest

    def _feed(self, shares: Sequence[Share], now_us: int) -> None:
        """Read the features of all the calls at once."""
        feed(self._store, shares, now_us, self._tally)

    def _run(self, shares: Sequence[Share]) -> None:
        """Run each version over the calls that it answers."""
        for share in shares:
            if share.requests:
                began = time.monotonic()
                run_version(share.slot, share.requests, share.matrix)
                self._tally.count_run(share.slot.key, sum([request.rows for request in share.requests]), began)

    def _record(self, groups: Groups, *, now_us: int, started: float) -> None:
        """Write the wave into the journal, or count what could not be written."""
        latency_us = int((time.monotonic() - started) * 1e6)
        records = []
        for target, requests in groups.items():
            records += entries(target, requests, now_us=now_us, latency_us=latency_us, code_of=self._code_of)
        try:
            self._journal.append(records)
        except JournalUnavailableError:
            for target, requests in groups.items():
                label = f"{target.experiment}/{target.variant}" if target.experiment else ""
                self._journal.count_lost(label, len(requests))
                self._tally.count_lost(target.experiment, target.variant, len(requests))


def _expire(shares: Sequence[Share], soonest: float) -> None:
    """Take the calls out of the wave whose deadline has passed; the first one passes at `soonest`."""
    now = time.monotonic()
    if now < soonest:
        return
    for share in shares:
        for request in share.requests:
            if request.error is None and request.deadline is not None and now > request.deadline:
                request.error = DeadlineSpentError("the deadline passed while the call was answered")
        share.drop_failed()


def _target(table: ServingTable, request: Request) -> Target:
    """Return what answers a request: its pin, else its variant, else the champion; or raise."""
    route = table.route(request.model)
    if request.version or request.alias:
        return route.pinned(version=request.version, alias=request.alias)
    return route.unpinned(request.unit_id)


def _check(request: Request, slot: Slot) -> None:
    """Take over the tensors that the caller sent, or raise InputMismatchError where anything does not fit."""
    plan = slot.plan
    if request.tensors or plan is None or slot.more_inputs:
        feed_tensors(request, slot)
    if plan is not None and (request.feeds is None or slot.feature_input not in request.feeds):
        check_given(request, plan)
        if slot.finite:
            check_finite(request, slot)
    if request.wanted:
        check_wanted(request, slot)
