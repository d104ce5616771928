"""Outcomes as the client sees them: what happened after a prediction, and whether it was recorded."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from turnout import errors
from turnout.outcomes.v1 import outcome_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Outcome:
    """One thing that happened later: a label or a reward. Recording it twice is harmless.

    Attributes
    ----------
    name
        The outcome's name, for example ``late``; metrics refer to it.
    value
        The value, finite; a boolean is 0 or 1. Leave it at 0 where there is a label.
    request_id
        The prediction that it is an outcome of. Give this or a unit.
    unit_id
        The unit whose latest earlier prediction is meant.
    outcome_id
        Tells one outcome of a subject and name from another; needed with a unit.
    event_time_us
        When it happened, in microseconds since the Unix epoch; None means now.
    model
        The model whose prediction is meant when the subject is a unit; empty: any.
    label
        The category that it turned out to be, in place of a value.
    sequence
        Corrects: of several outcomes with one subject, name and outcome id the highest counts.
    """

    name: str
    value: float = 0.0
    request_id: str = ""
    unit_id: str = ""
    outcome_id: str = ""
    event_time_us: int | None = None
    model: str = ""
    label: str = ""
    sequence: int = 0

    def dated(self) -> Outcome:
        """Return the outcome as one that says when it happened: now, unless it says so already."""
        return self if self.event_time_us is not None else replace(self, event_time_us=time.time_ns() // 1000)

    def message(self) -> pb.Outcome:
        """Return the message, or raise ValueError unless exactly one of request id and unit is given."""
        if bool(self.request_id) == bool(self.unit_id):
            raise ValueError("an outcome has a request_id or a unit_id: give one of them, not both")
        outcome = pb.Outcome(
            name=self.name,
            value=self.value,
            event_time_us=self.event_time_us,
            outcome_id=self.outcome_id,
            model=self.model,
            label=self.label,
            sequence=self.sequence,
        )
        if self.request_id:
            outcome.request_id = self.request_id
        else:
            outcome.unit_id = self.unit_id
        return outcome


@dataclass(frozen=True, slots=True)
class OutcomeResult:
    """What became of one outcome.

    Attributes
    ----------
    status
        ``RECORDED``: it survives the death of every process. ``INVALID``: sending it again will not help.
        ``UNAVAILABLE``: the journal cannot be written now; send it again.
    message
        Why not, as a sentence; empty when recorded.
    reason
        The same, machine-readable; empty when recorded.
    """

    status: str
    message: str
    reason: str

    @property
    def recorded(self) -> bool:
        """Whether the outcome is in the journal."""
        return self.status == "RECORDED"

    def check(self) -> None:
        """Raise InvalidError or UnavailableError unless the outcome was recorded."""
        if self.status == "INVALID":
            raise errors.InvalidError("INVALID_ARGUMENT", self.reason or "INVALID", self.message)
        if not self.recorded:
            raise errors.UnavailableError("UNAVAILABLE", self.reason or "UNAVAILABLE", self.message)


_STATUSES = {
    pb.OUTCOME_STATUS_RECORDED: "RECORDED",
    pb.OUTCOME_STATUS_INVALID: "INVALID",
    pb.OUTCOME_STATUS_UNAVAILABLE: "UNAVAILABLE",
}


def outcomes_request(outcomes: Iterable[Outcome]) -> pb.RecordOutcomesRequest:
    """Return the request that records a batch, or raise ValueError."""
    return pb.RecordOutcomesRequest(outcomes=[outcome.message() for outcome in outcomes])


def outcomes_message(outcomes: Iterable[Outcome]) -> pb.StreamOutcomesRequest:
    """Return a batch as a stream's message, or raise ValueError."""
    return pb.StreamOutcomesRequest(outcomes=[outcome.message() for outcome in outcomes])


def read_results(response: pb.RecordOutcomesResponse | pb.StreamOutcomesResponse) -> list[OutcomeResult]:
    """Return what became of each outcome, in the order of the request."""
    # A status that this client does not know is taken as not recorded: sending an outcome again is harmless.
    return [
        OutcomeResult(_STATUSES.get(one.status, "UNAVAILABLE"), one.message, one.reason) for one in response.results
    ]
