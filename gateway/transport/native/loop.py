"""One thread that waits for sockets, timers and what other threads ask of it."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import os
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from gateway.transport.native.link import Link

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
_EVENTS_MAX = 256
# How long the loop looks for the next event before it sleeps, where the last one came that soon.
_LOOK_S = 0.0003
# How often a turn looks again for what has come while it read, before it works.
_LOOKS_MAX = 3
_log = logging.getLogger(__name__)

Timer = list[Any]
"""When it is due, a serial number, and the job."""


def _do_nothing() -> None:
    """Stand for a job that was cancelled."""


def _nobody() -> bool:
    return False


class Loop:
    """Waits, and calls whoever waited; everything in this package runs in its thread, unless it says otherwise.

    Attributes
    ----------
    now
        The monotonic clock when this turn began.
    changed
        Links whose sessions may have something to send; they are flushed when the turn ends.
    answering
        The link that answers were written for last in this turn.
    urgent
        Whether they are flushed before this turn's work too: what they have to send must not wait for it.
    thread
        The number of the loop's thread.
    """

    def __init__(self) -> None:
        self.now = time.monotonic()
        self.changed: list[Link] = []
        self.answering: Link | None = None
        self.urgent = False
        self.thread = 0
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[int], None]] = {}
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._woken = False
        self._posted: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._timers: list[Timer] = []
        self._serial = itertools.count()
        self._eager = False
        self._others: Callable[[], bool] = _nobody
        self._running = True
        self.watch(self._wake, self._hear)

    def watch(self, descriptor: int, handler: Callable[[int], None], mask: int = READ) -> None:
        """Call the handler whenever the descriptor is ready."""
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, mask)

    def rewatch(self, descriptor: int, mask: int) -> None:
        """Wait for something else of the descriptor."""
        self._poll.modify(descriptor, mask)

    def forget(self, descriptor: int) -> None:
        """Wait no longer for the descriptor; before it is closed."""
        if self._handlers.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def call_later(self, delay_s: float, job: Callable[[], None]) -> Timer:
        """Call the job once, not before that time."""
        timer: Timer = [self.now + delay_s, next(self._serial), job]
        heapq.heappush(self._timers, timer)
        return timer

    @staticmethod
    def cancel(timer: Timer) -> None:
        """Do not call its job, and hold on to nothing that belongs to it."""
        timer[2] = _do_nothing

    def post(self, job: Callable[..., None], *arguments: object) -> None:
        """Have the loop's thread call the job soon; from any thread."""
        self._posted.append((job, arguments))
        if not self._woken and not self._poll.closed:
            self._woken = True
            os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """Leave `run` when this turn is over."""
        self._running = False

    def run(self, work: Callable[[], None], waiting: Sized, others: Callable[[], bool] = _nobody) -> None:
        """Take turns until stopped; each ends with `work`, and nobody sleeps while something is `waiting` for it.

        `others` says whether other threads are at work that will post: they need the interpreter, so that the loop does
        not look for events before it sleeps then.
        """
        self.thread = threading.get_ident()
        self._others = others
        while self._running:
            self._handle(self._poll.poll(0, _EVENTS_MAX) if waiting else self._await())
            looks = _LOOKS_MAX
            while waiting and looks and (events := self._poll.poll(0, _EVENTS_MAX)):  # what came while that was read
                looks -= 1
                self._handle(events)
            if self._posted:
                self._run_posted()
            if self._timers and self._timers[0][0] <= self.now:
                self._run_timers()
            if self.urgent:
                self.flush()
            self._guard(work)
            if self.changed:
                self.flush()

    def _handle(self, events: list[tuple[int, int]]) -> None:
        """Call whoever waited for these events."""
        self.now = time.monotonic()
        for descriptor, mask in events:
            handler = self._handlers.get(descriptor)
            if handler is not None:  # else closed by an event before it
                self._guard(handler, mask)
            handler = None  # the loop may sleep long, and what is closed must not wait for it

    def close(self) -> None:
        """Give back what the kernel holds; after `run`, or instead of it; more than once does no harm."""
        if not self._poll.closed:
            self._poll.close()
            os.close(self._wake)

    def answer_on(self, link: Link) -> None:
        """Go over to the answers of another link, and send those of the one before: its client has work meanwhile."""
        before, self.answering = self.answering, link
        if before is not None and before.is_due:
            self._guard(before.flush)

    def flush(self) -> None:
        """Send what the sessions have to send."""
        self.urgent = False
        self.answering = None
        while self.changed:
            changed, self.changed = self.changed, []
            for link in changed:
                if link.is_due:  # else it was written meanwhile
                    self._guard(link.flush)

    def _await(self) -> list[tuple[int, int]]:
        """Return the next events, or none when a timer is due.

        Where the last events came within `_LOOK_S`, the next ones are looked for that long before the thread sleeps: a
        core that goes to sleep between two calls answers the second with cold caches.
        """
        poll = self._poll.poll
        began = time.monotonic()
        if self._eager and not self._others():
            while time.monotonic() - began < _LOOK_S:
                events = poll(0, _EVENTS_MAX)
                if events:
                    return events
                os.sched_yield()
        until = self._timers[0][0] if self._timers else None
        events = poll(None if until is None else max(0.0, until - began), _EVENTS_MAX)
        self._eager = bool(events) and time.monotonic() - began < _LOOK_S
        return events

    def _hear(self, _: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        # Here and nowhere else: a job may have been run already whose poster has not written its wake-up yet.
        self._woken = False

    def _run_posted(self) -> None:
        self.urgent = True
        posted = self._posted
        for _ in range(len(posted)):  # what they post waits for the next turn
            job, arguments = posted.popleft()
            self._guard(job, *arguments)

    def _run_timers(self) -> None:
        timers = self._timers
        while timers and timers[0][0] <= self.now:
            self._guard(heapq.heappop(timers)[2])

    @staticmethod
    def _guard(job: Callable[..., None], *arguments: object) -> None:
        """Call a job; what goes wrong with one of them must not end the others."""
        try:
            job(*arguments)
        except Exception:  # noqa: BLE001 (whatever it was, all other connections go on)
            _log.exception("a step of the transport failed")
