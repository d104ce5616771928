"""What a call by HTTP says beside its request: its deadline, and what goes on to the data port with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gateway.errors import RequestMalformedError

if TYPE_CHECKING:
    from gateway.web.told import Asked

TIMEOUT_HEADER, CONNECT_TIMEOUT_HEADER = "Turnout-Timeout-Ms", "Connect-Timeout-Ms"
TIMEOUT_MS, TIMEOUT_MS_MAX = 10_000, 600_000
_PASSED_ON = ("authorization", "traceparent", "tracestate")
_FORWARDED = "turnout-forwarded-"
_DIGITS_MAX = 10


def timeout_s(asked: Asked) -> float:
    """Return the deadline that a caller sets, or raise RequestMalformedError."""
    ms = _milliseconds(asked, TIMEOUT_HEADER)
    if ms > TIMEOUT_MS_MAX:
        raise RequestMalformedError(f"{TIMEOUT_HEADER} is at most {TIMEOUT_MS_MAX}")
    return ms / 1000


def connect_timeout_s(asked: Asked) -> float:
    """Return the deadline that a caller of the Connect protocol sets, which may be clamped there."""
    return min(_milliseconds(asked, CONNECT_TIMEOUT_HEADER), TIMEOUT_MS_MAX) / 1000


def _milliseconds(asked: Asked, header: str) -> int:
    said = asked.headers.get(header, str(TIMEOUT_MS))
    if not (said.isascii() and said.isdigit() and len(said) <= _DIGITS_MAX and int(said)):
        raise RequestMalformedError(f"{header} is a whole number of milliseconds, from 1 to {TIMEOUT_MS_MAX}")
    return int(said)


def metadata(asked: Asked) -> list[tuple[str, str]]:
    """Return what goes on as metadata: the token, the trace, and what the Open Inference Protocol takes."""
    found = []
    for name, value in asked.headers.items():
        key = name.lower()
        ours = key.startswith("turnout-") and not key.startswith(_FORWARDED) and key != TIMEOUT_HEADER.lower()
        if (key in _PASSED_ON or ours) and value.isascii() and value.isprintable():
            found.append((key, value))
    return found


def document(body: bytes) -> object:
    """Return what a body of JSON says, or raise RequestMalformedError."""
    try:
        return json.loads(body or b"{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestMalformedError(f"the body is not JSON: {str(error)[:200]}") from error


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON; write it as text")
