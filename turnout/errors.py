"""What the client raises.

Every refusal of a gateway arrives as a gRPC status whose details hold a google.rpc.ErrorInfo: a machine-readable
reason in UPPER_SNAKE, the domain ``turnout``, and facts. The subclasses follow the status code, which says what a
caller can do; the reason says exactly what happened.

============================ ======================================================
``InvalidError``             the request is malformed; sending it again will not help
``MissingError``             the thing that is named does not exist
``ExistsError``              a thing of that name exists
``ConflictError``            somebody changed the thing since the caller looked
``PreconditionError``        the thing is not in a state that allows this
``ExhaustedError``           a limit is reached; try again later, or less at once
``ExpiredError``             the deadline passed before the answer came
``UnavailableError``         a part that is needed does not answer now
``UnknownCallerError``       no credential was shown, or none that counts
``ForbiddenError``           who asks may not do this
``UnreachableError``         no gateway answered at the address
============================ ======================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from turnout import wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import grpc

DETAILS_KEY = "grpc-status-details-bin"

_ERROR_INFO_URL = "type.googleapis.com/google.rpc.ErrorInfo"
_RETRY_INFO_URL = "type.googleapis.com/google.rpc.RetryInfo"


class TurnoutError(Exception):
    """A gateway refused a call, or no gateway answered.

    Parameters
    ----------
    code
        The name of the gRPC status code, for example ``NOT_FOUND``.
    reason
        What happened, machine-readable, for example ``MODEL_NOT_SERVED``; the code's name where the server gave none.
    message
        What is wrong and what to do about it, as a sentence.
    facts
        The values that matter, by name.
    retry_after_s
        When to try again, in seconds, where the gateway says so; else None.
    """

    def __init__(
        self,
        code: str,
        reason: str,
        message: str,
        facts: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(code, reason, message, facts, retry_after_s)
        self.code = code
        self.reason = reason
        self.message = message
        self.facts: dict[str, str] = dict(facts or {})
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class InvalidError(TurnoutError):
    """The request is malformed; sending it again will not help."""


class MissingError(TurnoutError):
    """The thing that is named does not exist."""


class ExistsError(TurnoutError):
    """A thing of that name exists."""


class ConflictError(TurnoutError):
    """Somebody changed the thing since the caller looked; look again."""


class PreconditionError(TurnoutError):
    """The thing is not in a state that allows this."""


class ExhaustedError(TurnoutError):
    """A limit is reached; try again later, or less at once."""


class ExpiredError(TurnoutError):
    """The deadline passed before the answer came; whether the call took effect is not known."""


class UnavailableError(TurnoutError):
    """A part that is needed does not answer now; trying again may help."""


class UnknownCallerError(TurnoutError):
    """No credential was shown, or none that counts."""


class ForbiddenError(TurnoutError):
    """Who asks may not do this."""


class UnreachableError(UnavailableError):
    """No gateway answered at the address."""


class ForkedClientError(RuntimeError):
    """A client that was made before a fork is used in the child; gRPC's threads did not follow it there."""


_KINDS: dict[str, type[TurnoutError]] = {
    "INVALID_ARGUMENT": InvalidError,
    "OUT_OF_RANGE": InvalidError,
    "NOT_FOUND": MissingError,
    "ALREADY_EXISTS": ExistsError,
    "ABORTED": ConflictError,
    "FAILED_PRECONDITION": PreconditionError,
    "RESOURCE_EXHAUSTED": ExhaustedError,
    "DEADLINE_EXCEEDED": ExpiredError,
    "UNAVAILABLE": UnavailableError,
    "UNAUTHENTICATED": UnknownCallerError,
    "PERMISSION_DENIED": ForbiddenError,
}

_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""The names of gRPC's status codes by their numbers."""


