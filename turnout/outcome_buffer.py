"""Outcomes recorded in batches, in the background, for threads."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Protocol, Self

from turnout import errors
from turnout.channel import ForkGuard
from turnout.limits import CLOSE_S_MAX
from turnout.outcome_queue import OutcomeQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from turnout.outcome import Outcome, OutcomeResult

_log = logging.getLogger(__name__)


class Record(Protocol):
    """Records a batch: ``Client.record_outcomes``."""

    def __call__(self, outcomes: Iterable[Outcome], *, timeout_s: float | None = None) -> list[OutcomeResult]:
        """Return what became of each."""
        ...


class OutcomeBuffer:
    """Takes outcomes without waiting for the gateway, and records them in batches from a thread of its own.

    What it took is recorded, or raised by ``flush`` or ``close``: a call that fails is made again for as long as it
    takes, and whoever adds to a full buffer waits. It is closed with its client, at the end of a ``with``, and when the
    interpreter exits; only a process that is killed takes with it what had not left yet. Made by
    ``Client.outcome_buffer``.
    """

    def __init__(
        self,
        record: Record,
        *,
        batch_max: int,
        wait_s: float,
        outcomes_max: int,
        on_refused: Callable[[Outcome, OutcomeResult], None] | None,
    ) -> None:
        self._record = record
        self._wait_s = wait_s
        self._queue = OutcomeQueue(batch_max=batch_max, outcomes_max=outcomes_max, on_refused=on_refused)
        self._guard = ForkGuard()
        self._changed = threading.Condition()
        self._hurry = 0  # how many wait in `flush`
        self._closing = False
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="turnout-outcomes", daemon=True)
        self._thread.start()
        _OPEN.add(self)

    def __len__(self) -> int:
        """Return how many outcomes are not recorded yet."""
        return len(self._queue)

    def record_outcome(
        self,
        name: str,
        value: float = 0.0,
        *,
        request_id: str = "",
        unit_id: str = "",
        outcome_id: str = "",
        event_time_us: int | None = None,
        model: str = "",
        label: str = "",
        sequence: int = 0,
        timeout_s: float | None = None,
    ) -> None:
        """Take one outcome; the parameters are the fields of ``Outcome``, and ``add`` says what is raised."""
        from turnout.outcome import Outcome  # noqa: PLC0415  (loaded at the first call)

        outcome = Outcome(name, value, request_id, unit_id, outcome_id, event_time_us, model, label, sequence)
        self.add(outcome, timeout_s=timeout_s)

    def add(self, outcome: Outcome, *, timeout_s: float | None = None) -> None:
        """Take one outcome, or raise.

        Parameters
        ----------
        outcome
            It happened when it was added, unless it says when.
        timeout_s
            How long to wait for room, in seconds; None for as long as it takes.

        Raises
        ------
        errors.ExhaustedError
            There was no room in time; the outcome was not taken.
        ValueError
            It names not exactly one of request id and unit, or the buffer is closed.
        """
        self._guard.check()
        with self._changed:
            if not self._changed.wait_for(lambda: self._queue.has_room or self._closing, timeout_s):
                raise errors.ExhaustedError(
                    "RESOURCE_EXHAUSTED", "BUFFER_FULL", f"{len(self._queue)} outcomes wait: {self._queue.fault}"
                )
            if self._closing:
                raise ValueError("this buffer of outcomes is closed")
            self._queue.add(outcome.dated())
            self._changed.notify_all()

    def flush(self, *, timeout_s: float = CLOSE_S_MAX) -> None:
        """Return when all that was taken is recorded.

        Raises
        ------
        OutcomesUnsentError
            It was not, within ``timeout_s`` seconds; the buffer goes on trying.
        OutcomesRefusedError
            The gateway refused some for good, since the last time that this was raised.
        """
        self._guard.check()
        with self._changed:
            self._hurry += 1
            self._changed.notify_all()
            try:
                if not self._changed.wait_for(lambda: not len(self._queue), timeout_s):
                    raise self._queue.unsent()
            finally:
                self._hurry -= 1
            self._queue.raise_refused()

    def close(self, *, timeout_s: float = CLOSE_S_MAX) -> None:
        """Take no more, and return when all is recorded; raise as ``flush`` does, and then nothing goes on trying.

        Closing again does nothing: what could not be recorded was handed over in the error.
        """
        if os.getpid() != self._guard.pid:
            return  # the buffer of another process, which empties it
        with self._changed:
            if self._stopped:
                return
            self._closing = True
            self._changed.notify_all()
        try:
            self.flush(timeout_s=timeout_s)
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            _OPEN.discard(self)
            self._thread.join(1.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        """Record batches until the buffer is closed."""
        while True:
            with self._changed:
                if not self._await_batch():
                    return
                batch = list(self._queue.take())
            results: list[OutcomeResult] | None = None
            fault: Exception | None = None
            try:
                results = self._record(batch)
            except Exception as error:  # noqa: BLE001  (a refusal, a closed channel: told by flush and close)
                fault = error
            with self._changed:
                if results is not None:
                    self._queue.settle(results)
                elif fault is not None:
                    self._queue.fail(fault)
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._stopped, self._queue.pause_s or 0.0)

    def _await_batch(self) -> bool:
        """Wait until there is something to send; return False when there will be nothing."""
        until = None
        while not self._stopped:
            if len(self._queue):
                until = time.monotonic() + self._wait_s if until is None else until
                left_s = until - time.monotonic()
                if self._queue.is_batch or self._hurry or self._closing or left_s <= 0:
                    return True
                self._changed.wait(left_s)
            else:
                self._changed.wait()
        return False


_OPEN: weakref.WeakSet[OutcomeBuffer] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Empty what is open when the interpreter exits; what cannot be recorded is logged."""
    for buffer in list(_OPEN):
        try:
            buffer.close()
        except errors.TurnoutError as error:
            _log.error("at exit: %s", error)
