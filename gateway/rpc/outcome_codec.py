"""Outcomes between bytes and the journal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from gateway.errors import RequestMalformedError
from gateway.journal.record import Outcome
from storage.errors import UnavailableError
from turnout.outcomes.v1 import outcome_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storage.errors import DomainError

BATCH_MAX = 10_000


def decode(payload: bytes, now_us: int) -> list[Outcome]:
    """Return the outcomes of a request, or raise RequestMalformedError."""
    try:
        message = pb.RecordOutcomesRequest.FromString(payload)
    except DecodeError:
        raise RequestMalformedError("the request is not a turnout.outcomes.v1.RecordOutcomesRequest") from None
    count = len(message.outcomes)
    if not 1 <= count <= BATCH_MAX:
        raise RequestMalformedError(
            f"a request holds 1 to {BATCH_MAX} outcomes; this one has {count}", field="outcomes"
        )
    return _read(message.outcomes, now_us)


def decode_streamed(payload: bytes, now_us: int) -> list[Outcome]:
    """Return the outcomes of a stream's message, or raise RequestMalformedError, which ends the stream."""
    try:
        message = pb.StreamOutcomesRequest.FromString(payload)
    except DecodeError:
        raise RequestMalformedError("the message is not a turnout.outcomes.v1.StreamOutcomesRequest") from None
    return _read(message.outcomes, now_us)


def _read(outcomes: Sequence[pb.Outcome], now_us: int) -> list[Outcome]:
    return [
        Outcome(
            request_id=outcome.request_id,
            unit_id=outcome.unit_id,
            model=outcome.model,
            name=outcome.name,
            value=math.nan if outcome.label and not outcome.value else outcome.value,
            event_time_us=outcome.event_time_us if outcome.HasField("event_time_us") else now_us,
            outcome_id=outcome.outcome_id,
            time_us=now_us,
            label=outcome.label,
            sequence=outcome.sequence,
        )
        for outcome in outcomes
    ]


def encode(results: Sequence[DomainError | None]) -> bytes:
    """Return the reply that says what became of each outcome; to a stream's message it has the same bytes."""
    response = pb.RecordOutcomesResponse()
    for fault in results:
        if fault is None:
            response.results.add(status=pb.OUTCOME_STATUS_RECORDED)
            continue
        later = isinstance(fault, UnavailableError)
        response.results.add(
            status=pb.OUTCOME_STATUS_UNAVAILABLE if later else pb.OUTCOME_STATUS_INVALID,
            message=fault.message,
            reason=fault.reason,
        )
    return response.SerializeToString()
