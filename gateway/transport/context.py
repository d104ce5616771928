"""What grpcio's server knows of a call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.transport.peer import forwarded_names
from gateway.transport.tls import names_in_context

if TYPE_CHECKING:
    import grpc


def certificate_of(context: grpc.ServicerContext) -> tuple[str, ...]:
    """Return who the client is by the certificate that it showed; empty where it showed none."""
    passed_on = forwarded_names(context)
    if passed_on is not None:
        return passed_on
    properties: Any = context.auth_context()  # the stubs say one value for each key; there are several
    return names_in_context(properties)
