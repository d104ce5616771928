"""The calls of a wave that go on together, and how they are divided."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gateway.errors import CallCancelledError, DeadlineSpentError

if TYPE_CHECKING:
    import numpy as np

    from gateway.models.slots import Slot
    from gateway.serving.request import Request
    from gateway.serving.table import Target
    from gateway.telemetry.tracing import Watch

_LOOK_S = 0.001
"""How often it is looked whether clients have gone; most waves are done by then."""

Groups = dict["Target", list["Request"]]
"""The calls of a wave by what answers them."""


class Share:
    """The calls of a wave that one version answers; it is leased for them.

    Attributes
    ----------
    slot
        The version.
    requests
        Those that have not failed.
    now_us
        When their wave was taken.
    matrix
        The input that the feature set fills, a row a call, where that is all the graph takes; else None, and each call
        has its own feeds.
    run_us, run_rows
        What its runs took, and how many rows they had; 0 before.
    """

    __slots__ = ("matrix", "now_us", "requests", "run_rows", "run_us", "slot")

    def __init__(self, slot: Slot, requests: list[Request], now_us: int) -> None:
        self.slot = slot
        self.requests = requests
        self.now_us = now_us
        self.matrix: np.ndarray | None = None
        self.run_us = self.run_rows = 0

    def readers(self) -> list[Request]:
        """Return the calls whose input is filled from the store."""
        slot = self.slot
        if slot.plan is None:
            return []
        name = slot.feature_input
        return [request for request in self.requests if request.feeds is None or name not in request.feeds]

    def take(self, readers: Sequence[Request], values: np.ndarray) -> None:
        """Take over the rows that were read for some of the calls: of the columns those that the graph takes."""
        plan = self.slot.plan
        if plan is not None and plan.kernels is not None:
            values = values[:, : plan.width]
        rows = values.astype(self.slot.feature_dtype)
        if len(readers) == len(self.requests) and all(request.feeds is None for request in readers):
            self.matrix = rows
            return
        for at, request in enumerate(readers):
            feeds = request.feeds or {}
            feeds[self.slot.feature_input] = rows[at : at + 1]
            request.feeds = feeds

    def drop_failed(self) -> None:
        """Let go of the calls that have left the wave."""
        stay = [request.error is None for request in self.requests]
        if all(stay):
            return
        if self.matrix is not None:
            self.matrix = self.matrix[stay]
        self.requests = [request for request in self.requests if request.error is None]


Done = Callable[[Sequence["Request"]], None]
"""Is told of requests that have their outputs or their errors."""


class Walk:
    """Calls that go through the pipeline together: a wave, or the part of it that was divided off.

    Parameters
    ----------
    groups
        The calls by what answers them.
    started, now_us
        When the wave was taken: on the monotonic clock in seconds, and by the clock that stamps events.
    soonest
        When the first deadline passes.
    done
        Who is told when they are answered.

    Attributes
    ----------
    watch
        Is told when each step ends; mostly there is none.
    """

    __slots__ = ("done", "groups", "looked", "now_us", "shares", "soonest", "started", "watch")

    def __init__(self, groups: Groups, *, started: float, now_us: int, soonest: float, done: Done) -> None:
        self.groups = groups
        self.shares = _shares_of(groups, now_us)
        self.started = self.looked = started
        self.now_us = now_us
        self.soonest = soonest
        self.done = done
        self.watch: Watch | None = None

    @property
    def requests(self) -> list[Request]:
        """All the calls."""
        return [request for requests in self.groups.values() for request in requests]

    def split_off(self, share: Share, calls: int) -> Walk:
        """Let the first calls of a share go apart, with its lease, and return them; its other calls have failed."""
        apart = object.__new__(Walk)
        going = set(map(id, share.requests[:calls]))
        apart.groups, self.groups = (
            {
                target: kept
                for target, requests in self.groups.items()
                if (kept := [each for each in requests if (id(each) in going) is goes])
            }
            for goes in (True, False)
        )
        self.shares.remove(share)
        apart.shares = [share]
        share.drop_failed()
        apart.started, apart.looked, apart.now_us = self.started, self.looked, self.now_us
        apart.soonest, apart.done, apart.watch = self.soonest, self.done, None
        return apart

    def mark(self, step: str) -> None:
        """Say that a step ends now, to whoever watches."""
        if self.watch is not None:
            self.watch.mark(step)

    def lease(self) -> None:
        """Keep the versions open."""
        for share in self.shares:
            share.slot.lease()

    def release(self) -> None:
        """Give the leases back."""
        for share in self.shares:
            share.slot.release()

    def ran(self, slot: Slot) -> tuple[int, int, int]:
        """Return what the runs of a version took, in microseconds, their rows, and what those of the others took."""
        run_us = run_rows = others_us = 0
        for share in self.shares:
            if share.slot is slot:
                run_us, run_rows = share.run_us, share.run_rows
            else:
                others_us += share.run_us
        return run_us, run_rows, others_us

    def drop_failed(self) -> None:
        """Let go of the calls that have an error: no version runs for them."""
        for share in self.shares:
            share.drop_failed()

    def drop_gone(self) -> None:
        """Take the calls out whose deadline has passed, or whose client has gone."""
        now = time.monotonic()
        if now < self.soonest and now < self.looked + _LOOK_S:
            return
        self.looked = now
        for share in self.shares:
            for request in share.requests:
                if request.error is not None:
                    continue
                if request.deadline is not None and request.deadline < now:
                    request.error = DeadlineSpentError("the deadline passed while the call was answered")
                elif request.call is not None and request.call.cancelled:
                    request.error = CallCancelledError("the client cancelled the call")
        self.drop_failed()


def _shares_of(groups: Groups, now_us: int) -> list[Share]:
    """Return the calls by the version that answers them: several targets may have one."""
    shares: dict[Slot, Share] = {}
    for target, requests in groups.items():
        share = shares.get(target.slot)
        if share is None:
            shares[target.slot] = Share(target.slot, requests, now_us)
        else:
            share.requests = share.requests + requests
    return list(shares.values())
