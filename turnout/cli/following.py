"""Messages of a call that lasts, taken beside the thread that Ctrl-C interrupts."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

_WAITING_MAX = 64

T = TypeVar("T")


def followed(messages: grpc.CallIterator[T]) -> Iterator[T]:
    """Yield the messages of a call as they come, and end the call with the iteration.

    An interruption is raised wherever the main thread is at that moment; within gRPC it can be lost, so that the
    command goes on. Here the main thread only waits for a queue.

    Raises
    ------
    TurnoutError
        The call failed.
    """
    waiting: queue.Queue[tuple[T | None, Exception | None]] = queue.Queue(_WAITING_MAX)

    def take() -> None:
        try:
            for message in messages:
                waiting.put((message, None))
            waiting.put((None, None))
        except Exception as error:  # noqa: BLE001  (it is raised where the messages are wanted)
            waiting.put((None, error))

    threading.Thread(target=take, name="following", daemon=True).start()
    try:
        while True:
            message, error = waiting.get()
            if error is not None:
                raise error
            if message is None:
                return
            yield message
    finally:
        messages.cancel()  # type: ignore[no-untyped-call]  # in the stubs
