"""What the journal keeps of one call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.journal.record import Prediction, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.serving.request import Request
    from storage.errors import DomainError

_NO_FEATURES = b""


def entry(request: Request, *, now_us: int, latency_us: int, code_of: Callable[[DomainError], int]) -> bytes:
    """Return the encoded record of a call that has a target."""
    target = request.target
    if target is None:
        raise ValueError("only a call with a target is journalled")
    row = request.feature_row
    error = request.error
    slot = target.slot
    return encode(
        Prediction(
            request_id=request.request_id,
            time_us=now_us,
            event_time_us=now_us if request.event_time_us is None else request.event_time_us,
            model=request.model,
            version=slot.key.version,
            digest=slot.digest,
            experiment=target.experiment,
            variant=target.variant,
            epoch=target.epoch,
            propensity=target.propensity,
            unit_id=request.unit_id,
            entities=request.entities,
            attributes=request.attributes,
            feature_set=slot.feature_set,
            features=_NO_FEATURES if row is None else row.tobytes(),
            view_status=request.view_status,
            view_age_ms=request.view_age_ms,
            outputs=request.outputs if error is None else [],
            latency_us=latency_us,
            status=0 if error is None else code_of(error),
            reason="" if error is None else error.reason,
            fallback=target.fallback,
        )
    )
