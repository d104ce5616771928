"""The kinds of errors that the libraries raise.

Each library derives its own errors from one of these kinds and gives each a ``reason``. They know nothing of a
transport; one table at the edge maps kinds to statuses.
"""

from __future__ import annotations

from typing import ClassVar


class DomainError(Exception):
    """Something was asked for that cannot be done.

    Parameters
    ----------
    message
        A sentence that says what is wrong and what to do about it.
    facts
        The values that matter, by name, for machines.
    """

    reason: ClassVar[str] = "INTERNAL"
    retry_after_s: ClassVar[float] = 0.0
    """When the same thing may be asked for again, in seconds; 0 where that is not a matter of time."""

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts: dict[str, str] = {name: str(value) for name, value in facts.items()}


class InvalidError(DomainError):
    """The request is malformed; sending it again will not help."""

    reason = "INVALID"


class MissingError(DomainError):
    """The thing that is named does not exist."""

    reason = "NOT_FOUND"


class ExistsError(DomainError):
    """A thing of that name exists."""

    reason = "ALREADY_EXISTS"


class ConflictError(DomainError):
    """Somebody changed the thing since the caller looked."""

    reason = "CONFLICT"


class PreconditionError(DomainError):
    """The thing is not in a state that allows this."""

    reason = "FAILED_PRECONDITION"


class UnavailableError(DomainError):
    """A part that is needed does not answer now; trying again may help."""

    reason = "UNAVAILABLE"


class ExhaustedError(DomainError):
    """A limit is reached."""

    reason = "RESOURCE_EXHAUSTED"


class ExpiredError(DomainError):
    """The deadline has passed."""

    reason = "DEADLINE_EXCEEDED"


class UnknownCallerError(DomainError):
    """It is not known who asks."""

    reason = "UNAUTHENTICATED"


class ForbiddenError(DomainError):
    """Who asks may not do this."""

    reason = "PERMISSION_DENIED"


class CancelledError(DomainError):
    """The caller no longer waits."""

    reason = "CANCELLED"
