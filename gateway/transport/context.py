"""What grpcio's server knows of a call, and how it ends one with a status."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from gateway.transport.peer import forwarded_names
from gateway.transport.tls import names_in_context

if TYPE_CHECKING:
    from gateway.transport.port import Metadata

# grpcio reports a missing deadline as one centuries away.
_DEADLINE_S_MAX = 1e9

_CODES = {code.value[0]: code for code in grpc.StatusCode}


def deadline_of(context: grpc.ServicerContext) -> float | None:
    """Return the call's deadline on the monotonic clock, in seconds; None when it has none."""
    left_s = context.time_remaining()
    return time.monotonic() + left_s if left_s < _DEADLINE_S_MAX else None


def certificate_of(context: grpc.ServicerContext) -> tuple[str, ...]:
    """Return who the client is by the certificate that it showed; empty where it showed none."""
    passed_on = forwarded_names(context)
    if passed_on is not None:
        return passed_on
    properties: Any = context.auth_context()  # the stubs say one value for each key; there are several
    return names_in_context(properties)


def abort(context: grpc.ServicerContext, code: int, message: str, trailing: Metadata) -> NoReturn:
    """End the call with a status; only in the thread that handles it."""
    if trailing:
        context.set_trailing_metadata(tuple(trailing))
    context.abort(_CODES[code], message)
    raise AssertionError("abort does not return")
