"""What a ramp does next: a pure function of where it stands, what is known, and the time.

The rule, in order:

1. *roll back* when an operational guardrail is breached, a guardrail metric is significantly worse, or a success metric
   is: in every state, also while the ramp is paused;
2. *wait* while the experiment or the ramp is paused;
3. *hold* when the data cannot be trusted: the split is not what it should be, units are in both arms, predictions are
   lost, or no call comes;
4. *wait* until the step has lasted, enough units have an outcome, what must be proven is proven, and somebody approved;
5. *advance*, or *complete* after the last step.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from experiments.ramp.safety import EXPOSED_SHARE_MAX
from experiments.ramp.standing import RampState
from storage.lasting import lasting

if TYPE_CHECKING:
    from experiments.ramp.definition import Ramp, Step
    from experiments.ramp.outcomes import OutcomeReading
    from experiments.ramp.safety import Reading
    from experiments.ramp.standing import Standing

SILENCE_US_MIN = 60_000_000
"""For how long a call may be missing at the least before a ramp is held."""


class Action(enum.StrEnum):
    """What to do."""

    WAIT = "wait"
    HOLD = "hold"
    ADVANCE = "advance"
    ROLL_BACK = "roll_back"
    COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Live:
    """What the calls of the step say.

    Parameters
    ----------
    readings
        Of each operational guardrail.
    units, last_us
        The control's and the candidate's: how many came in the window, and when the last call did, 0 for never.
    exposed_share
        The part of the calls of units seen before that were the other arm's.
    """

    readings: tuple[Reading, ...] = ()
    units: tuple[int, int] = (0, 0)
    last_us: tuple[int, int] = (0, 0)
    exposed_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Scene:
    """All that is known when it is decided.

    Parameters
    ----------
    standing, ramp
        Where the ramp stands, and what it is.
    running
        Whether the experiment assigns units.
    live, outcomes
        What the calls and the outcomes say; None: nobody has looked at the outcomes in this step yet.
    now_us
        The gateway's time.
    """

    standing: Standing
    ramp: Ramp
    running: bool
    now_us: int
    live: Live = field(default_factory=Live)
    outcomes: OutcomeReading | None = None

    @property
    def step(self) -> Step:
        """The step in force."""
        return self.ramp.steps[self.standing.step - 1]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why, a sentence each."""

    action: Action
    reasons: tuple[str, ...]


def decide(scene: Scene) -> Decision:
    """Return what to do next."""
    breaches = [each.sentence for each in scene.live.readings if each.breached]
    if scene.outcomes is not None:
        breaches += scene.outcomes.worse
    if breaches:
        return Decision(Action.ROLL_BACK, tuple(breaches))
    if not scene.running:
        return Decision(Action.WAIT, ("the experiment is paused",))
    if scene.standing.state is RampState.PAUSED:
        return Decision(Action.WAIT, ("the ramp was paused; it goes on when it is resumed",))
    doubts = _doubts(scene)
    if doubts:
        return Decision(Action.HOLD, tuple(doubts))
    missing = _missing(scene)
    if missing:
        return Decision(Action.WAIT, tuple(missing))
    return Decision(_forward(scene), tuple(_met(scene)))


def _doubts(scene: Scene) -> list[str]:
    """Return why the data cannot be trusted."""
    doubts = list(scene.outcomes.doubts) if scene.outcomes is not None else []
    if scene.live.exposed_share > EXPOSED_SHARE_MAX:
        doubts.append(
            f"{scene.live.exposed_share:.2%} of the calls of units seen before were the other arm's: a unit must be in "
            "one arm only"
        )
    silence_us = max(scene.step.minimum_time_us, SILENCE_US_MIN)
    for name, last_us in zip(("control", "candidate"), scene.live.last_us, strict=True):
        if name == "control" and scene.step.share == 1:
            continue
        silent_us = scene.now_us - max(last_us, scene.standing.step_began_us)
        if silent_us > silence_us:
            doubts.append(f"no call of the {name} came for {lasting(silent_us)}")
    return doubts


def _missing(scene: Scene) -> list[str]:
    """Return what the step still waits for."""
    step, missing = scene.step, []
    lasted_us = scene.now_us - scene.standing.step_began_us
    if lasted_us < step.minimum_time_us:
        missing.append(f"the step lasts for {lasting(lasted_us)} of {lasting(step.minimum_time_us)}")
    if step.minimum_units or step.proven:
        control, candidate = (0, 0) if scene.outcomes is None else scene.outcomes.matured
        least = candidate if step.share == 1 else min(control, candidate)
        if least < step.minimum_units:
            missing.append(
                f"{control} units of the control and {candidate} of the candidate have an outcome in this step; "
                f"{step.minimum_units} are needed"
            )
    if step.proven:
        unproven = ("the outcomes were not looked at yet",) if scene.outcomes is None else scene.outcomes.unproven
        missing += [f"not shown to hold yet: {each}" for each in unproven]
    if step.approval and not scene.standing.approved:
        missing.append(f"step {scene.standing.step} waits to be approved")
    return missing


def _forward(scene: Scene) -> Action:
    return Action.COMPLETE if scene.standing.step == len(scene.ramp.steps) else Action.ADVANCE


def _met(scene: Scene) -> list[str]:
    """Return what the step has come to."""
    lasted_us = scene.now_us - scene.standing.step_began_us
    said = [f"the step lasted for {lasting(lasted_us)}"]
    if scene.outcomes is not None:
        control, candidate = scene.outcomes.matured
        said.append(f"{control} units of the control and {candidate} of the candidate have an outcome in it")
        said += scene.outcomes.holding
    return said + [each.sentence for each in scene.live.readings]
