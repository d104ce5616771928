"""What the outside sees of the grpcio transport: begin, drain, close; each from any thread."""

from __future__ import annotations

import logging
import threading
import time
from concurrent import futures
from typing import TYPE_CHECKING

import grpc

from gateway.transport.grpcio.core import Core
from gateway.transport.grpcio.front import Front

if TYPE_CHECKING:
    from gateway.transport.port import Limits, Wiring

# Threads for what is not answered in waves; an open stream holds one for its whole life.
_SERVICE_THREADS_MAX = 64
# How many calls of a method may wait in grpc-core until they are looked at. Past it they get CANCELLED, which no client
# tries again, and by grpc-core's own default some of 1000 do.
_PENDING_MAX = 8 * 1024
# grpc-core takes the largest integer for no bound.
_NEVER_MS = 2**31 - 1
# How often the drain looks whether all is done.
_DRAIN_POLL_S = 0.005
# How long grpcio may take to report what it has ended.
_REPORT_S_MAX = 1.0
_log = logging.getLogger(__name__)


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
        ("grpc.server.max_pending_requests", _PENDING_MAX),
        ("grpc.server.max_pending_requests_hard_limit", _PENDING_MAX),
        ("grpc.max_receive_message_length", limits.request_bytes_max),
        ("grpc.max_send_message_length", limits.response_bytes_max),
        ("grpc.keepalive_time_ms", round(limits.keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(limits.keepalive_answer_s_max * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.http2.max_ping_strikes", 0),
    ]


class GrpcioTransport:
    """A grpcio server whose wave methods and streams are answered by one loop, and all else by its own threads."""

    name = "grpcio"

    def __init__(self, wiring: Wiring, *, why: str = "it was asked for") -> None:
        self.why = why
        self._wiring = wiring
        self._services = futures.ThreadPoolExecutor(_SERVICE_THREADS_MAX, thread_name_prefix="service")
        self._server = grpc.server(self._services, options=server_options(wiring.limits))
        core = Core(self._server)
        self._front = Front(wiring, core)
        self._core = core
        wiring.add_services(self._server)
        self._thread = threading.Thread(target=self._run, name="transport", daemon=True)

    def start(self) -> int:
        """Begin to take calls and return the bound port, or raise RuntimeError when the address cannot be bound."""
        address, tls = self._wiring.address, self._wiring.tls
        port: int = (
            self._server.add_insecure_port(address)
            if tls is None
            else self._server.add_secure_port(address, tls.credentials())
        )
        self._core.start()
        self._thread.start()
        return port

    def calls_in_flight(self) -> int:
        """Return how many calls are taken and not answered."""
        return self._front.in_flight

    def drain(self, grace_s: float) -> bool:
        """Refuse new calls with UNAVAILABLE and wait for the ones in flight; return whether all were finished.

        The server is not stopped: grpc-core would end the calls that reach it between its shutdown and the client's
        learning of it with CANCELLED (grpc/grpc#41785), which no client tries again. Calls that come when all others
        are finished wait for the end of the connection, which their clients see as UNAVAILABLE; told sooner, they would
        spend their retries here.
        """
        until = time.monotonic() + grace_s
        front = self._front
        front.close_door()
        while not front.is_empty and time.monotonic() < until:
            time.sleep(_DRAIN_POLL_S)
        finished = front.is_empty
        front.park()
        return finished

    def close(self) -> None:
        """Close the port and end what is still in flight; more than once does no harm."""
        self._front.close_door()
        self._front.refuse_parked()
        self._server.stop(0.0).wait(_REPORT_S_MAX)
        self._services.shutdown(wait=False)

    def _run(self) -> None:
        try:
            self._front.run()
        except Exception:
            _log.exception("the transport has ended")
            raise
