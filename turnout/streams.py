"""Streams as the client sees them: answers in the order of what is sent, resumed when a gateway goes away.

A message stays here until it is answered. When the stream breaks with UNAVAILABLE, as it does when a worker drains or
dies, a new one begins with what was not answered. Each message names its prediction, so a second try is the same one.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import grpc

from turnout import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

Item = TypeVar("Item")
Answer = TypeVar("Answer")

PAUSES_S = (0.1, 0.3, 0.9, 2.0)
"""How long to wait before each further try; an answer makes the count begin anew."""


class Feed(Generic[Item]):
    """What a stream sends: the messages that were not answered yet, and then new ones from the source.

    gRPC reads it in threads of its own, a new one for each try; only one at a time may ask the source.
    """

    def __init__(self, items: Iterable[Item], build: Callable[[Item], Any]) -> None:
        self._items = iter(items)
        self._build = build
        self._asking = threading.Lock()
        self._lock = threading.Lock()
        self._unanswered: deque[Any] = deque()
        self._sent = 0  # of those that are not answered, in the present try
        self._try = 0
        self._closed = False
        self.fault: BaseException | None = None

    def begin(self) -> Iterator[Any]:
        """Return the messages of a new try; the one before gets no more."""
        with self._lock:
            self._try += 1
            self._sent = 0
            number = self._try
        return self._messages(number)

    def answered(self) -> None:
        """Forget the oldest message."""
        with self._lock:
            self._unanswered.popleft()
            self._sent -= 1

    def close(self) -> None:
        """Ask the source for nothing more."""
        self._closed = True

    def _messages(self, number: int) -> Iterator[Any]:
        """Give the messages of a try, until there is none or another try has begun."""
        while number == self._try:
            message = self._unsent(number)
            if message is not None:
                yield message
                continue
            with self._asking:  # another try may have asked meanwhile: then what it got is not sent yet
                if self._sent == len(self._unanswered) and not self._pull():
                    return

    def _unsent(self, number: int) -> Any | None:
        with self._lock:
            if number != self._try or self._sent == len(self._unanswered):
                return None
            self._sent += 1
            return self._unanswered[self._sent - 1]

    def _pull(self) -> bool:
        """Take one more item from the source; return False when there is none."""
        if self._closed or self.fault is not None:
            return False
        try:
            message = self._build(next(self._items))
        except StopIteration:
            return False
        except BaseException as fault:  # noqa: BLE001  (raised where the answers are read)
            self.fault = fault
            return False
        with self._lock:
            self._unanswered.append(message)
        return True


class AsyncFeed(Generic[Item]):
    """The same for asyncio; the source may be asynchronous or not."""

    def __init__(self, items: AsyncIterable[Item] | Iterable[Item], build: Callable[[Item], Any]) -> None:
        self._items = aiter(items) if isinstance(items, AsyncIterable) else _as_async(items)
        self._build = build
        self._unanswered: deque[Any] = deque()
        self._sent = 0
        self._try = 0
        self._pulling: asyncio.Task[bool] | None = None
        self._closed = False
        self.fault: BaseException | None = None

    def begin(self) -> AsyncIterator[Any]:
        """Return the messages of a new try; the one before gets no more."""
        self._try += 1
        self._sent = 0
        return self._messages(self._try)

    def answered(self) -> None:
        """Forget the oldest message."""
        self._unanswered.popleft()
        self._sent -= 1

    def close(self) -> None:
        """Ask the source for nothing more."""
        self._closed = True
        if self._pulling is not None:
            self._pulling.cancel()

    async def _messages(self, number: int) -> AsyncIterator[Any]:
        while number == self._try:
            if self._sent < len(self._unanswered):
                self._sent += 1
                yield self._unanswered[self._sent - 1]
                continue
            if self._pulling is None:
                self._pulling = asyncio.ensure_future(self._pull())
            # gRPC cancels this when the try fails; the source must not notice.
            if not await asyncio.shield(self._pulling):
                return

    async def _pull(self) -> bool:
        if self._closed or self.fault is not None:
            return False
        try:
            self._unanswered.append(self._build(await anext(self._items)))
        except StopAsyncIteration:
            return False  # and the task stays, so that nobody asks again
        except Exception as fault:  # noqa: BLE001  (raised where the answers are read)
            self.fault = fault
            return False
        self._pulling = None
        return True


class _Tries:
    """How often a stream failed since its last answer, and when it must end."""

    def __init__(self, timeout_s: float | None, attempts_max: int) -> None:
        self._until = None if timeout_s is None else time.monotonic() + timeout_s
        self._attempts_max = attempts_max
        self.failed = 0

    def left_s(self) -> float | None:
        """Return how much of the deadline is left."""
        return None if self._until is None else max(0.0, self._until - time.monotonic())

    def pause_s(self, error: grpc.RpcError) -> float:
        """Return how long to wait before the next try, or raise TurnoutError when there is none."""
        translated = _translated(error)
        self.failed += 1
        if self.left_s() == 0.0:
            code = "DEADLINE_EXCEEDED"
            raise errors.ExpiredError(code, code, "the stream's deadline passed") from error
        if not isinstance(translated, errors.UnavailableError) or self.failed >= self._attempts_max:
            raise translated from error
        return PAUSES_S[min(self.failed, len(PAUSES_S)) - 1]


def _translated(error: grpc.RpcError) -> errors.TurnoutError:
    """Return the error that a failed stream stands for.

    grpc.aio forgets the status of a stream that ends while a message is being sent, and says this instead; another try
    tells what it was.
    """
    translated = errors.from_rpc(error)
    if (translated.code, translated.message) == ("INTERNAL", "Internal error from Core"):
        return errors.UnreachableError("UNAVAILABLE", "UNREACHABLE", "the stream ended while a message was being sent")
    return translated


def follow(
    call: Callable[[Iterator[Any], float | None], Any],
    feed: Feed[Item],
    read: Callable[[Any], Answer],
    *,
    timeout_s: float | None,
    attempts_max: int,
) -> Iterator[Answer]:
    """Give the answers in order, or raise TurnoutError when the stream failed for good.

    Parameters
    ----------
    call
        Opens the stream, given the messages and the deadline that is left.
    feed
        What is sent.
    read
        Makes the answer of a message.
    timeout_s
        The deadline of the whole, tries included; None for none.
    attempts_max
        How many tries in a row may fail without an answer.
    """
    tries = _Tries(timeout_s, attempts_max)
    try:
        while True:
            stream = call(feed.begin(), tries.left_s())
            pause_s = 0.0
            try:
                for message in stream:
                    tries.failed = 0
                    feed.answered()
                    yield read(message)
            except grpc.RpcError as error:
                pause_s = tries.pause_s(error)
            finally:
                stream.cancel()
            if feed.fault is not None:
                raise feed.fault
            if not pause_s:
                return
            time.sleep(pause_s)
    finally:
        feed.close()


async def follow_async(
    call: Callable[[AsyncIterator[Any], float | None], Any],
    feed: AsyncFeed[Item],
    read: Callable[[Any], Answer],
    *,
    timeout_s: float | None,
    attempts_max: int,
) -> AsyncIterator[Answer]:
    """Give the answers in order, or raise TurnoutError when the stream failed for good; see `follow`."""
    tries = _Tries(timeout_s, attempts_max)
    try:
        while True:
            stream = call(feed.begin(), tries.left_s())
            pause_s = 0.0
            try:
                async for message in stream:
                    tries.failed = 0
                    feed.answered()
                    yield read(message)
            except grpc.RpcError as error:
                pause_s = tries.pause_s(error)
            finally:
                stream.cancel()
            if feed.fault is not None:
                raise feed.fault
            if not pause_s:
                return
            await asyncio.sleep(pause_s)
    finally:
        feed.close()


async def _as_async(items: Iterable[Item]) -> AsyncIterator[Item]:
    for item in items:
        yield item
