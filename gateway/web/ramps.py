"""The ramp of an experiment: how far the candidate has come, what it waits for, and what may be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.web.html import Html, badge, el, facts, join, section, table
from gateway.web.page import reason_field
from gateway.web.words import time_of
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.experiments.v1 import ramp_pb2
from turnout.report.words import enum_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.web.page import Visit

_SERVICE = "/turnout.experiments.v1.ExperimentService"
_LIVE = frozenset({ramp_pb2.RAMP_STATE_RUNNING, ramp_pb2.RAMP_STATE_HOLDING, ramp_pb2.RAMP_STATE_PAUSED})
_STATES = {
    ramp_pb2.RAMP_STATE_RUNNING: "main",
    ramp_pb2.RAMP_STATE_HOLDING: "wait",
    ramp_pb2.RAMP_STATE_PAUSED: "wait",
    ramp_pb2.RAMP_STATE_COMPLETED: "good",
    ramp_pb2.RAMP_STATE_ROLLED_BACK: "bad",
    ramp_pb2.RAMP_STATE_ABORTED: "bad",
}
_WIDE, _TALL = 720, 74


def ramp_of(visit: Visit, experiment: pb.Experiment) -> ramp_pb2.RampStatus | None:
    """Return where the ramp of an experiment stands; None when it has none, or has not begun."""
    if not experiment.HasField("ramp") or experiment.state == pb.EXPERIMENT_STATE_DRAFT:
        return None
    return visit.experiments.GetRamp(pb.GetRampRequest(name=experiment.name)).ramp


def goes(status: ramp_pb2.RampStatus | None) -> bool:
    """Whether the ramp sets the split now."""
    return status is not None and status.state in _LIVE


def ramp_section(visit: Visit, experiment: pb.Experiment, status: ramp_pb2.RampStatus | None) -> Html:
    """Return the part of an experiment's page that is about its ramp."""
    if not experiment.HasField("ramp"):
        return Html("")
    if status is None:
        return section("Ramp", _stairs(experiment.ramp.steps, 0), note="It begins when the experiment is started.")
    events = visit.experiments.ListRampEvents(pb.ListRampEventsRequest(name=experiment.name)).events
    state = badge(enum_words(ramp_pb2.RampState, status.state), _STATES.get(status.state, ""))
    reasons = [el("li", reason) for reason in status.reasons]
    return section(
        "Ramp",
        el("p", state, f" step {status.step} of {status.steps}, since ", time_of(status.step_start_time_us)),
        el("ul", reasons) if reasons else None,
        _stairs(experiment.ramp.steps, status.step),
        facts(
            (
                ("Candidate's share", f"{status.share:.4g}"),
                ("Window", status.window or None),
                ("Judged by the calls of", status.judge or None),
                ("Guardrails do not see the calls of", ", ".join(status.unseen_gateways) or None),
            )
        ),
        table("Guardrails in this step", _READINGS, map(_reading, status.readings), numbers=range(1, 7)),
        table("What happened to it", ("Time", "What", "Step", "Why"), map(_event, reversed(events))),
    )


def ramp_forms(visit: Visit, status: ramp_pb2.RampStatus | None) -> Html:
    """Return the forms that the ramp's state allows."""
    if status is None or not goes(status):
        return Html("")
    step = el("input", type="hidden", name="step", value=status.step)
    forms = [
        visit.action(
            "Abort the ramp",
            "ramp-abort",
            reason_field(),
            method=f"{_SERVICE}/AbortRamp",
            style="danger",
            note="Rolls back: the candidate gets no units any more, and the experiment ends without a winner.",
        )
    ]
    if status.state == ramp_pb2.RAMP_STATE_PAUSED:
        forms.insert(0, visit.action("Resume the ramp", "ramp-resume", reason_field(), method=f"{_SERVICE}/ResumeRamp"))
    else:
        note = "It stays at this step until it is resumed; a breach still rolls it back."
        forms.insert(
            0, visit.action("Pause the ramp", "ramp-pause", reason_field(), method=f"{_SERVICE}/PauseRamp", note=note)
        )
    if not status.approved:
        note = f"Step {status.step} may be left once all else that it asks for holds."
        forms.append(
            visit.action(
                "Approve the step",
                "ramp-approve",
                step,
                reason_field(),
                method=f"{_SERVICE}/ApproveRampStep",
                note=note,
            )
        )
    return join(*forms)


_READINGS = (
    "Guardrail",
    "Control's units",
    "of them bad",
    "Candidate's units",
    "of them bad",
    "Evidence",
    "Rolls back at",
    "Stands",
)


def _reading(each: ramp_pb2.RampReading) -> tuple[object, ...]:
    breached = each.evidence >= each.bar > 0
    slow = [
        f"{what} above {limit_us / 1000:.3g} ms"
        for what, limit_us in (("slow", each.limit_us), ("or a run", each.run_limit_us))
        if limit_us
    ]
    return (
        [each.guardrail, " ", el("small", ", ".join(slow))] if slow else each.guardrail,
        f"{each.control_units:,}",
        f"{each.control_bad:,}",
        f"{each.candidate_units:,}",
        f"{each.candidate_bad:,}",
        f"{each.evidence:.2f}",
        f"{each.bar:.2f}",
        badge("breached", "bad") if breached else badge("holds", "good"),
    )


def _event(each: ramp_pb2.RampEvent) -> tuple[object, ...]:
    kind = enum_words(ramp_pb2.RampEventKind, each.kind)
    return time_of(each.time_us), kind, each.step, [el("p", reason) for reason in each.reasons]


def _stairs(steps: Sequence[ramp_pb2.RampStep], present: int) -> Html:
    """Return the steps as stairs, those that were taken filled."""
    if not steps:
        return Html("")
    parts: list[Html] = []
    width = _WIDE / len(steps)
    for place, step in enumerate(steps, 1):
        height = max(2.0, step.share * (_TALL - 24))
        left, top = (place - 1) * width, _TALL - 16 - height
        style = "arm-1" if place < present else "arm-2" if place == present else "arm-0"
        parts += [
            el(
                "rect",
                x=f"{left + 1:.1f}",
                y=f"{top:.1f}",
                width=f"{width - 2:.1f}",
                height=f"{height:.1f}",
                class_=f"stair {style}" + (" faint" if place > present else ""),
            ),
            el("text", f"{step.share:.4g}", x=f"{left + width / 2:.1f}", y=_TALL - 3, text_anchor="middle"),
        ]
    words = f"Step {present} of {len(steps)}" if present else f"{len(steps)} steps"
    return el(
        "svg",
        *parts,
        viewBox=f"0 0 {_WIDE} {_TALL}",
        role="img",
        aria_label=f"The ramp's shares. {words}",
        class_="stairs",
    )
