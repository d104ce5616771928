"""Errors as HTTP tells them: problem details (RFC 9457) with the reason and the facts of google.rpc.ErrorInfo."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from turnout.errors import TurnoutError

CONTENT_TYPE = "application/problem+json"

STATUSES = {
    "CANCELLED": 499,
    "INVALID_ARGUMENT": 400,
    "OUT_OF_RANGE": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""google.rpc.Code says of each which HTTP status it is; what is not here is 500."""


def problem_of(error: TurnoutError) -> tuple[int, dict[str, Any]]:
    """Return the HTTP status of an error, and its problem details.

    `error` repeats the sentence, where clients of the Open Inference Protocol look for it.
    """
    status = STATUSES.get(error.code, 500)
    return status, {
        "type": "about:blank",
        "title": _title(status),
        "status": status,
        "detail": error.message,
        "code": error.code,
        "reason": error.reason,
        "facts": error.facts,
        "error": error.message,
    }


def plain(status: HTTPStatus, code: str, reason: str, detail: str) -> dict[str, Any]:
    """Return the problem details of what HTTP itself knows to be wrong."""
    return {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "code": code,
        "reason": reason,
        "facts": {},
        "error": detail,
    }


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Client Closed Request"
