"""The life of a run.

    queued ─► running ─► published | deployed | refused | failed
                 └─► deploying ─► deployed | rolled_back | refused | cancelled

A run that waits or is worked on may also be cancelled or superseded. A running one whose trainer is gone stays running:
another trainer claims it and goes on behind the last step that is done. What is over stays so.
"""

from __future__ import annotations

import enum

from trainer.records.errors import RunStateError


class RunState(enum.StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DEPLOYING = "deploying"
    PUBLISHED = "published"
    DEPLOYED = "deployed"
    REFUSED = "refused"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


class Step(enum.StrEnum):
    """The steps of a run, in order."""

    TABLE = "table"
    TRAIN = "train"
    EVALUATE = "evaluate"
    PUBLISH = "publish"
    DEPLOY = "deploy"


_FOLLOWING: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.CANCELLED, RunState.SUPERSEDED}),
    RunState.RUNNING: frozenset(
        {
            RunState.RUNNING,
            RunState.DEPLOYING,
            RunState.PUBLISHED,
            RunState.DEPLOYED,
            RunState.REFUSED,
            RunState.FAILED,
            RunState.CANCELLED,
            RunState.SUPERSEDED,
        }
    ),
    RunState.DEPLOYING: frozenset(
        {RunState.DEPLOYED, RunState.ROLLED_BACK, RunState.REFUSED, RunState.CANCELLED},
    ),
}

OPEN = frozenset(_FOLLOWING)
"""The states of runs that are not over."""

UNTRIED = frozenset({RunState.QUEUED, RunState.RUNNING})
"""The states of runs that have not been given traffic."""

FINISHING = frozenset(
    {RunState.DEPLOYING, RunState.PUBLISHED, RunState.DEPLOYED, RunState.REFUSED, RunState.FAILED},
)
"""What a trainer may say that a run came to."""


def check_move(run: str, present: RunState, wanted: RunState) -> None:
    """Raise RunStateError when a run does not go there from where it stands."""
    if wanted not in _FOLLOWING.get(present, frozenset()):
        raise RunStateError(f"{run} is {present}: it cannot become {wanted}", run=run, state=present.value)
