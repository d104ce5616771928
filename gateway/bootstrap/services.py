"""What the data port answers besides waves: health and reflection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gateway.bootstrap.health import Health

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class DataServices:
    """Health and reflection for a port.

    Parameters
    ----------
    names
        The full names of the services on the port.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._health = Health()
        self._set(_NOT_SERVING)

    def add(self, server: grpc.Server) -> None:
        """Add the services to a grpcio server."""
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection((*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME), server)

    def serving(self) -> None:
        """Say that the port serves, as a whole and service by service."""
        self._set(_SERVING)

    def not_serving(self) -> None:
        """Say that the port does not serve any more."""
        self._set(_NOT_SERVING)

    def _set(self, status: health_pb2.HealthCheckResponse.ServingStatus.ValueType) -> None:
        self._health.set_all(dict.fromkeys(("", *self._names), status))
