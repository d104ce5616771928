"""The fast transport: HTTP/2 and gRPC framing in Rust, outside the GIL; whatever waits is one wave.

Only this module knows pygrpc-native. What its front does not serve (streams, health, reflection) it forwards to a
grpcio server on a Unix socket that only this user can reach.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pygrpc_native import EVENT_CANCEL, NativeGrpcFront

from gateway.transport.batch import threads_of_process, yield_to_python
from gateway.transport.grpcio import GrpcioTransport
from gateway.transport.port import INTERNAL, RESOURCE_EXHAUSTED, Call, Metadata, Wiring

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger(__name__)

# Threads of the front that do HTTP/2 work; one keeps up with any pipeline in Python.
_IO_THREADS = 1
# How many events one receive takes. More than can wait, so that everything past the bound is shed at once.
_EVENTS_MAX = 8192
_STREAMS_PER_CONNECTION_MAX = 1024
_KEEPALIVE_TIME_MS = 60_000
_KEEPALIVE_TIMEOUT_MS = 20_000
_OK = 0
# How often the drain looks whether all calls are answered.
_DRAIN_POLL_S = 0.005
# How long the drain waits for the last answers to leave; what a client has not read by then is cut.
_LOOK_S = 0.0003
_FLUSH_S_MAX = 0.5
# The front counts a call as ended when its last frame is queued for the socket; this is for the write itself.
_WRITE_S = 0.02
_JOIN_S_MAX = 5.0


class _NativeCall(Call):
    """A call that the front holds open until it is answered by its number."""

    __slots__ = ("_id", "_transport")

    certificate: Sequence[str] = ()  # the front speaks without TLS

    def __init__(  # noqa: PLR0917  (by position, and without the base's: this runs for every call)
        self,
        method: int,
        payload: bytes,
        metadata: Metadata,
        deadline: float | None,
        arrived: float,
        peer: str,
        number: int,
        transport: NativeTransport,
    ) -> None:
        self.method = method
        self.payload = payload
        self.metadata = metadata
        self.deadline = deadline
        self.arrived = arrived
        self.peer = peer
        self.cancelled = False
        self._id = number
        self._transport = transport

    def reply(self, payload: bytes) -> None:
        self._transport.respond(self._id, payload)

    def fail(self, code: int, message: str, trailing: Metadata = ()) -> None:
        self._transport.fail(self._id, code, message, trailing)


class NativeTransport:
    """The native front for the wave methods, with a grpcio server behind it for the rest.

    One receiver thread takes all the events that wait, sheds what is past the bound, and walks the rest in waves of
    at most `wave_calls_max`; between two waves it looks again, so that nothing that arrives waits for a backlog to be
    told that there is no room.
    """

    name = "native"

    def __init__(self, wiring: Wiring, *, why: str = "it was asked for") -> None:
        self.why = why
        self._wiring = wiring
        self._limits = wiring.limits
        self._held: dict[int, _NativeCall] = {}
        self._draining = False
        self._eager = False
        self._flushing = False
        self._replied = 0
        self._count_lock = threading.Lock()
        self._receiver = threading.Thread(target=self._receive, name="receiver", daemon=True)
        # mkdtemp makes it 0700. A Unix socket's path is limited to 107 bytes, hence the short prefix.
        self._folder = Path(tempfile.mkdtemp(prefix="turnout-"))
        socket = self._folder / "s"
        self._behind = GrpcioTransport(replace(wiring, address=f"unix:{socket}"))
        others = threads_of_process()
        try:
            self._front = NativeGrpcFront(
                wiring.address,
                [(path, False) for path in wiring.methods],
                io_threads=_IO_THREADS,
                call_details=True,
                metrics=True,
                keepalive_time_ms=_KEEPALIVE_TIME_MS,
                keepalive_timeout_ms=_KEEPALIVE_TIMEOUT_MS,
                max_concurrent_streams=_STREAMS_PER_CONNECTION_MAX,
                reuse_port=True,
            )
            self._front.set_fallback(str(socket))
            yield_to_python(threads_of_process() - others)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def start(self) -> int:
        """Begin to take calls and return the bound port; the constructor raised OSError if it could not be bound."""
        self._behind.start()
        self._front.start()
        self._receiver.start()
        return int(self._front.bound_port)

    def calls_in_flight(self) -> int:
        """Return how many calls are taken and not answered."""
        return len(self._held)

    def respond(self, number: int, payload: bytes) -> None:
        """Answer the call of that number with a message, unless it was answered or its client has gone."""
        limit = self._limits.response_bytes_max
        if len(payload) > limit:
            self.fail(number, RESOURCE_EXHAUSTED, f"SERVER: Sent message larger than max ({len(payload)} vs. {limit})")
            return
        if self._front.respond(number, payload):
            with self._count_lock:
                self._replied += 1
        self._held.pop(number, None)

    def fail(self, number: int, code: int, message: str, trailing: Metadata = ()) -> None:
        """End the call of that number with a status, unless it was answered or its client has gone."""
        self._front.fail(number, code, message, list(trailing))
        self._held.pop(number, None)

    def drain(self, grace_s: float) -> bool:
        """Refuse new calls with UNAVAILABLE, wait for the ones in flight, close; return whether all were finished."""
        deadline = time.monotonic() + grace_s
        self._draining = True
        while self._held and time.monotonic() < deadline:
            time.sleep(_DRAIN_POLL_S)
        finished = self._behind.drain(max(0.0, deadline - time.monotonic())) and not self._held
        # Closing the front cuts what it has not sent yet. Calls that come now wait for the close, which tells their
        # clients UNAVAILABLE and to connect anew; told sooner, they would spend their retries on this connection.
        self._flushing = True
        flushed_by = time.monotonic() + _FLUSH_S_MAX
        while self._unsent() and time.monotonic() < flushed_by:
            time.sleep(_DRAIN_POLL_S)
        time.sleep(_WRITE_S)
        self._front.close()
        self._receiver.join(_JOIN_S_MAX)
        shutil.rmtree(self._folder, ignore_errors=True)
        return finished

    def close(self) -> None:
        """Close the port, unless the drain has, and end what is still in flight."""
        self._front.close()
        self._behind.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _unsent(self) -> int:
        """Return how many answers have not left yet; answers whose client went away meanwhile count for ever."""
        replied = self._replied
        counted = (self._front.metrics() or {}).get("methods", {}).values()
        left = sum(method["status"].get(_OK, {"count": 0})["count"] for method in counted)
        return max(0, replied - int(left))

    def _receive(self) -> None:
        waiting: deque[_NativeCall] = deque()
        wave_calls_max = self._limits.wave_calls_max
        while True:
            events = self._front.recv_batch_details(_EVENTS_MAX, 0) if waiting else self._await()
            if events is None:
                return
            self._admit(events, waiting)
            wave: list[Call] = []
            while waiting and len(wave) < wave_calls_max:
                call = waiting.popleft()
                if not call.cancelled:
                    wave.append(call)
            if wave:
                self._answer(wave)

    def _await(self) -> Sequence[tuple[Any, ...]] | None:
        """Return the next events, waiting for them; None when the front is closed.

        Where the last events came within `_LOOK_S`, the next ones are looked for that long before the thread sleeps: a
        core that goes to sleep between two calls answers the second with cold caches, at twice the time. Under calls
        that are further apart the thread sleeps at once.
        """
        receive = self._front.recv_batch_details
        started = time.perf_counter()
        if self._eager:
            while time.perf_counter() - started < _LOOK_S:
                events = receive(_EVENTS_MAX, 0)
                if events is None or events:
                    return events
                os.sched_yield()  # whoever else wants the core has it, the front's own thread first
        events = receive(_EVENTS_MAX, None)
        self._eager = time.perf_counter() - started < _LOOK_S
        return events

    def _admit(self, events: Sequence[tuple[Any, ...]], waiting: deque[_NativeCall]) -> None:
        """Put the calls among the events where they wait for the next wave; refuse those there is no room for."""
        held = self._held
        limits = self._limits
        now = time.monotonic()
        for kind, number, method, payload, _, details in events:
            if kind == EVENT_CANCEL:
                gone = held.pop(number, None)
                if gone is not None:
                    gone.cancelled = True
                continue
            metadata, peer, left_s = details
            deadline = None if left_s is None else now + left_s
            call = _NativeCall(method, payload, metadata, deadline, now, peer, number, self)
            if self._draining:
                if not self._flushing:
                    self._wiring.close(call)
            elif len(held) >= limits.calls_max:
                self._wiring.shed(call)
            elif len(payload) > limits.request_bytes_max:
                call.fail(
                    RESOURCE_EXHAUSTED,
                    f"SERVER: Received message larger than max ({len(payload)} vs. {limits.request_bytes_max})",
                )
            else:
                held[number] = call
                waiting.append(call)

    def _answer(self, wave: list[Call]) -> None:
        try:
            self._wiring.answer(wave)
        except Exception:  # noqa: BLE001 (whatever went wrong, the clients must be told)
            _log.exception("a wave was not answered")
            for call in wave:
                call.fail(INTERNAL, "internal error")
