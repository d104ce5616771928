"""What the journal keeps of the calls of a wave."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from msgspec import Raw

from gateway.journal.record import Output, encode_prediction, fields, outputs_template
from gateway.serving.memo import Memo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.models.layout import Layout
    from gateway.serving.request import Request
    from gateway.serving.table import Target
    from storage.errors import DomainError

TEMPLATES_MAX = 4096
_NO_OUTPUTS = fields(())


def _template(layout: Layout) -> bytes:
    return outputs_template(
        [Output(*kind, bytes(size)) for kind, size in zip(layout.tensors, layout.sizes, strict=True)]
    )


_templates: Memo[Layout, bytes] = Memo(_template, size_max=TEMPLATES_MAX)


def facts_of(target: Target) -> tuple[Raw, Raw]:
    """Return the fields that are the same in all records of a target: what answered and why, and its feature set."""
    slot = target.slot
    what = fields(
        slot.key.model,
        slot.key.version,
        slot.digest,
        target.experiment,
        target.variant,
        target.epoch,
        target.propensity,
    )
    return what, fields(slot.feature_set)


class Times(NamedTuple):
    """When calls of a wave were taken, and what they took; see `Prediction`."""

    now_us: int
    latency_us: int
    run_us: int = 0
    run_rows: int = 0
    others_us: int = 0


def entries(
    target: Target, requests: Sequence[Request], times: Times, *, code_of: Callable[[DomainError], int]
) -> list[bytes]:
    """Return the encoded records of calls that one target answered, or failed to answer."""
    what, feature_set = target.facts
    now_us, latency_us, *ran = times
    now = fields(now_us, now_us)
    ending = (target.fallback, *ran)
    answered = fields(latency_us, 0, "", *ending)
    encoded = []
    for request in requests:
        event_time_us = request.event_time_us
        layout = request.layout
        error = request.error
        encoded.append(
            encode_prediction(
                (
                    request.request_id,
                    now if event_time_us is None else fields(now_us, event_time_us),
                    what,
                    request.unit_id,
                    request.entities,
                    request.attributes,
                    feature_set,
                    request.feature_row,
                    request.view_status,
                    request.view_age_ms,
                    _NO_OUTPUTS if layout is None or error is not None else Raw(_templates[layout] % request.data),
                    answered if error is None else fields(latency_us, code_of(error), error.reason, *ending),
                )
            )
        )
    return encoded
