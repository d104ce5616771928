"""What changes a ramp, in the caller's transaction: the step, the split and the evidence, together or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from experiments import life, records
from experiments.allocation import grow, moved_share, resplit
from experiments.bucketing import BUCKETS
from experiments.changes import move, open_epoch, set_shares
from experiments.definition import State, ramped_shares
from experiments.errors import ExperimentStateError, RampMissingError, RampMovedError
from experiments.ramp import rows
from experiments.ramp.standing import RampEventKind, following

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from experiments.allocation import Allocation
    from experiments.definition import Experiment
    from experiments.ramp.definition import Ramp
    from experiments.ramp.standing import Grounds, Standing


def ramp_of(experiment: Experiment) -> Ramp:
    """Return the experiment's ramp, or raise RampMissingError."""
    if experiment.ramp is None:
        raise RampMissingError(f"the experiment {experiment.id!r} has no ramp", experiment=experiment.id)
    return experiment.ramp


def advance(tx: Connection, seen: Standing, grounds: Grounds, *, etag: str) -> int:
    """Go to the next step and return the revision.

    Parameters
    ----------
    seen, etag
        Where the ramp stood, and the experiment's etag, when it was decided.

    Raises
    ------
    RampMovedError
        The ramp or its experiment has changed since. Nothing was changed.
    """
    following(seen, RampEventKind.ADVANCED)
    experiment = _unchanged(tx, seen, etag)
    if experiment.state is not State.RUNNING or experiment.allocation is None:
        raise ExperimentStateError(f"{experiment.id!r} is {experiment.state}: its ramp cannot advance")
    coverage, shares = ramped_shares(experiment, ramp_of(experiment).steps[seen.step].share)
    after = split_for(experiment.allocation, coverage, shares)
    revision = rows.note(tx, seen, RampEventKind.ADVANCED, grounds)
    set_shares(tx, experiment.id, shares)
    move(tx, experiment.id, state=experiment.state, etag=revision, epoch=after.epoch, coverage=coverage)
    moved = moved_share(experiment.allocation, after)
    open_epoch(tx, experiment.id, after, moved=moved, revision=revision, now_us=grounds.now_us)
    return revision


def end(tx: Connection, seen: Standing, kind: RampEventKind, grounds: Grounds) -> records.Changed:
    """Take the candidate away for good: the experiment is concluded without a winner, and its units get the champion.

    Parameters
    ----------
    kind
        `rolled_back` or `aborted`.

    Raises
    ------
    RampMovedError, RampStateError
        The ramp has changed since it was seen, or is over.
    """
    rows.note(tx, seen, kind, grounds)
    reason = "; ".join(grounds.reasons)
    return life.conclude(tx, seen.experiment, reason=reason, actor=grounds.actor, now_us=grounds.now_us)


def complete(tx: Connection, seen: Standing, grounds: Grounds, *, etag: str) -> records.Changed:
    """End the ramp after its last step; one that came to 1 concludes the experiment with the candidate as the winner.

    Raises as `advance` does.
    """
    experiment = _unchanged(tx, seen, etag)
    revision = rows.note(tx, seen, RampEventKind.COMPLETED, grounds)
    if ramp_of(experiment).steps[-1].share < 1:
        return records.Changed(experiment, revision)
    winner, reason = experiment.treatments[0].variant, "; ".join(grounds.reasons)
    return life.conclude(tx, experiment.id, winner=winner, reason=reason, actor=grounds.actor, now_us=grounds.now_us)


def split_for(present: Allocation, coverage: float, shares: Sequence[float]) -> Allocation:
    """Return the next epoch's slots: while the arms stay even they only grow, and nobody moves."""
    after = present
    if coverage * BUCKETS > sum(present.counts()):
        after = grow(present, coverage=coverage)
    if tuple(shares) != present.shares:
        after = resplit(after, shares)
    return replace(after, epoch=present.epoch + 1)


def _unchanged(tx: Connection, seen: Standing, etag: str) -> Experiment:
    experiment = records.get(tx, seen.experiment)
    if experiment.etag != etag:
        raise RampMovedError(
            f"{seen.experiment!r} has changed since it was looked at: its etag is {experiment.etag}, not {etag}",
            experiment=seen.experiment,
        )
    return experiment