class ErrorInfo(NamedTuple):
    """What a google.rpc.ErrorInfo holds, and the pause of a google.rpc.RetryInfo after it."""

    reason: str
    domain: str
    facts: dict[str, str]
    retry_after_s: float | None = None


def read_error_info(details: bytes) -> ErrorInfo | None:
    """Return the ErrorInfo in a serialized google.rpc.Status, or None when there is none that can be read.

    Notes
    -----
    ``Status {int32 code = 1; string message = 2; repeated Any details = 3}``,
    ``Any {string type_url = 1; bytes value = 2}``,
    ``ErrorInfo {string reason = 1; string domain = 2; map<string, string> metadata = 3}``,
    ``RetryInfo {Duration retry_delay = 1}``, ``Duration {int64 seconds = 1; int32 nanos = 2}``.
    """
    found: dict[str, int | memoryview] = {}
    try:
        for number, value in wire.read_fields(memoryview(details)):
            if number == 3:  # noqa: PLR2004  (Status.details)
                detail = dict(wire.read_fields(wire.read_message(value)))
                found.setdefault(wire.read_text(detail.get(1, memoryview(b""))), detail.get(2, memoryview(b"")))
        if _ERROR_INFO_URL not in found:
            return None
        info = _read_info(wire.read_message(found[_ERROR_INFO_URL]))
        if _RETRY_INFO_URL in found:
            return info._replace(retry_after_s=_read_pause_s(wire.read_message(found[_RETRY_INFO_URL])))
    except wire.WireError:
        return None  # an error must never hide behind another one: the status itself still says what happened
    return info


def _read_pause_s(data: memoryview) -> float:
    delay = dict(wire.read_fields(data)).get(1, memoryview(b""))
    fields = dict(wire.read_fields(wire.read_message(delay)))
    return wire.read_number(fields.get(1, 0)) + wire.read_number(fields.get(2, 0)) / 1e9


def _read_info(data: memoryview) -> ErrorInfo:
    reason, domain, facts = "", "", {}
    for number, value in wire.read_fields(data):
        if number == 1:
            reason = wire.read_text(value)
        elif number == 2:  # noqa: PLR2004  (ErrorInfo.domain)
            domain = wire.read_text(value)
        elif number == 3:  # noqa: PLR2004  (ErrorInfo.metadata)
            entry = dict(wire.read_fields(wire.read_message(value)))
            empty = memoryview(b"")
            facts[wire.read_text(entry.get(1, empty))] = wire.read_text(entry.get(2, empty))
    return ErrorInfo(reason, domain, facts)


def from_status(code: str, message: str, trailing: Iterable[tuple[str, str | bytes]] = ()) -> TurnoutError:
    """Return the error of a gRPC status: its code's name, its message and its trailing metadata."""
    info = None
    for key, value in trailing:
        if key == DETAILS_KEY and isinstance(value, bytes):
            info = read_error_info(value)
    if info is not None:
        return _KINDS.get(code, TurnoutError)(code, info.reason, message, info.facts, info.retry_after_s)
    if code == "UNAVAILABLE":  # a gateway always says why: this came from the network
        return UnreachableError(code, "UNREACHABLE", message)
    return _KINDS.get(code, TurnoutError)(code, code, message)


def from_parts(number: int, reason: str, message: str, facts: Mapping[str, str]) -> TurnoutError:
    """Return the error that an answer to one of several predictions holds: a status code's number, and the rest."""
    code = _CODES[number] if 0 <= number < len(_CODES) else "UNKNOWN"
    return _KINDS.get(code, TurnoutError)(code, reason, message, facts)


def from_rpc(error: grpc.RpcError) -> TurnoutError:
    """Return the error that a failed gRPC call stands for."""
    code = getattr(error, "code", lambda: None)()
    message = getattr(error, "details", lambda: None)() or "the call failed without a word"
    trailing = getattr(error, "trailing_metadata", lambda: None)() or ()
    return from_status("UNKNOWN" if code is None else code.name, message, trailing)
