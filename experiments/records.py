"""Experiments in the metadata database: created, read, split and updated. `experiments.life` moves their states.

Every function takes the caller's open transaction, so that one transaction may span experiments and models.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select

from experiments import rows, tables
from experiments.allocation import allocate, check_shares, grow, moved_share, resplit
from experiments.changes import check_etag, move, named_shares, open_epoch, record, set_shares
from experiments.definition import validate
from experiments.errors import ExperimentExistsError, ExperimentMissingError, SharesInvalidError
from experiments.lifecycle import Verb, check_editable, next_state
from experiments.ramp.rows import check_free

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Connection

    from experiments.allocation import Allocation
    from experiments.definition import Experiment


@dataclass(frozen=True, slots=True)
class Changed:
    """An experiment after a change, and the revision that holds it.

    Parameters
    ----------
    moved_share
        The part of the experiment's units whose variant the change moved.
    """

    experiment: Experiment
    revision: int
    moved_share: float = 0.0


def create(tx: Connection, experiment: Experiment, *, actor: str, now_us: int) -> Changed:
    """Keep a new draft and return it.

    Parameters
    ----------
    experiment
        The definition, with every version resolved; an empty seed becomes the experiment's id. Its state, epoch, etag,
        times, winner and allocation are not read.

    Raises
    ------
    ExperimentInvalidError, SharesInvalidError, ShareTooSmallError
        The definition breaks a rule.
    ExperimentExistsError
        There is one of that name.
    """
    experiment = replace(experiment, seed=experiment.seed or experiment.id)
    validate(experiment)
    present = tx.execute(select(tables.experiments.c.id).where(tables.experiments.c.id == experiment.id)).first()
    if present is not None:
        raise ExperimentExistsError(f"there is an experiment {experiment.id!r} already", experiment=experiment.id)
    versions = {each.variant: each.version for each in experiment.variants}
    revision = record(
        tx,
        experiment.id,
        "created",
        actor=actor,
        now_us=now_us,
        after={"versions": versions},
        versions=versions,
        model=f"models/{experiment.model}",
    )
    tx.execute(
        insert(tables.experiments).values(
            rows.of_experiment(experiment) | {"etag": str(revision), "created_us": now_us, "created_by": actor}
        )
    )
    tx.execute(insert(tables.experiment_variants), rows.of_variants(experiment))
    tx.execute(insert(tables.experiment_metrics), rows.of_metrics(experiment))
    return Changed(get(tx, experiment.id), revision)


def get(tx: Connection, experiment_id: str) -> Experiment:
    """Return the experiment, or raise ExperimentMissingError."""
    found = rows.read(tx, select(tables.experiments).where(tables.experiments.c.id == experiment_id))
    if not found:
        raise ExperimentMissingError(f"there is no experiment {experiment_id[:80]!r}", experiment=experiment_id[:80])
    return found[0]


def list_page(tx: Connection, *, after: str = "", limit_max: int) -> list[Experiment]:
    """Return at most `limit_max` experiments by id, those whose id comes after `after`."""
    query = select(tables.experiments).where(tables.experiments.c.id > after)
    return rows.read(tx, query.order_by(tables.experiments.c.id).limit(limit_max))


def list_running(tx: Connection) -> list[Experiment]:
    """Return the experiments that assign units, by id."""
    query = select(tables.experiments).where(tables.experiments.c.state == "running")
    return rows.read(tx, query.order_by(tables.experiments.c.id))


def list_holding(tx: Connection, model: str) -> list[Experiment]:
    """Return the experiments that hold units of the model, running or paused, by id."""
    query = select(tables.experiments).where(
        tables.experiments.c.model == model, tables.experiments.c.state.in_(("running", "paused"))
    )
    return rows.read(tx, query.order_by(tables.experiments.c.id))


def epochs(tx: Connection, experiment_id: str) -> list[Allocation]:
    """Return every split that was in force, oldest first."""
    return rows.read_epochs(tx, experiment_id)


def plan_split(
    tx: Connection, experiment_id: str, shares: Mapping[str, float], *, etag: str
) -> tuple[Experiment, Allocation, float]:
    """Return the experiment, what `set_split` would make of its slots, and the part of them that would move.

    Raises as `set_split`.
    """
    experiment = get(tx, experiment_id)
    check_etag(experiment, etag)
    next_state(experiment, Verb.SPLIT)
    check_free(tx, experiment)
    ordered = _ordered(experiment, shares)
    check_shares(ordered)
    before = experiment.allocation
    if before is None:
        return experiment, allocate(ordered, coverage=experiment.coverage), 0.0
    after = resplit(before, ordered)
    return experiment, after, moved_share(before, after)


def set_split(
    tx: Connection, experiment_id: str, shares: Mapping[str, float], *, etag: str = "", actor: str, now_us: int
) -> Changed:
    """Change the shares and return the experiment: a running one moves as few units as can be, in a new epoch.

    Parameters
    ----------
    shares
        The new share of every variant, by name.
    etag
        The etag that the caller has seen; empty: not compared.

    Raises
    ------
    ExperimentMissingError, ExperimentStateError
        There is none, or it is concluded.
    ExperimentChangedError
        It has changed since the caller looked. Nothing was changed.
    SharesInvalidError, ShareTooSmallError, VariantUnknownError
        The shares are not a split of its variants.
    """
    experiment, after, moved = plan_split(tx, experiment_id, shares, etag=etag)
    state = next_state(experiment, Verb.SPLIT)
    before, ordered = experiment.allocation, after.shares
    revision = record(
        tx,
        experiment_id,
        "split",
        actor=actor,
        now_us=now_us,
        before={"shares": named_shares(experiment)},
        after={"shares": dict(shares)},
        shares=dict(shares),
        was=named_shares(experiment),
        moved_share=moved,
    )
    set_shares(tx, experiment_id, ordered)
    if before is None:
        move(tx, experiment_id, state=state, etag=revision)
    else:
        move(tx, experiment_id, state=state, etag=revision, epoch=after.epoch)
        open_epoch(tx, experiment_id, after, moved=moved, revision=revision, now_us=now_us)
    return Changed(get(tx, experiment_id), revision, moved)


def _ordered(experiment: Experiment, shares: Mapping[str, float]) -> tuple[float, ...]:
    """Return the shares in the order of the variants, or raise when one is missing or of no variant."""
    for name in shares:
        experiment.variant(name)
    missing = [each.variant for each in experiment.variants if each.variant not in shares]
    if missing:
        raise SharesInvalidError(f"no share was given for {', '.join(missing)}; name every variant")
    return tuple(shares[each.variant] for each in experiment.variants)


def update(
    tx: Connection, changed: Experiment, fields: Collection[str], *, etag: str, actor: str, now_us: int
) -> Changed:
    """Replace these fields of the experiment with those of `changed`, whose id says which one; return the experiment.

    Parameters
    ----------
    changed
        The new values, with every version resolved; the other fields are not read.
    fields
        Whoever gives a started experiment a ramp begins it in the same transaction, by `experiments.ramp.moves.begin`.
    etag
        The etag that the caller has seen; empty: not compared.

    Raises
    ------
    ExperimentMissingError, ExperimentStateError
        There is none, or nothing of it can be updated any more.
    FieldFixedError
        A field cannot be updated in the experiment's state.
    ExperimentChangedError
        It has changed since the caller looked. Nothing was changed.
    ExperimentInvalidError, SharesInvalidError, ShareTooSmallError
        The new definition breaks a rule, or a started experiment's coverage would shrink.
    RampRunsError
        A ramp goes, and sets the coverage.
    """
    before = get(tx, changed.id)
    check_etag(before, etag)
    state = next_state(before, Verb.UPDATE)
    check_editable(before, fields)
    if {"coverage", "ramp"} & set(fields):
        check_free(tx, before)
    after = replace(before, **{name: getattr(changed, name) for name in fields})
    after = replace(after, seed=after.seed or after.id)
    validate(after)
    allocation = after.allocation
    if allocation is not None and after.coverage != before.coverage:
        allocation = grow(allocation, coverage=after.coverage)
    revision = record(
        tx,
        changed.id,
        "updated",
        actor=actor,
        now_us=now_us,
        before=rows.audited(before, fields),
        after=rows.audited(after, fields),
        fields=sorted(fields),
    )
    move(tx, changed.id, state=state, etag=revision, **rows.defined(after))
    if allocation is not None and allocation != before.allocation:
        move(tx, changed.id, state=state, etag=revision, epoch=allocation.epoch)
        open_epoch(tx, changed.id, allocation, moved=0.0, revision=revision, now_us=now_us)
    for name, table, found in (
        ("variants", tables.experiment_variants, rows.of_variants(after)),
        ("metrics", tables.experiment_metrics, rows.of_metrics(after)),
    ):
        if name in fields:
            tx.execute(sql_delete(table).where(table.c.experiment == changed.id))
            tx.execute(insert(table), found)
    return Changed(get(tx, changed.id), revision)
