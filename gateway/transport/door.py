"""The door of the grpcio transport: who gets in, who is refused, and who is still inside."""

from __future__ import annotations

import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from gateway.transport.port import Call, Wiring

# Threads that refuse calls past the bound.
_SHED_THREADS_MAX = 2


class Door(futures.ThreadPoolExecutor):
    """The pool that calls are handled in; it lets a bounded number in and sends the rest to be refused.

    The polling thread of grpcio submits here. Counting at this place is what makes the refusal immediate: a call that
    waited for a free thread first would be refused last, when the server has the least time for it.

    Parameters
    ----------
    calls_max
        How many are let in at a time.
    threads
        How many of them have a thread at a time.
    name
        What the threads are called.

    Attributes
    ----------
    is_closed
        Whether nobody is let in any more.
    may_refuse
        Cleared while calls that are not let in wait, until it is set, to be refused.
    """

    def __init__(self, calls_max: int, *, threads: int, name: str) -> None:
        super().__init__(threads, thread_name_prefix=name)
        self._calls_max = calls_max
        self._lock = threading.Condition()
        self._inside = 0
        self._open = 0
        self.is_closed = False
        self.may_refuse = threading.Event()
        self.may_refuse.set()
        self._shedding = threading.local()
        self._shed_pool = futures.ThreadPoolExecutor(
            _SHED_THREADS_MAX, thread_name_prefix=f"{name}-shed", initializer=self._mark_shedding
        )

    def close(self) -> None:
        """Let nobody in any more."""
        with self._lock:
            self.is_closed = True

    @property
    def inside(self) -> int:
        """How many are let in at present."""
        return self._inside

    def follow(self, context: grpc.ServicerContext) -> None:
        """Count a call until its answer has left."""
        with self._lock:
            self._open += 1
        if not context.add_callback(self._end):
            self._end()

    def wait_empty(self, timeout_s: float) -> bool:
        """Wait until no call is in flight and all answers have left; return whether that came in time."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._inside and not self._open, timeout_s)

    def refuse(self, call: Call, wiring: Wiring) -> None:
        """Refuse a call that was not let in: because there is no room, or because the door is closed."""
        if self.is_closed:
            self.may_refuse.wait()
            wiring.close(call)
        else:
            wiring.shed(call)

    @property
    def is_shedding(self) -> bool:
        """Whether the current thread is one that refuses calls."""
        return getattr(self._shedding, "yes", False)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> futures.Future[Any]:
        """Let the handling of a call in, or send it to be refused."""
        with self._lock:
            admitted = not self.is_closed and self._inside < self._calls_max
            self._inside += admitted
        if not admitted:
            return self._shed_pool.submit(fn, *args, **kwargs)
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(self._leave)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 (the base's signature)
        """Take nothing more."""
        self._shed_pool.shutdown(wait, cancel_futures=cancel_futures)
        super().shutdown(wait, cancel_futures=cancel_futures)

    def _mark_shedding(self) -> None:
        self._shedding.yes = True

    def _end(self) -> None:
        with self._lock:
            self._open -= 1
            if self.is_closed:
                self._lock.notify_all()

    def _leave(self, _: futures.Future[Any]) -> None:
        with self._lock:
            self._inside -= 1
            if self.is_closed:
                self._lock.notify_all()
