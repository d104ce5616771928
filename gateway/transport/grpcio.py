"""The reference transport: grpcio's own server. Calls wait in the threads that it gives them, and make waves there."""

from __future__ import annotations

import logging
import threading
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from gateway.transport.gather import Gathering
from gateway.transport.port import DEADLINE_EXCEEDED, INTERNAL, RESOURCE_EXHAUSTED, Call, Limits, Metadata, Wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_log = logging.getLogger(__name__)

# Threads that answer waves. The pipeline walks one wave at a time, so more threads only hold calls whose body is
# still arriving or whose version is slow.
_WAVE_THREADS_MAX = 32
# Threads for everything else; an open stream holds one for its whole life.
_SERVICE_THREADS_MAX = 64
# Threads that refuse calls past the bound.
_SHED_THREADS_MAX = 2
# How long a handler waits before it asks to be told when the client goes.
_SHORT_WAIT_S = 0.02
# How long a handler waits for the answer of a call without a deadline.
_ANSWER_WAIT_S_MAX = 60.0
# How long grpcio may take to report what it has ended.
_REPORT_S_MAX = 1.0
# grpcio reports a missing deadline as one centuries away.
_DEADLINE_S_MAX = 1e9

_CODES = {code.value[0]: code for code in grpc.StatusCode}


def server_options(limits: Limits) -> list[tuple[str, int]]:
    """Return the options of a grpcio server under these limits.

    Clients may ping as often as they like: by default grpc-core closes a connection with `too_many_pings` after
    two pings within five minutes, which kills healthy clients behind impatient proxies.
    """
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", limits.request_bytes_max),
        ("grpc.max_send_message_length", limits.response_bytes_max),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.http2.max_ping_strikes", 0),
    ]


class _GrpcioCall(Call):
    """A call in a handler thread, which waits until somebody answers; the first answer counts."""

    __slots__ = ("_context", "_done", "_failure", "_leads", "_lock", "_response", "_response_bytes_max", "_woken")

    def __init__(self, method: int, payload: bytes, context: grpc.ServicerContext, *, response_bytes_max: int) -> None:
        # Not the base's: metadata and peer are only made when somebody asks for them.
        left_s = context.time_remaining()
        self.method = method
        self.payload = payload
        self.deadline = time.monotonic() + left_s if left_s < _DEADLINE_S_MAX else None
        self.cancelled = False
        self._context = context
        self._lock = threading.Lock()
        self._done = False
        self._leads = False
        self._woken = threading.Lock()  # held while there is nothing to do: a bare lock costs a tenth of an Event
        self._woken.acquire()
        self._response: bytes | None = None
        self._failure: tuple[int, str, Metadata] = (INTERNAL, "the call was not answered", ())
        self._response_bytes_max = response_bytes_max

    @property
    def metadata(self) -> Metadata:  # type: ignore[override]  # read only, as every reader takes it
        """The call's metadata, keys in lower case."""
        found: Any = self._context.invocation_metadata()
        return found or ()

    @property
    def peer(self) -> str:  # type: ignore[override]  # as above
        """Where the call comes from."""
        return str(self._context.peer())

    def reply(self, payload: bytes) -> None:
        limit = self._response_bytes_max
        if len(payload) > limit:
            self.fail(RESOURCE_EXHAUSTED, f"SERVER: Sent message larger than max ({len(payload)} vs. {limit})")
            return
        with self._lock:
            if self._done:
                return
            self._done = True
        self._response = payload
        self._woken.release()

    def fail(self, code: int, message: str, trailing: Metadata = ()) -> None:
        with self._lock:
            if self._done:
                return
            self._done = True
        self._failure = (code, message, trailing)
        self._woken.release()

    def lead(self) -> None:
        """Wake the handler to lead the next wave; only for a call that waits for one."""
        self._leads = True
        self._woken.release()

    def wait(self, gathering: Gathering[_GrpcioCall]) -> bool:
        """Wait until the call is answered or leads the next wave; return whether it leads.

        When the deadline or the longest wait has passed, the call is failed.
        """
        # Most calls are answered soon; only for a longer wait is it worth a callback to learn whether the client goes.
        if not self._woken.acquire(timeout=_SHORT_WAIT_S):
            if not self._context.add_callback(self._gone):
                self._gone()
            left_s = _ANSWER_WAIT_S_MAX if self.deadline is None else max(0.0, self.deadline - time.monotonic())
            if not self._woken.acquire(timeout=min(left_s, threading.TIMEOUT_MAX)):
                if gathering.give_up(self):
                    self.fail(DEADLINE_EXCEEDED, "the call was not answered in time")
                self._woken.acquire()  # by this failure, by an answer that was quicker, or to lead
        leads, self._leads = self._leads, False
        return leads

    def _gone(self) -> None:
        self.cancelled = True

    def finish(self) -> bytes:
        """Return the response for grpcio, or end the call with the failure."""
        if self._response is None:
            _abort(self._context, *self._failure)
        return self._response


def _abort(context: grpc.ServicerContext, code: int, message: str, trailing: Metadata) -> NoReturn:
    if trailing:
        context.set_trailing_metadata(tuple(trailing))
    context.abort(_CODES[code], message)
    raise AssertionError("abort does not return")


