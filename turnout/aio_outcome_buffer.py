"""Outcomes recorded in batches, in the background, for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Protocol, Self

from turnout import errors
from turnout.channel import ForkGuard
from turnout.limits import CLOSE_S_MAX
from turnout.outcome_queue import OutcomeQueue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from types import TracebackType

    from turnout.outcome import Outcome, OutcomeResult

_log = logging.getLogger(__name__)


class AsyncRecord(Protocol):
    """Records a batch: ``AsyncClient.record_outcomes``."""

    def __call__(
        self, outcomes: Iterable[Outcome], *, timeout_s: float | None = None
    ) -> Awaitable[list[OutcomeResult]]:
        """Return what became of each."""
        ...


class AsyncOutcomeBuffer:
    """``OutcomeBuffer`` for asyncio: a task of the event loop records what was taken.

    It is closed with its client and at the end of an ``async with``. ``asyncio.run`` cancels the task when the program
    ends without either; it then tries once more to record what it holds, and what it could not is logged.
    """

    def __init__(
        self,
        record: AsyncRecord,
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
        self._changed = asyncio.Condition()
        self._hurry = 0
        self._closing = False
        self._stopped = False
        self._started = False
        self._task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Return how many outcomes are not recorded yet."""
        return len(self._queue)

    async def record_outcome(
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
        """Take one outcome; see ``OutcomeBuffer.record_outcome``."""
        from turnout.outcome import Outcome  # noqa: PLC0415  (loaded at the first call)

        outcome = Outcome(name, value, request_id, unit_id, outcome_id, event_time_us, model, label, sequence)
        await self.add(outcome, timeout_s=timeout_s)

    async def add(self, outcome: Outcome, *, timeout_s: float | None = None) -> None:
        """Take one outcome, or raise; see ``OutcomeBuffer.add``."""
        self._guard.check()
        async with self._changed:
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait_for(lambda: self._queue.has_room or self._closing)
            except TimeoutError:
                raise errors.ExhaustedError(
                    "RESOURCE_EXHAUSTED", "BUFFER_FULL", f"{len(self._queue)} outcomes wait: {self._queue.fault}"
                ) from None
            if self._closing:
                raise ValueError("this buffer of outcomes is closed")
            self._queue.add(outcome.dated())
            if self._task is None:
                self._task = asyncio.create_task(self._run(), name="turnout-outcomes")
            self._changed.notify_all()
        if not self._started:
            self._started = True
            await asyncio.sleep(0)  # a task that was cancelled before it began would not notice

    async def flush(self, *, timeout_s: float = CLOSE_S_MAX) -> None:
        """Return when all that was taken is recorded; see ``OutcomeBuffer.flush``."""
        self._guard.check()
        async with self._changed:
            self._hurry += 1
            self._changed.notify_all()
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait_for(lambda: not len(self._queue))
            except TimeoutError:
                raise self._queue.unsent() from None
            finally:
                self._hurry -= 1
            self._queue.raise_refused()

    async def close(self, *, timeout_s: float = CLOSE_S_MAX) -> None:
        """Take no more, and return when all is recorded; see ``OutcomeBuffer.close``."""
        async with self._changed:
            if self._stopped:
                return
            self._closing = True
            self._changed.notify_all()
        try:
            await self.flush(timeout_s=timeout_s)
        finally:
            async with self._changed:
                self._stopped = True
                self._changed.notify_all()
            if self._task is not None:
                await asyncio.wait([self._task], timeout=1.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self) -> None:
        try:
            while await self._send_one():
                pass
        except asyncio.CancelledError:
            while len(self._queue):  # the loop ends: one more try, and no pause
                try:
                    self._queue.settle(await self._record(list(self._queue.take())))
                except errors.TurnoutError as error:
                    self._queue.fail(error)
                if self._queue.pause_s:
                    _log.error("at exit: %s", self._queue.unsent())
                    break
            raise

    async def _send_one(self) -> bool:
        """Record one batch when there is one; return False when there will be none."""
        async with self._changed:
            if not await self._await_batch():
                return False
            batch = list(self._queue.take())
        results, fault = None, None
        try:
            results = await self._record(batch)
        except errors.TurnoutError as error:
            fault = error
        except asyncio.CancelledError as error:
            self._queue.fail(RuntimeError(str(error)))
            raise
        async with self._changed:
            if results is not None:
                self._queue.settle(results)
            elif fault is not None:
                self._queue.fail(fault)
            self._changed.notify_all()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._queue.pause_s):
                    await self._changed.wait_for(lambda: self._stopped)
        return True

    async def _await_batch(self) -> bool:
        until = None
        while not self._stopped:
            left_s = None
            if len(self._queue):
                until = time.monotonic() + self._wait_s if until is None else until
                left_s = until - time.monotonic()
                if self._queue.is_batch or self._hurry or self._closing or left_s <= 0:
                    return True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._changed.wait()
        return False
