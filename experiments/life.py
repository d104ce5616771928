"""The verbs that move an experiment from one state to the next; the table of them is `experiments.lifecycle`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete as sql_delete

from experiments import tables
from experiments.allocation import allocate
from experiments.bucketing import BUCKETS
from experiments.changes import check_etag, move, named_shares, open_epoch, record, set_shares
from experiments.definition import ramped_shares
from experiments.errors import ModelBusyError
from experiments.holdout import holdout_of
from experiments.layer import free_run, places_of
from experiments.lifecycle import Verb, next_state
from experiments.lifecycle import move as leads_to
from experiments.ramp import rows as ramp_rows
from experiments.ramp.standing import OPEN, Grounds, RampEventKind
from experiments.records import Changed, get, list_holding

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from experiments.definition import Experiment


def start(tx: Connection, experiment_id: str, *, actor: str, now_us: int) -> Changed:
    """Begin to assign units and return the experiment.

    Raises
    ------
    ExperimentMissingError, ExperimentStateError
        There is none, or it is not a draft.
    ModelBusyError
        Other experiments, running or paused, hold so many of the model's units, or force one of its forced units.
    """
    experiment = get(tx, experiment_id)
    state = next_state(experiment, Verb.START)
    layer_first = _place(
        experiment, list_holding(tx, experiment.model), held_out=holdout_of(tx, experiment.model).places
    )
    coverage, shares = experiment.coverage, experiment.shares
    if experiment.ramp is not None:
        coverage, shares = ramped_shares(experiment, experiment.ramp.steps[0].share)
    allocation = allocate(shares, coverage=coverage)
    revision = record(
        tx,
        experiment_id,
        "started",
        actor=actor,
        now_us=now_us,
        before={"state": experiment.state.value},
        after={"state": state.value},
        shares={each.variant: share for each, share in zip(experiment.variants, shares, strict=True)},
    )
    move(
        tx,
        experiment_id,
        state=state,
        etag=revision,
        epoch=allocation.epoch,
        started_us=now_us,
        layer_first=layer_first,
        coverage=coverage,
    )
    open_epoch(tx, experiment_id, allocation, moved=0.0, revision=revision, now_us=now_us)
    if experiment.ramp is not None:
        set_shares(tx, experiment_id, shares)
        ramp_rows.begin(tx, experiment_id, revision=revision, now_us=now_us)
    return Changed(get(tx, experiment_id), revision)


def conclude(
    tx: Connection, experiment_id: str, *, winner: str = "", reason: str = "", actor: str, now_us: int
) -> Changed:
    """End the experiment and return it.

    Parameters
    ----------
    winner
        The variant that won; empty: none.

    Raises
    ------
    ExperimentMissingError, ExperimentStateError
        There is none, or it is not running.
    VariantUnknownError
        The winner is none of its variants.
    """
    experiment = get(tx, experiment_id)
    state = next_state(experiment, Verb.CONCLUDE)
    if winner:
        experiment.variant(winner)
    ramp = ramp_rows.find_standing(tx, experiment_id)
    if ramp is not None and ramp.state in OPEN:
        said = (reason or "the experiment was concluded",)
        grounds = Grounds(reasons=said, actor=actor, now_us=now_us)
        ramp_rows.note(tx, ramp, RampEventKind.ABORTED, grounds)
    revision = record(
        tx,
        experiment_id,
        "concluded",
        actor=actor,
        now_us=now_us,
        before={"state": experiment.state.value},
        after={"state": state.value, "winner": winner},
        winner=winner,
        reason=reason,
    )
    move(tx, experiment_id, state=state, etag=revision, concluded_us=now_us, winner=winner)
    return Changed(get(tx, experiment_id), revision)


def pause(tx: Connection, experiment_id: str, *, reason: str = "", actor: str, now_us: int) -> Changed:
    """Assign nobody until it is resumed, and return the experiment; raises as `archive` does."""
    return _pass(tx, experiment_id, Verb.PAUSE, "paused", reason=reason, actor=actor, now_us=now_us)


def resume(tx: Connection, experiment_id: str, *, reason: str = "", actor: str, now_us: int) -> Changed:
    """Assign units again, each its variant of before, and return the experiment; raises as `archive` does."""
    return _pass(tx, experiment_id, Verb.RESUME, "resumed", reason=reason, actor=actor, now_us=now_us)


def archive(tx: Connection, experiment_id: str, *, reason: str = "", actor: str, now_us: int) -> Changed:
    """Close the experiment to every change and return it.

    Raises
    ------
    ExperimentMissingError, ExperimentStateError
        There is none, or its state does not allow this.
    """
    return _pass(tx, experiment_id, Verb.ARCHIVE, "archived", reason=reason, actor=actor, now_us=now_us)


def delete(tx: Connection, experiment_id: str, *, etag: str = "", actor: str, now_us: int) -> int:
    """Forget a draft and return the revision; the audit keeps what it was.

    Raises
    ------
    ExperimentMissingError, ExperimentStateError
        There is none, or it is not a draft.
    ExperimentChangedError
        It has changed since the caller looked. Nothing was changed.
    """
    experiment = get(tx, experiment_id)
    check_etag(experiment, etag)
    leads_to(experiment, Verb.DELETE)
    before = {"state": experiment.state.value, "model": experiment.model, "shares": named_shares(experiment)}
    revision = record(tx, experiment_id, "deleted", actor=actor, now_us=now_us, before=before)
    for table in (tables.experiment_variants, tables.experiment_metrics):
        tx.execute(sql_delete(table).where(table.c.experiment == experiment_id))
    tx.execute(sql_delete(tables.experiments).where(tables.experiments.c.id == experiment_id))
    return revision


def _place(experiment: Experiment, others: list[Experiment], *, held_out: int) -> int:
    """Return the first of the places in the layer that the experiment gets, or raise ModelBusyError."""
    for other in others:
        both = sorted(other.scope.forced.keys() & experiment.scope.forced.keys())
        if both:
            raise ModelBusyError(
                f"the experiment {other.id!r} forces the unit {both[0][:80]!r} too: a unit is in one experiment",
                experiment=other.id,
                model=experiment.model,
            )
    taken = [(other.layer_first, places_of(other.scope.layer_share)) for other in others]
    taken.append((BUCKETS - held_out, held_out))
    wanted = places_of(experiment.scope.layer_share)
    first, longest = free_run(taken, wanted)
    if longest < wanted:
        holding = [other.id for other in others] + ["its hold-out"] * bool(held_out)
        raise ModelBusyError(
            f"{', '.join(holding)} hold units of the "
            f"model {experiment.model!r}: {longest / BUCKETS:.4g} of them are free in one piece, and a layer_share of "
            f"{experiment.scope.layer_share:.4g} is wanted; conclude one first, or ask for less",
            model=experiment.model,
        )
    return first


def _pass(
    tx: Connection, experiment_id: str, verb: Verb, event: str, *, reason: str, actor: str, now_us: int
) -> Changed:
    experiment = get(tx, experiment_id)
    state = next_state(experiment, verb)
    revision = record(
        tx,
        experiment_id,
        event,
        actor=actor,
        now_us=now_us,
        before={"state": experiment.state.value},
        after={"state": state.value},
        reason=reason,
    )
    move(tx, experiment_id, state=state, etag=revision)
    return Changed(get(tx, experiment_id), revision)
