"""The life of an experiment, as a table.

::

    draft --start--> running <--pause / resume--> paused
                        |                            |
                        +---------- conclude --------+--> concluded --archive--> archived

A draft may be deleted; nothing else is ever. While it is paused its units get the champion, and it keeps its place: no
other experiment takes its units. What is not in the table is refused. Each row is one verb of the contract; nothing
else moves a state. What may be updated in which state is the second table.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from experiments.definition import State
from experiments.errors import ExperimentStateError, FieldFixedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from experiments.definition import Experiment


class Verb(enum.StrEnum):
    """What may be done to an experiment."""

    UPDATE = "update"
    SPLIT = "split"
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    CONCLUDE = "conclude"
    ARCHIVE = "archive"
    DELETE = "delete"


TRANSITIONS: Mapping[tuple[State, Verb], State | None] = {
    (State.DRAFT, Verb.UPDATE): State.DRAFT,
    (State.DRAFT, Verb.SPLIT): State.DRAFT,
    (State.DRAFT, Verb.START): State.RUNNING,
    (State.DRAFT, Verb.DELETE): None,
    (State.RUNNING, Verb.UPDATE): State.RUNNING,
    (State.RUNNING, Verb.SPLIT): State.RUNNING,
    (State.RUNNING, Verb.PAUSE): State.PAUSED,
    (State.RUNNING, Verb.CONCLUDE): State.CONCLUDED,
    (State.PAUSED, Verb.UPDATE): State.PAUSED,
    (State.PAUSED, Verb.SPLIT): State.PAUSED,
    (State.PAUSED, Verb.RESUME): State.RUNNING,
    (State.PAUSED, Verb.CONCLUDE): State.CONCLUDED,
    (State.CONCLUDED, Verb.UPDATE): State.CONCLUDED,
    (State.CONCLUDED, Verb.ARCHIVE): State.ARCHIVED,
}
"""Where each verb leads; None: the experiment is gone."""

_WORDS = frozenset({"description", "owner"})
_GROWS = frozenset({"coverage", "ramp"})
# What is measured is settled once it was started; the coverage may grow, which adds units and moves none, and a ramp
# may be set, which begins with that.
_DEFINED = frozenset({"variants", "coverage", "seed", "metrics", "alpha", "minimum_units", "plan", "scope", "ramp"})

EDITABLE: Mapping[State, AbstractSet[str]] = {
    State.DRAFT: _WORDS | _DEFINED,
    State.RUNNING: _WORDS | _GROWS,
    State.PAUSED: _WORDS | _GROWS,
    State.CONCLUDED: _WORDS,
    State.ARCHIVED: frozenset(),
}
"""The fields that an update may replace. What is measured and how it is judged is settled before anyone looks."""


def move(experiment: Experiment, verb: Verb) -> State | None:
    """Return the state that the verb leads to, None when the experiment is gone; or raise ExperimentStateError."""
    if (experiment.state, verb) not in TRANSITIONS:
        allowed = [each.value for state, each in TRANSITIONS if state is experiment.state]
        raise ExperimentStateError(
            f"{experiment.id!r} is {experiment.state}: it cannot {verb}; it can {' or '.join(allowed) or 'do nothing'}",
            experiment=experiment.id,
            state=experiment.state,
            verb=verb,
        )
    return TRANSITIONS[experiment.state, verb]


def next_state(experiment: Experiment, verb: Verb) -> State:
    """Return the state that the verb, which does not end the experiment, leads to; or raise ExperimentStateError."""
    following = move(experiment, verb)
    if following is None:
        raise ValueError(f"{verb} leads to no state")
    return following


def check_editable(experiment: Experiment, fields: Iterable[str]) -> None:
    """Raise FieldFixedError when one of the fields cannot be replaced in the experiment's state."""
    editable = EDITABLE[experiment.state]
    for field in fields:
        if field not in editable:
            raise FieldFixedError(
                f"{field[:80]!r} of a {experiment.state} experiment cannot be updated; "
                f"{', '.join(sorted(editable)) or 'nothing'} can",
                experiment=experiment.id,
                state=experiment.state,
                field=field[:80],
            )
