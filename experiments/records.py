"""Experiments in the metadata database: created, read, and moved through their lives.

Every function takes the caller's open transaction, so that one transaction may span experiments and models.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from experiments import rows, tables
from experiments.allocation import allocate, check_shares, moved_share, resplit
from experiments.definition import validate
from experiments.errors import (
    ExperimentChangedError,
    ExperimentExistsError,
    ExperimentMissingError,
    ModelBusyError,
    SharesInvalidError,
)
from experiments.lifecycle import Verb, next_state
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from experiments.allocation import Allocation
    from experiments.definition import Experiment, State


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
    revision = _record(
        tx, experiment.id, "created", actor=actor, now_us=now_us, after={"versions": versions}, versions=versions
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


def epochs(tx: Connection, experiment_id: str) -> list[Allocation]:
    """Return every split that was in force, oldest first."""
    return rows.read_epochs(tx, experiment_id)


def start(tx: Connection, experiment_id: str, *, actor: str, now_us: int) -> Changed:
    """Begin to assign units and return the experiment.

    Raises
    ------
    ExperimentMissingError, ExperimentStateError
        There is none, or it is not a draft.
    ModelBusyError
        Another experiment is running on the model: two would fight for the same units.
    """
    experiment = get(tx, experiment_id)
    state = next_state(experiment, Verb.START)
    query = select(tables.experiments.c.id).where(
        tables.experiments.c.model == experiment.model, tables.experiments.c.state == state.value
    )
    other = tx.execute(query).scalar()
    if other is not None:
        raise ModelBusyError(
            f"the experiment {other!r} is running on the model {experiment.model!r}: conclude it first",
            experiment=other,
            model=experiment.model,
        )
    allocation = allocate(experiment.shares, coverage=experiment.coverage)
    revision = _record(
        tx,
        experiment_id,
        "started",
        actor=actor,
        now_us=now_us,
        before={"state": experiment.state.value},
        after={"state": state.value},
        shares=_named_shares(experiment),
    )
    _move(tx, experiment_id, state=state, etag=revision, epoch=allocation.epoch, started_us=now_us)
    _open_epoch(tx, experiment_id, allocation, moved=0.0, revision=revision, now_us=now_us)
    return Changed(get(tx, experiment_id), revision)


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
    experiment = get(tx, experiment_id)
    _check_etag(experiment, etag)
    state = next_state(experiment, Verb.SPLIT)
    ordered = _ordered(experiment, shares)
    check_shares(ordered)
    before = experiment.allocation
    after = allocate(ordered, coverage=experiment.coverage) if before is None else resplit(before, ordered)
    moved = 0.0 if before is None else moved_share(before, after)
    revision = _record(
        tx,
        experiment_id,
        "split",
        actor=actor,
        now_us=now_us,
        before={"shares": _named_shares(experiment)},
        after={"shares": dict(shares)},
        shares=dict(shares),
        was=_named_shares(experiment),
        moved_share=moved,
    )
    for position, share in enumerate(ordered):
        arm = tables.experiment_variants
        tx.execute(update(arm).where(arm.c.experiment == experiment_id, arm.c.position == position).values(share=share))
    if before is None:
        _move(tx, experiment_id, state=state, etag=revision)
    else:
        _move(tx, experiment_id, state=state, etag=revision, epoch=after.epoch)
        _open_epoch(tx, experiment_id, after, moved=moved, revision=revision, now_us=now_us)
    return Changed(get(tx, experiment_id), revision, moved)


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
    revision = _record(
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
    _move(tx, experiment_id, state=state, etag=revision, concluded_us=now_us, winner=winner)
    return Changed(get(tx, experiment_id), revision)


def _check_etag(experiment: Experiment, etag: str) -> None:
    if etag and etag != experiment.etag:
        raise ExperimentChangedError(
            f"{experiment.id!r} has changed since you looked: its etag is {experiment.etag}, not {etag[:80]}",
            experiment=experiment.id,
            etag=experiment.etag,
            asked_etag=etag[:80],
        )


def _ordered(experiment: Experiment, shares: Mapping[str, float]) -> tuple[float, ...]:
    """Return the shares in the order of the variants, or raise when one is missing or of no variant."""
    for name in shares:
        experiment.variant(name)
    missing = [each.variant for each in experiment.variants if each.variant not in shares]
    if missing:
        raise SharesInvalidError(f"no share was given for {', '.join(missing)}; name every variant")
    return tuple(shares[each.variant] for each in experiment.variants)


def _named_shares(experiment: Experiment) -> dict[str, float]:
    return {each.variant: each.share for each in experiment.variants}


def _record(
    tx: Connection,
    experiment_id: str,
    event: str,
    *,
    actor: str,
    now_us: int,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
    **detail: object,
) -> int:
    return record_change(
        tx,
        kind=f"experiment.{event}",
        resource=f"experiments/{experiment_id}",
        actor=actor,
        detail=detail,
        before=before,
        after=after,
        now_us=now_us,
    )


def _move(tx: Connection, experiment_id: str, *, state: State, etag: int, **values: object) -> None:
    """Write the state and what else changed; the revision of the change becomes the etag."""
    tx.execute(
        update(tables.experiments)
        .where(tables.experiments.c.id == experiment_id)
        .values({"state": state.value, "etag": str(etag), **values})
    )


def _open_epoch(
    tx: Connection, experiment_id: str, allocation: Allocation, *, moved: float, revision: int, now_us: int
) -> None:
    tx.execute(
        insert(tables.experiment_epochs).values(
            experiment=experiment_id,
            epoch=allocation.epoch,
            shares=list(allocation.shares),
            runs=[list(run) for run in allocation.runs],
            moved_share=moved,
            revision=revision,
            time_us=now_us,
        )
    )
