"""Ramps as messages of the contract, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.ramp.controller import Action
from experiments.ramp.definition import (
    DEFAULT_ALPHA,
    DEFAULT_GUARDRAILS,
    DEFAULT_QUANTILE,
    DEFAULT_RATIO,
    DEFAULT_STEP_UNITS,
    DEFAULT_STEP_US,
    DEFAULT_TOLERANCE,
    Guardrail,
    GuardrailKind,
    Ramp,
    Step,
    default_steps,
)
from experiments.ramp.moves import ramp_of
from experiments.ramp.standing import OPEN, RampEventKind, RampState
from gateway.errors import RequestMalformedError
from turnout import resources
from turnout.experiments.v1 import ramp_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.ramp.safety import Reading
    from experiments.ramp.standing import RampEvent, Standing
    from gateway.control.followed import Followed
    from gateway.control.ramps import RampView, StatedBound

_KINDS = {
    pb.RAMP_GUARDRAIL_KIND_ERROR_RATE: GuardrailKind.ERROR_RATE,
    pb.RAMP_GUARDRAIL_KIND_LATENCY: GuardrailKind.LATENCY,
    pb.RAMP_GUARDRAIL_KIND_FEATURE_DEFAULT_RATE: GuardrailKind.FEATURE_DEFAULT_RATE,
    pb.RAMP_GUARDRAIL_KIND_OUTPUT_RANGE: GuardrailKind.OUTPUT_RANGE,
}
_NUMBERS = {kind: number for number, kind in _KINDS.items()}
_STATES = {state: pb.RampState.Value(f"RAMP_STATE_{state.name}") for state in RampState}
_EVENTS = {kind: pb.RampEventKind.Value(f"RAMP_EVENT_KIND_{kind.name}") for kind in RampEventKind}


def ramp(message: pb.Ramp) -> Ramp:
    """Return the ramp in a message, with the defaults that the contract names, or raise RequestMalformedError."""
    return Ramp(
        steps=tuple(_step(each) for each in message.steps) or default_steps(),
        guardrails=tuple(_guardrail(each) for each in message.guardrails) or DEFAULT_GUARDRAILS,
        alpha=message.alpha or DEFAULT_ALPHA,
        promote=message.promote,
    )


def ramp_message(found: Ramp) -> pb.Ramp:
    """Return the message of a ramp."""
    return pb.Ramp(
        steps=[
            pb.RampStep(
                share=each.share,
                minimum_time_us=each.minimum_time_us,
                minimum_units=each.minimum_units,
                approval=each.approval,
                proven=each.proven,
            )
            for each in found.steps
        ],
        guardrails=[
            pb.RampGuardrail(
                kind=_NUMBERS[each.kind],
                tolerance=each.tolerance,
                limit_us=each.limit_us,
                quantile=each.quantile,
                ratio=each.ratio,
                output=each.output,
                output_index=each.output_index,
                lower=each.lower,
                upper=each.upper,
            )
            for each in found.guardrails
        ],
        alpha=found.alpha,
        promote=found.promote,
    )


def status_message(view: RampView) -> pb.RampStatus:
    """Return the message of where a ramp stands."""
    standing, steps = view.standing, ramp_of(view.experiment).steps
    known = view.known if standing.state in OPEN else None
    return pb.RampStatus(
        experiment=resources.experiment_name(standing.experiment),
        state=_STATES[standing.state],
        step=standing.step,
        steps=len(steps),
        share=steps[standing.step - 1].share,
        step_start_time_us=standing.step_began_us,
        approved=standing.approved,
        reasons=standing.reasons if known is None or not _agree(known, standing) else known.decision.reasons,
        readings=[] if known is None else reading_messages(known.watch.readings()),
        window=standing.window,
        judge=view.judges.judge,
        unseen_gateways=view.judges.unseen,
    )


def _agree(known: Followed, standing: Standing) -> bool:
    """Return whether what was decided last is what stands: it is written before it is known here."""
    return (known.decision.action is Action.HOLD) == (standing.state is RampState.HOLDING)


def reading_messages(readings: Sequence[Reading]) -> list[pb.RampReading]:
    """Return the messages of what guardrails say."""
    return [
        pb.RampReading(
            guardrail=each.name,
            control_units=each.units[0],
            candidate_units=each.units[1],
            control_bad=each.bad[0],
            candidate_bad=each.bad[1],
            evidence=each.evidence,
            bar=each.bar,
            limit_us=each.limits.own_us,
            run_limit_us=each.limits.run_us,
        )
        for each in readings
    ]


def event_message(event: RampEvent) -> pb.RampEvent:
    """Return the message of something that happened."""
    return pb.RampEvent(
        number=event.number,
        time_us=event.time_us,
        kind=_EVENTS[event.kind],
        step=event.step,
        reasons=event.reasons,
        evidence_json=event.evidence,
        revision=event.revision,
    )


def bound_message(bound: StatedBound) -> pb.RampBound:
    """Return the message of a bound."""
    return pb.RampBound(
        guardrail=bound.guardrail,
        metric=bound.metric,
        step=bound.step,
        units=bound.units or 0,
        bad_units=bound.bad_units,
    )


def _step(message: pb.RampStep) -> Step:
    return Step(
        share=message.share,
        minimum_time_us=message.minimum_time_us if message.HasField("minimum_time_us") else DEFAULT_STEP_US,
        minimum_units=message.minimum_units if message.HasField("minimum_units") else DEFAULT_STEP_UNITS,
        approval=message.approval,
        proven=message.proven,
    )


def _guardrail(message: pb.RampGuardrail) -> Guardrail:
    kind = _KINDS.get(message.kind)
    if kind is None:
        raise RequestMalformedError("the kind of a ramp's guardrail is not given, or not one that is known here")
    return Guardrail(
        kind=kind,
        tolerance=message.tolerance if message.HasField("tolerance") else DEFAULT_TOLERANCE[kind],
        limit_us=message.limit_us,
        quantile=message.quantile or DEFAULT_QUANTILE,
        ratio=message.ratio or DEFAULT_RATIO,
        output=message.output,
        output_index=message.output_index,
        lower=message.lower if message.HasField("lower") else None,
        upper=message.upper if message.HasField("upper") else None,
    )