class _Door(futures.ThreadPoolExecutor):
    """The pool that waves are answered in; it lets a bounded number in and sends the rest to be shed.

    The polling thread of grpcio submits here. Counting at this place is what makes the refusal immediate: a call that
    waited for a free thread first would be refused last, when the server has the least time for it.

    Attributes
    ----------
    is_closed
        Whether nobody is let in any more.
    may_refuse
        Cleared while calls that are not let in wait, until it is set, to be refused.
    """

    def __init__(self, calls_max: int) -> None:
        super().__init__(min(calls_max, _WAVE_THREADS_MAX), thread_name_prefix="wave")
        self._calls_max = calls_max
        self._lock = threading.Condition()
        self._inside = 0
        self._open = 0
        self.is_closed = False
        self.may_refuse = threading.Event()
        self.may_refuse.set()
        self._shedding = threading.local()
        self._shed_pool = futures.ThreadPoolExecutor(
            _SHED_THREADS_MAX, thread_name_prefix="shed", initializer=self._mark_shedding
        )

    def close(self) -> None:
        """Let nobody in any more."""
        with self._lock:
            self.is_closed = True

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

    @property
    def is_shedding(self) -> bool:
        """Whether the current thread is one that refuses calls."""
        return getattr(self._shedding, "yes", False)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> futures.Future[Any]:
        with self._lock:
            admitted = not self.is_closed and self._inside < self._calls_max
            self._inside += admitted
        if not admitted:
            return self._shed_pool.submit(fn, *args, **kwargs)
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(self._leave)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 (the base's signature)
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


class _WaveHandler:
    """Answers one method: joins the calls that wait, and leads the next wave when nobody else does."""

    def __init__(self, method: int, wiring: Wiring, *, door: _Door, gathering: Gathering[_GrpcioCall]) -> None:
        self._method = method
        self._wiring = wiring
        self._door = door
        self._gathering = gathering
        self.experimental_thread_pool = door  # where grpcio runs this handler

    def __call__(self, payload: bytes, context: grpc.ServicerContext) -> bytes:
        wiring = self._wiring
        gathering = self._gathering
        call = _GrpcioCall(self._method, payload, context, response_bytes_max=wiring.limits.response_bytes_max)
        if self._door.is_shedding:
            self._refuse(call)
        else:
            self._door.follow(context)
            if gathering.join(call):
                self._lead()
        while call.wait(gathering):
            time.sleep(0)  # it is busy: let the calls that have arrived join, which doubles the wave
            self._lead()
        return call.finish()

    def _refuse(self, call: Call) -> None:
        if self._door.is_closed:
            self._door.may_refuse.wait()
            self._wiring.close(call)
        else:
            self._wiring.shed(call)

    def _lead(self) -> None:
        wave: list[Call] = [*self._gathering.take()]
        try:
            self._wiring.answer(wave)
        except Exception:  # noqa: BLE001 (whatever went wrong, the clients must be told)
            _log.exception("a wave was not answered")
            for call in wave:
                call.fail(INTERNAL, "internal error")
        finally:
            self._gathering.hand_over()


def _by_service(methods: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return, for each service, its methods and their places in the sequence."""
    services: dict[str, dict[str, int]] = {}
    for place, path in enumerate(methods):
        _, service, name = path.split("/")
        services.setdefault(service, {})[name] = place
    return services


class GrpcioTransport:
    """A grpcio server whose wave methods take and give raw bytes."""

    name = "grpcio"

    def __init__(self, wiring: Wiring, *, why: str = "it was asked for") -> None:
        self.why = why
        self._wiring = wiring
        self._door = _Door(wiring.limits.calls_max)
        self._services = futures.ThreadPoolExecutor(_SERVICE_THREADS_MAX, thread_name_prefix="service")
        self._server = grpc.server(self._services, options=server_options(wiring.limits))
        wiring.add_services(self._server)
        gathering: Gathering[_GrpcioCall] = Gathering(wiring.limits.wave_calls_max)
        # After the services: the handler that is registered last gets the calls.
        for service, places in _by_service(wiring.methods).items():
            handlers = {
                name: grpc.unary_unary_rpc_method_handler(
                    _WaveHandler(place, wiring, door=self._door, gathering=gathering)
                )
                for name, place in places.items()
            }
            self._server.add_registered_method_handlers(service, handlers)  # type: ignore[attr-defined] # newer than the stubs

    def start(self) -> int:
        """Begin to take calls and return the bound port, or raise RuntimeError when the address cannot be bound."""
        port: int = self._server.add_insecure_port(self._wiring.address)
        self._server.start()
        return port

    def drain(self, grace_s: float) -> bool:
        """Refuse new calls with UNAVAILABLE and wait for the ones in flight; return whether all were finished.

        The server is not stopped: grpc-core would end the calls that reach it between its shutdown and the client's
        learning of it with CANCELLED (grpc/grpc#41785), which no client tries again. Calls that come when all others
        are finished wait for the end of the connection, which their clients see as UNAVAILABLE; told sooner, they would
        spend their retries here.
        """
        self._door.close()
        finished = self._door.wait_empty(grace_s)
        self._door.may_refuse.clear()
        return finished

    def close(self) -> None:
        """Close the port and end what is still in flight."""
        self._door.close()
        self._door.may_refuse.set()
        self._server.stop(0.0).wait(_REPORT_S_MAX)
        idle = self._door.wait_empty(0.0)
        self._door.shutdown(wait=idle)
        self._services.shutdown(wait=idle)
