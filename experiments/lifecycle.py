"""The life of an experiment, as a table.

``draft --start--> running --conclude--> concluded``; the shares may be changed while it is a draft or runs. What is not
in the table is refused. Each row is one verb of the contract; nothing else moves a state.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from experiments.definition import State
from experiments.errors import ExperimentStateError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from experiments.definition import Experiment


class Verb(enum.StrEnum):
    """What may be done to an experiment."""

    START = "start"
    SPLIT = "split"
    CONCLUDE = "conclude"


TRANSITIONS: Mapping[tuple[State, Verb], State] = {
    (State.DRAFT, Verb.SPLIT): State.DRAFT,
    (State.DRAFT, Verb.START): State.RUNNING,
    (State.RUNNING, Verb.SPLIT): State.RUNNING,
    (State.RUNNING, Verb.CONCLUDE): State.CONCLUDED,
}


def next_state(experiment: Experiment, verb: Verb) -> State:
    """Return the state that the verb leads to, or raise ExperimentStateError."""
    following = TRANSITIONS.get((experiment.state, verb))
    if following is None:
        allowed = [each.value for state, each in TRANSITIONS if state is experiment.state]
        raise ExperimentStateError(
            f"{experiment.id!r} is {experiment.state}: it cannot {verb}; it can {' or '.join(allowed) or 'do nothing'}",
            experiment=experiment.id,
            state=experiment.state,
            verb=verb,
        )
    return following
