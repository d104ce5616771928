"""The verdicts that were reached, one row a look: kept for good, so that they can be computed again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from experiments import tables

if TYPE_CHECKING:
    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the data of an experiment.

    Parameters
    ----------
    look
        Counts them, from 1.
    time_us
        The gateway's time.
    recommendation
        What was said.
    digest, basis, outcome
        The verdict: what it was made of, what was made, and the sha256 of both.
    """

    look: int
    time_us: int
    recommendation: str
    digest: str
    basis: str
    outcome: str


def last_look(tx: Connection, experiment_id: str) -> Look | None:
    """Return the newest look; None when nobody has looked."""
    found = tables.experiment_looks
    query = select(found).where(found.c.experiment == experiment_id).order_by(found.c.look.desc()).limit(1)
    row = tx.execute(query).first()
    return None if row is None else Look(**{name: getattr(row, name) for name in Look.__slots__})


def page_of_looks(tx: Connection, experiment_id: str, *, after: int, limit_max: int, spread_max: int) -> list[Look]:
    """Return at most `limit_max` looks above a number, oldest first.

    Parameters
    ----------
    spread_max
        Only about so many of all of them, evenly spread, the first and the last among them; 0: all.
    """
    found = tables.experiment_looks
    query = select(found).where(found.c.experiment == experiment_id, found.c.look > after)
    last = last_look(tx, experiment_id)
    if spread_max and last is not None and last.look > spread_max:
        steps = max(spread_max - 1, 1)
        chosen = sorted({last.look - round((last.look - 1) * step / steps) for step in range(spread_max)})
        query = query.where(found.c.look.in_([number for number in chosen if number > after][:limit_max]))
    query = query.order_by(found.c.look).limit(limit_max)
    return [Look(**{name: getattr(row, name) for name in Look.__slots__}) for row in tx.execute(query)]


def read_looks(tx: Connection, experiment_id: str, *, look: int = 0) -> list[Look]:
    """Return one look, or all of them, oldest first."""
    found = tables.experiment_looks
    query = select(found).where(found.c.experiment == experiment_id).order_by(found.c.look)
    if look:
        query = query.where(found.c.look == look)
    return [Look(**{name: getattr(row, name) for name in Look.__slots__}) for row in tx.execute(query)]


def keep_look(tx: Connection, experiment_id: str, look: Look) -> None:
    """Keep a look."""
    row = {name: getattr(look, name) for name in Look.__slots__}
    tx.execute(insert(tables.experiment_looks).values(experiment=experiment_id, **row))
