"""What changes a ramp, in the caller's transaction: the step, the split and the evidence, together or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments import life, records
from experiments.allocation import moved_share, reshape
from experiments.bucketing import BUCKETS
from experiments.changes import move, named_shares, open_epoch, record, set_shares
from experiments.definition import State, ramped_shares
from experiments.errors import ExperimentStateError, RampInvalidError, RampMissingError, RampMovedError
from experiments.ramp import rows
from experiments.ramp.standing import RampEventKind, following

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from experiments.definition import Experiment
    from experiments.ramp.definition import Ramp
    from experiments.ramp.standing import Grounds, Standing


def ramp_of(experiment: Experiment) -> Ramp:
    """Return the experiment's ramp, or raise RampMissingError."""
    if experiment.ramp is None:
        raise RampMissingError(f"the experiment {experiment.id!r} has no ramp", experiment=experiment.id)
    return experiment.ramp


def begin(tx: Connection, experiment_id: str, *, actor: str, now_us: int) -> records.Changed:
    """Begin the ramp of an experiment that was started without one, at the first step, and return the experiment.

    Nobody who has the candidate loses it, and nobody leaves the experiment: where the coverage is more than a step's
    two slices, the control keeps the rest.

    Raises
    ------
    RampInvalidError
        It has none, or its first step would take the candidate from somebody who has it.
    ExperimentStateError
        It was not started: its ramp begins with it.
    """
    experiment = records.get(tx, experiment_id)
    ramp, present = experiment.ramp, experiment.allocation
    if ramp is None:
        raise RampInvalidError("a ramp of a started experiment is not taken off: abort it, or let it come to its end")
    if present is None:
        raise ExperimentStateError(f"{experiment_id!r} is {experiment.state}: its ramp begins when it is started")
    coverage, shares = ramped_shares(experiment, ramp.steps[0].share)
    after = reshape(present, coverage=coverage, shares=shares)
    place = experiment.variants.index(experiment.treatments[0])
    had, gets = present.counts()[place], after.counts()[place]
    if gets < had:
        raise RampInvalidError(
            f"the candidate has {had / BUCKETS:.4g} of the units, and the ramp's first step gives it "
            f"{gets / BUCKETS:.4g}: a ramp takes it from nobody; begin with as much as it has"
        )
    revision = record(
        tx,
        experiment_id,
        "ramp_started",
        actor=actor,
        now_us=now_us,
        before={"coverage": experiment.coverage, "shares": named_shares(experiment)},
        after={"coverage": coverage, "shares": dict(zip(named_shares(experiment), shares, strict=True))},
    )
    set_shares(tx, experiment_id, shares)
    move(tx, experiment_id, state=experiment.state, etag=revision, epoch=after.epoch, coverage=coverage)
    moved = moved_share(present, after)
    open_epoch(tx, experiment_id, after, moved=moved, revision=revision, now_us=now_us)
    rows.begin(tx, experiment_id, revision=revision, now_us=now_us, actor=actor)
    return records.Changed(records.get(tx, experiment_id), revision, moved)


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
    after = reshape(experiment.allocation, coverage=coverage, shares=shares)
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


def _unchanged(tx: Connection, seen: Standing, etag: str) -> Experiment:
    experiment = records.get(tx, seen.experiment)
    if experiment.etag != etag:
        raise RampMovedError(
            f"{seen.experiment!r} has changed since it was looked at: its etag is {experiment.etag}, not {etag}",
            experiment=seen.experiment,
        )
    return experiment
