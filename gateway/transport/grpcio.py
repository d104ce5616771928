"""The reference transport: grpcio's own server. Calls wait in the threads that it gives them, and make waves there."""

from __future__ import annotations

import threading
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any

import grpc

from gateway.transport.context import abort, certificate_of, deadline_of
from gateway.transport.door import Door
from gateway.transport.gather import Gathering, WaitingCall
from gateway.transport.port import DEADLINE_EXCEEDED, INTERNAL, RESOURCE_EXHAUSTED, Limits, Metadata, Wiring
from gateway.transport.streams import Streams

if TYPE_CHECKING:
    from collections.abc import Sequence

# Threads that answer waves. The pipeline walks one wave at a time, so more threads only hold calls whose body is
# still arriving or whose version is slow.
_WAVE_THREADS_MAX = 32
# Threads for everything else; an open stream holds one for its whole life.
_SERVICE_THREADS_MAX = 64
# How long a handler waits before it asks to be told when the client goes.
_SHORT_WAIT_S = 0.02
# How long a handler waits for the answer of a call without a deadline.
_ANSWER_WAIT_S_MAX = 60.0
# grpc-core takes the largest integer for no bound.
_NEVER_MS = 2**31 - 1
# How long grpcio may take to report what it has ended.
_REPORT_S_MAX = 1.0


def server_options(limits: Limits) -> list[tuple[str, int]]:
    """Return the options of a grpcio server under these limits.

    Clients may ping as often as they like: by default grpc-core closes a connection with `too_many_pings` after
    two pings within five minutes, which kills healthy clients behind impatient proxies.
    """
    age_ms = round(limits.connection_age_max_s * 1000) or _NEVER_MS
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_connection_age_ms", age_ms),
        ("grpc.max_connection_age_grace_ms", round(limits.connection_grace_s * 1000)),
        ("grpc.max_receive_message_length", limits.request_bytes_max),
        ("grpc.max_send_message_length", limits.response_bytes_max),
        ("grpc.keepalive_time_ms", round(limits.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(limits.keepalive_answer_s_max * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.http2.max_ping_strikes", 0),
    ]


class _GrpcioCall(WaitingCall):
    """A call in a handler thread, which waits until somebody answers; the first answer counts."""

    __slots__ = ("_context", "_done", "_failure", "_leads", "_lock", "_response", "_response_bytes_max", "_woken")

    def __init__(self, method: int, payload: bytes, context: grpc.ServicerContext, *, response_bytes_max: int) -> None:
        # Not the base's: metadata and peer are only made when somebody asks for them.
        self.method = method
        self.payload = payload
        self.arrived = time.monotonic()
        self.deadline = deadline_of(context)
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

    @property
    def certificate(self) -> Sequence[str]:  # type: ignore[override]  # as above
        """Who the client is by the certificate that it showed."""
        return certificate_of(self._context)

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

    def wait(self, gathering: Gathering) -> bool:
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
            abort(self._context, *self._failure)
        return self._response


class _WaveHandler:
    """Answers one method: joins the calls that wait, and leads the next wave when nobody else does."""

    def __init__(self, method: int, wiring: Wiring, *, door: Door, gathering: Gathering) -> None:
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
            self._door.refuse(call, wiring)
        else:
            self._door.follow(context)
            if gathering.join(call):
                gathering.lead()
        while call.wait(gathering):
            time.sleep(0)  # it is busy: let the calls that have arrived join, which doubles the wave
            gathering.lead()
        return call.finish()


class GrpcioTransport:
    """A grpcio server whose wave methods take and give raw bytes."""

    name = "grpcio"

    def __init__(self, wiring: Wiring, *, why: str = "it was asked for") -> None:
        self.why = why
        self._wiring = wiring
        limits = wiring.limits
        self._door = Door(limits.calls_max, threads=min(limits.calls_max, _WAVE_THREADS_MAX), name="wave")
        self._services = futures.ThreadPoolExecutor(_SERVICE_THREADS_MAX, thread_name_prefix="service")
        self._server = grpc.server(self._services, options=server_options(limits))
        wiring.add_services(self._server)
        gathering = Gathering(wiring.answer, limits.wave_calls_max)
        self._streams = Streams(wiring, gathering)
        # After the services: the handler that is registered last gets the calls.
        for place, path in enumerate(wiring.methods):
            handler = _WaveHandler(place, wiring, door=self._door, gathering=gathering)
            self._add(path, grpc.unary_unary_rpc_method_handler(handler))
        for place, path in enumerate(wiring.streams, len(wiring.methods)):
            self._add(path, grpc.stream_stream_rpc_method_handler(self._streams.handler(place)))

    def _add(self, path: str, handler: grpc.RpcMethodHandler[bytes, bytes]) -> None:
        _, service, name = path.split("/")
        self._server.add_registered_method_handlers(service, {name: handler})  # type: ignore[attr-defined] # newer than the stubs

    def start(self) -> int:
        """Begin to take calls and return the bound port, or raise RuntimeError when the address cannot be bound."""
        address, tls = self._wiring.address, self._wiring.tls
        port: int = (
            self._server.add_insecure_port(address)
            if tls is None
            else self._server.add_secure_port(address, tls.credentials())
        )
        self._server.start()
        return port

    def calls_in_flight(self) -> int:
        """Return how many calls are taken and not answered."""
        return self._door.inside

    def drain(self, grace_s: float) -> bool:
        """Refuse new calls with UNAVAILABLE and wait for the ones in flight; return whether all were finished.

        The server is not stopped: grpc-core would end the calls that reach it between its shutdown and the client's
        learning of it with CANCELLED (grpc/grpc#41785), which no client tries again. Calls that come when all others
        are finished wait for the end of the connection, which their clients see as UNAVAILABLE; told sooner, they would
        spend their retries here.
        """
        until = time.monotonic() + grace_s
        self._door.close()
        self._streams.drain()
        finished = self._door.wait_empty(grace_s)
        finished &= self._streams.door.wait_empty(max(0.0, until - time.monotonic()))
        for door in (self._door, self._streams.door):
            door.may_refuse.clear()
        return finished

    def close(self) -> None:
        """Close the port and end what is still in flight."""
        doors = (self._door, self._streams.door)
        for door in doors:
            door.close()
            door.may_refuse.set()
        self._server.stop(0.0).wait(_REPORT_S_MAX)
        for door in doors:
            door.shutdown(wait=door.wait_empty(0.0))
        self._services.shutdown(wait=all(door.wait_empty(0.0) for door in doors))
        self._streams.close()
