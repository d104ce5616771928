"""grpc.health.v1: whether each service of a port serves, asked for or followed.

grpcio-health-checking has this too, but tells its watchers while it holds the lock that the end of a watcher's call
waits for. A message to a client that goes away just then is never done, the server's own thread waits for the lock, and
the process that wanted to say that it serves no more hangs. Here no lock is held while anything is sent, and whoever
changes a status waits for watchers for a moment only: one that does not read holds up nobody.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

TOLD_WITHIN_S = 0.5
"""How long a change waits for the watchers to be told of it."""

Status = health_pb2.HealthCheckResponse.ServingStatus
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class _Watcher:
    """One call of Watch, and what its client was told."""

    def __init__(self, send: Callable[[Any], None], status_of: Callable[[], int]) -> None:
        self._send = send
        self._status_of = status_of
        self._telling = threading.Lock()
        self._told = -1

    def tell(self) -> None:
        """Send the status as it is, unless that was said already or somebody else is at it, who then looks again."""
        while self._status_of() != self._told and self._telling.acquire(blocking=False):
            try:
                self._told = self._status_of()
                self._send(health_pb2.HealthCheckResponse(status=self._told))
            finally:
                self._telling.release()

    def end(self) -> None:
        """Say that the call is over."""
        self._send(None)


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # generated, untyped
    """The statuses of a port's services, and who follows them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._statuses: dict[str, int] = {}
        self._watchers: set[_Watcher] = set()

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802  (the contract's name)
        """Say whether a service serves."""
        status = self._statuses.get(request.service)
        if status is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "the port has no such service")
        return health_pb2.HealthCheckResponse(status=status)

    def Watch(  # noqa: N802  (as above)
        self, request: Any, context: grpc.ServicerContext, send_response_callback: Callable[[Any], None]
    ) -> None:
        """Say whether a service serves, now and whenever that changes; no thread is held meanwhile."""
        service = request.service
        watcher = _Watcher(send_response_callback, lambda: self._statuses.get(service, _UNKNOWN))
        with self._lock:
            self._watchers.add(watcher)
        if not context.add_callback(lambda: self._forget(watcher)):
            self._forget(watcher)
            return
        watcher.tell()

    Watch.experimental_non_blocking = True  # type: ignore[attr-defined]  # grpcio asks for it here
    Watch.experimental_thread_pool = None  # type: ignore[attr-defined]

    def set_all(self, statuses: Mapping[str, int]) -> None:
        """Set the statuses of services and tell who follows them."""
        with self._lock:
            self._statuses = {**self._statuses, **statuses}
            watchers = list(self._watchers)
        if watchers:
            teller = threading.Thread(target=_tell, args=(watchers,), name="health", daemon=True)
            teller.start()
            teller.join(TOLD_WITHIN_S)

    def _forget(self, watcher: _Watcher) -> None:
        with self._lock:
            self._watchers.discard(watcher)
        watcher.end()


def _tell(watchers: list[_Watcher]) -> None:
    for watcher in watchers:
        watcher.tell()
