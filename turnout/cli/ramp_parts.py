"""Ramps as tables."""

from collections.abc import Iterable, Iterator

from rich.console import RenderableType

from turnout.cli import literals, show
from turnout.cli.document import enum_name
from turnout.experiments.v1 import ramp_pb2

READINGS = (
    "guardrail",
    "control",
    "bad",
    "candidate",
    "bad",
    "evidence",
    "rolls back at",
    "slow above ms",
    "run above ms",
)


def status_parts(ramp: ramp_pb2.RampStatus) -> Iterator[RenderableType]:
    """Yield where a ramp stands, and what its guardrails say."""
    state = enum_name(ramp_pb2.RampState.DESCRIPTOR, ramp.state)
    yield show.facts(
        f"Ramp of {ramp.experiment}",
        [
            ("state", state),
            ("step", f"{ramp.step} of {ramp.steps}"),
            ("candidate's share", f"{ramp.share:.4g}"),
            ("since", literals.format_time(ramp.step_start_time_us)),
            ("approved", "yes" if ramp.approved else ""),
            *(("", reason) for reason in ramp.reasons),
            ("judged by the calls of", ramp.judge),
            *(("not seen are those of", each) for each in ramp.unseen_gateways),
        ],
    )
    if ramp.readings:
        rows = [
            (
                one.guardrail,
                one.control_units,
                one.control_bad,
                one.candidate_units,
                one.candidate_bad,
                f"{one.evidence:.2f}",
                f"{one.bar:.2f}",
                *(f"{each / 1000:.3g}" if each else "" for each in (one.limit_us, one.run_limit_us)),
            )
            for one in ramp.readings
        ]
        yield show.table("Units in this window", READINGS, rows)


def event_rows(events: Iterable[ramp_pb2.RampEvent]) -> list[tuple[object, ...]]:
    """Return a row for each event."""
    return [
        (
            one.number,
            literals.format_time(one.time_us),
            enum_name(ramp_pb2.RampEventKind.DESCRIPTOR, one.kind).lower().replace("_", " "),
            one.step,
            "; ".join(one.reasons),
        )
        for one in events
    ]


def bound_rows(bounds: Iterable[ramp_pb2.RampBound]) -> list[tuple[object, ...]]:
    """Return a row for each bound."""
    return [
        (
            one.guardrail or one.metric,
            one.step or "any",
            one.units or "never seen",
            one.bad_units or "",
        )
        for one in bounds
    ]
