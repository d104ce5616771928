"""What can go wrong in the demo."""

from __future__ import annotations

from storage.errors import DomainError, MissingError, PreconditionError


class FlightsMissingError(MissingError):
    """The package that holds the flights is not installed."""

    reason = "FLIGHTS_MISSING"


class ServerFailedError(PreconditionError):
    """The gateway did not start, or ended too early."""

    reason = "SERVER_FAILED"


class ChildFailedError(PreconditionError):
    """A process of the demo ended with a failure."""

    reason = "CHILD_FAILED"


class DemoFailedError(DomainError):
    """The demo did not show what it promises."""

    reason = "DEMO_FAILED"
