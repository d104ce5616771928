"""The hold-out of a model: the last places of its layer, which no experiment may hold.

Its units always get the champion, whatever is tried: what all experiments of a model came to together is read off
against them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from experiments import tables
from experiments.bucketing import BUCKETS
from experiments.errors import ExperimentChangedError, ExperimentInvalidError, HoldoutBusyError
from experiments.layer import places_of
from experiments.records import list_holding
from storage.revision import record_change

if TYPE_CHECKING:
    from sqlalchemy import Connection

_PLACE_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Holdout:
    """What is held out of a model.

    Parameters
    ----------
    places
        How many of the 10 000 places, the last ones.
    etag
        What compare-and-set compares; empty where nothing was ever held out.
    """

    model: str
    places: int = 0
    etag: str = ""

    @property
    def share(self) -> float:
        """The part of the model's units."""
        return self.places / BUCKETS


def holdout_of(tx: Connection, model: str) -> Holdout:
    """Return what is held out of the model."""
    found = tables.experiment_holdouts
    row = tx.execute(select(found).where(found.c.model == model)).first()
    return Holdout(model) if row is None else Holdout(model, row.places, str(row.etag))


def set_holdout(
    tx: Connection, model: str, share: float, *, etag: str = "", actor: str, now_us: int
) -> tuple[Holdout, int]:
    """Hold a part of the model's units out of all experiments, and return that and the revision.

    Raises
    ------
    ExperimentInvalidError
        The share is not from 0 to 1 in steps of 0.0001.
    ExperimentChangedError
        It has changed since the caller looked. Nothing was changed.
    HoldoutBusyError
        Experiments, running or paused, hold places that it would take.
    """
    places = places_of(share) if 0 <= share <= 1 else -1
    if places < 0 or abs(share * BUCKETS - places) > _PLACE_TOLERANCE * BUCKETS:
        raise ExperimentInvalidError(f"the hold-out is {share}, not from 0 to 1 in steps of 0.0001")
    before = holdout_of(tx, model)
    if etag and etag != before.etag:
        raise ExperimentChangedError(
            f"the hold-out of {model!r} has changed since you looked: its etag is {before.etag}, not {etag[:80]}",
            model=model,
        )
    for each in list_holding(tx, model):
        if each.layer_first + places_of(each.scope.layer_share) > BUCKETS - places and places:
            raise HoldoutBusyError(
                f"the experiment {each.id!r} holds places that a hold-out of {share:.4g} would take; conclude it first",
                experiment=each.id,
                model=model,
            )
    revision = record_change(
        tx,
        kind="model.held_out",
        resource=f"models/{model}",
        actor=actor,
        detail={"share": share},
        before={"holdout_share": before.share},
        after={"holdout_share": share},
        now_us=now_us,
    )
    found = tables.experiment_holdouts
    tx.execute(delete(found).where(found.c.model == model))
    tx.execute(insert(found).values(model=model, places=places, etag=revision))
    return Holdout(model, places, str(revision)), revision
