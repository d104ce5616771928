"""How a change of an experiment is written: the audit, the row, the etag, the epoch.

What the functions that change experiments share; they check what they do before they call these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from experiments import tables
from experiments.errors import ExperimentChangedError
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from experiments.allocation import Allocation
    from experiments.definition import Experiment, State


def check_etag(experiment: Experiment, etag: str) -> None:
    """Raise ExperimentChangedError when the caller has seen another etag; an empty one is not compared."""
    if etag and etag != experiment.etag:
        raise ExperimentChangedError(
            f"{experiment.id!r} has changed since you looked: its etag is {experiment.etag}, not {etag[:80]}",
            experiment=experiment.id,
            etag=experiment.etag,
            asked_etag=etag[:80],
        )


def named_shares(experiment: Experiment) -> dict[str, float]:
    """Return each variant's share."""
    return {each.variant: each.share for each in experiment.variants}


def record(
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
    """Note the change in the audit, with the model that it is of, and return its revision."""
    model = tx.execute(select(tables.experiments.c.model).where(tables.experiments.c.id == experiment_id)).scalar()
    if model is not None:  # a new one says it itself
        detail["model"] = f"models/{model}"
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


def move(tx: Connection, experiment_id: str, *, state: State, etag: int, **values: object) -> None:
    """Write the state and what else changed; the revision of the change becomes the etag."""
    tx.execute(
        update(tables.experiments)
        .where(tables.experiments.c.id == experiment_id)
        .values({"state": state.value, "etag": str(etag), **values})
    )


def set_shares(tx: Connection, experiment_id: str, shares: Sequence[float]) -> None:
    """Write the shares, in the order of the variants."""
    arm = tables.experiment_variants
    for position, share in enumerate(shares):
        tx.execute(update(arm).where(arm.c.experiment == experiment_id, arm.c.position == position).values(share=share))


def open_epoch(
    tx: Connection, experiment_id: str, allocation: Allocation, *, moved: float, revision: int, now_us: int
) -> None:
    """Keep a split that is in force from now on."""
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
