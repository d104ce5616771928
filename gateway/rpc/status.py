"""The one table from domain errors to gRPC statuses.

Every error that leaves the gateway carries google.rpc.ErrorInfo: the reason, the domain ``turnout``, and the facts.
"""

from __future__ import annotations

import contextlib
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import grpc
from google.rpc import error_details_pb2, status_pb2

from gateway.access.caller import CALLER
from gateway.transport.peer import peer_of
from storage.errors import (
    CancelledError,
    ConflictError,
    DomainError,
    ExhaustedError,
    ExistsError,
    ExpiredError,
    ForbiddenError,
    InvalidError,
    MissingError,
    PreconditionError,
    UnavailableError,
    UnknownCallerError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.transport.port import Call

DOMAIN = "turnout"
DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"
MESSAGE_BYTES_MAX = 1024
FACT_BYTES_MAX = 256
"""Clients take 8 KiB of trailing metadata, where a byte may count three times, and errors repeat what callers sent."""

_LOOPBACK_PEERS = ("ipv4:127.", "ipv6:[::1]", "ipv6:%5B::1%5D", "unix:")

_log = logging.getLogger(__name__)

CODES: tuple[tuple[type[DomainError], grpc.StatusCode], ...] = (
    (InvalidError, grpc.StatusCode.INVALID_ARGUMENT),
    (MissingError, grpc.StatusCode.NOT_FOUND),
    (ExistsError, grpc.StatusCode.ALREADY_EXISTS),
    (ConflictError, grpc.StatusCode.ABORTED),
    (PreconditionError, grpc.StatusCode.FAILED_PRECONDITION),
    (UnavailableError, grpc.StatusCode.UNAVAILABLE),
    (ExhaustedError, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (ExpiredError, grpc.StatusCode.DEADLINE_EXCEEDED),
    (UnknownCallerError, grpc.StatusCode.UNAUTHENTICATED),
    (ForbiddenError, grpc.StatusCode.PERMISSION_DENIED),
    (CancelledError, grpc.StatusCode.CANCELLED),
)


def code_of(error: DomainError) -> grpc.StatusCode:
    """Return the status code of an error's kind; INTERNAL for one of no kind."""
    for kind, code in CODES:
        if isinstance(error, kind):
            return code
    return grpc.StatusCode.INTERNAL


def number_of(error: DomainError) -> int:
    """Return the number of an error's status code."""
    number: int = code_of(error).value[0]
    return number


def sentence_of(error: DomainError) -> str:
    """Return an error's message, cut where it is longer than a client takes."""
    return _cut(error.message, MESSAGE_BYTES_MAX)


def _cut(text: str, bytes_max: int) -> str:
    if len(text) <= bytes_max // 4 or len(text.encode()) <= bytes_max:
        return text
    return text.encode()[: bytes_max - len("…".encode())].decode(errors="ignore") + "…"


def details_of(error: DomainError) -> bytes:
    """Return the serialized google.rpc.Status that travels in the trailing metadata.

    Its first detail is the ErrorInfo; a RetryInfo follows where trying again is a matter of time.
    """
    info = error_details_pb2.ErrorInfo(
        reason=error.reason,
        domain=DOMAIN,
        metadata={name: _cut(value, FACT_BYTES_MAX) for name, value in error.facts.items()},
    )
    status = status_pb2.Status(code=number_of(error), message=sentence_of(error))
    status.details.add().Pack(info)
    if error.retry_after_s:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(timedelta(seconds=error.retry_after_s))
        status.details.add().Pack(retry)
    return bytes(status.SerializeToString())


def abort(context: grpc.ServicerContext, error: DomainError) -> NoReturn:
    """End the call with the error's status."""
    context.set_trailing_metadata(trailing_of(error))
    context.abort(code_of(error), sentence_of(error))
    raise AssertionError("abort does not return")  # pragma: no cover  (grpcio types it as returning)


def fail(call: Call, error: DomainError) -> None:
    """Answer a call of a wave with the error's status."""
    call.fail(*ending_of(error))


def ending_of(error: DomainError) -> tuple[int, str, tuple[tuple[str, str | bytes], ...]]:
    """Return how a call ends with the error: the number of the status code, the sentence, the trailing metadata."""
    return number_of(error), sentence_of(error), trailing_of(error)


def trailing_of(error: DomainError) -> tuple[tuple[str, str | bytes], ...]:
    """Return the trailing metadata of an error: its details, and the pause that gRPC's own retries obey."""
    details = (DETAILS_KEY, details_of(error))
    if not error.retry_after_s:
        return (details,)
    return (details, (PUSHBACK_KEY, str(round(error.retry_after_s * 1000))))


def hidden() -> DomainError:
    """Return what a client is told of a failure whose particulars are not for it."""
    return DomainError("internal error; the gateway's log has the particulars")


@contextlib.contextmanager
def mapped(context: grpc.ServicerContext) -> Iterator[None]:
    """End the call with the right status when the body raises: a domain error's, or a bare INTERNAL."""
    try:
        yield
    except DomainError as error:
        abort(context, error)
    except grpc.RpcError:
        raise
    except Exception as error:
        if type(error) is Exception:  # what grpcio's abort raises to leave the handler
            raise
        _log.exception("a call failed")
        abort(context, hidden())


def actor(context: grpc.ServicerContext) -> str:
    """Return who is calling, by its credential.

    Where none is asked for, it is what the client says in `turnout-actor` if it is on this machine, else its address.
    """
    caller = CALLER.get()
    if caller.name:
        return caller.name
    peer = peer_of(context)
    if peer.startswith(_LOOPBACK_PEERS):
        for key, value in context.invocation_metadata() or ():
            if key == "turnout-actor" and isinstance(value, str):
                return value[:128]
    return peer
