"""The life of a ramp, as a table.

::

    running <--hold / release--> holding
       |  ^                         |
       | resume / pause             +--- pause ---> paused
       v
    completed        rolled_back, aborted: from running, holding and paused

It begins when its experiment is started. A step forward leaves it running; what is held goes on by itself when the
reason is gone; what is paused, when somebody resumes it. In every state that is not an end a breach rolls it back.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.errors import RampStateError

if TYPE_CHECKING:
    from collections.abc import Mapping


class RampState(enum.StrEnum):
    """Where a ramp stands in its life."""

    RUNNING = "running"
    HOLDING = "holding"
    PAUSED = "paused"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"


class RampEventKind(enum.StrEnum):
    """What happened to a ramp."""

    STARTED = "started"
    ADVANCED = "advanced"
    HELD = "held"
    RELEASED = "released"
    PAUSED = "paused"
    RESUMED = "resumed"
    APPROVED = "approved"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"
    COMPLETED = "completed"


OPEN = frozenset({RampState.RUNNING, RampState.HOLDING, RampState.PAUSED})
"""The states in which the ramp sets the experiment's shares."""

TRANSITIONS: Mapping[tuple[RampState, RampEventKind], RampState] = {
    (RampState.RUNNING, RampEventKind.ADVANCED): RampState.RUNNING,
    (RampState.RUNNING, RampEventKind.HELD): RampState.HOLDING,
    (RampState.HOLDING, RampEventKind.RELEASED): RampState.RUNNING,
    (RampState.RUNNING, RampEventKind.COMPLETED): RampState.COMPLETED,
    (RampState.RUNNING, RampEventKind.PAUSED): RampState.PAUSED,
    (RampState.HOLDING, RampEventKind.PAUSED): RampState.PAUSED,
    (RampState.PAUSED, RampEventKind.RESUMED): RampState.RUNNING,
    **{(state, RampEventKind.APPROVED): state for state in OPEN},
    **{(state, RampEventKind.ROLLED_BACK): RampState.ROLLED_BACK for state in OPEN},
    **{(state, RampEventKind.ABORTED): RampState.ABORTED for state in OPEN},
}


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a ramp is.

    Parameters
    ----------
    experiment
        The experiment's id.
    step, step_began_us
        The number of the present step, from 1, and since when.
    approved
        Whether this step was approved.
    window, window_began_us
        The window of the step in which units are counted, from 1, and since when.
    reasons
        Of the last event.
    etag
        What compare-and-set compares: it changes with every event.
    """

    experiment: str
    state: RampState
    step: int
    step_began_us: int
    approved: bool = False
    window: int = 1
    window_began_us: int = 0
    reasons: tuple[str, ...] = ()
    etag: int = 0


@dataclass(frozen=True, slots=True)
class RampEvent:
    """Something that happened to a ramp, and on what it was decided.

    Parameters
    ----------
    number
        Counts the ramp's events, from 1.
    step
        The step that was in force when it happened; of `advanced` the new one.
    reasons
        A sentence each.
    evidence
        A JSON text of the numbers.
    """

    number: int
    time_us: int
    kind: RampEventKind
    step: int
    reasons: tuple[str, ...]
    evidence: str
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """On what a ramp is changed, by whom and when.

    Parameters
    ----------
    reasons
        A sentence each.
    evidence
        A JSON text of the numbers.
    """

    reasons: tuple[str, ...] = ()
    evidence: str = "{}"
    actor: str
    now_us: int


def following(standing: Standing, kind: RampEventKind) -> RampState:
    """Return the state that the event leads to, or raise RampStateError."""
    found = TRANSITIONS.get((standing.state, kind))
    if found is None:
        raise RampStateError(
            f"the ramp of {standing.experiment!r} is {standing.state.value.replace('_', ' ')}: it cannot be "
            f"{kind.value.replace('_', ' ')} now",
            experiment=standing.experiment,
            state=standing.state,
            event=kind,
        )
    return found
