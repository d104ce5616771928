"""The verbs that move an experiment from one state to the next; the table of them is `experiments.lifecycle`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete as sql_delete
from sqlalchemy import select

from experiments import tables
from experiments.allocation import allocate
from experiments.changes import check_etag, move, named_shares, open_epoch, record
from experiments.errors import ModelBusyError
from experiments.lifecycle import Verb, next_state
from experiments.lifecycle import move as leads_to
from experiments.records import Changed, get

if TYPE_CHECKING:
    from sqlalchemy import Connection

HOLDING = ("running", "paused")
"""The states in which an experiment keeps its units from others."""


def start(tx: Connection, experiment_id: str, *, actor: str, now_us: int) -> Changed:
    """Begin to assign units and return the experiment.

    Raises
    ------
    ExperimentMissingError, ExperimentStateError
        There is none, or it is not a draft.
    ModelBusyError
        Another experiment, running or paused, has the model's units.
    """
    experiment = get(tx, experiment_id)
    state = next_state(experiment, Verb.START)
    query = select(tables.experiments.c.id).where(
        tables.experiments.c.model == experiment.model, tables.experiments.c.state.in_(HOLDING)
    )
    other = tx.execute(query).scalar()
    if other is not None:
        raise ModelBusyError(
            f"the experiment {other!r} has the units of the model {experiment.model!r}: conclude it first",
            experiment=other,
            model=experiment.model,
        )
    allocation = allocate(experiment.shares, coverage=experiment.coverage)
    revision = record(
        tx,
        experiment_id,
        "started",
        actor=actor,
        now_us=now_us,
        before={"state": experiment.state.value},
        after={"state": state.value},
        shares=named_shares(experiment),
    )
    move(tx, experiment_id, state=state, etag=revision, epoch=allocation.epoch, started_us=now_us)
    open_epoch(tx, experiment_id, allocation, moved=0.0, revision=revision, now_us=now_us)
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
