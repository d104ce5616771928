"""Which gateways there are: each says now and then that it is there, by the database's time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from storage.leases import database_now_us
from storage.schema import gateways

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

EXPIRY_US = 20_000_000
"""Who has said nothing for so long is taken for dead."""
FORGOTTEN_US = 7 * 86_400_000_000
"""Who has said nothing for so long is not told of any more."""


@dataclass(frozen=True, slots=True)
class Presence:
    """A gateway, as it described itself when it was last heard of.

    Attributes
    ----------
    name
        Its name, for good.
    state
        What it said of itself.
    started_us, seen_us
        When its process began, and when it was last heard of, by the database's time.
    stopped
        Whether it said that it stops.
    alive
        Whether it has not stopped and was heard of lately.
    """

    name: str
    state: Mapping[str, Any]
    started_us: int
    seen_us: int
    stopped: bool
    alive: bool


def beat(tx: Connection, name: str, state: Mapping[str, Any], *, first: bool, stopped: bool = False) -> None:
    """Note that a gateway is there, and what it says of itself.

    Parameters
    ----------
    first
        Whether its process begins.
    stopped
        Whether it ends.
    """
    now_us = database_now_us(tx)
    values = {"state": dict(state), "seen_us": now_us, "stopped": stopped} | ({"started_us": now_us} if first else {})
    if not tx.execute(update(gateways).where(gateways.c.name == name).values(values)).rowcount:
        tx.execute(insert(gateways).values({"name": name, "started_us": now_us} | values))
    if first:
        tx.execute(delete(gateways).where(gateways.c.seen_us < now_us - FORGOTTEN_US))


def list_gateways(tx: Connection) -> list[Presence]:
    """Return the gateways that were heard of within a week, by name."""
    now_us = database_now_us(tx)
    rows = tx.execute(select(gateways).order_by(gateways.c.name)).all()
    return [
        Presence(
            name=row.name,
            state=row.state,
            started_us=row.started_us,
            seen_us=row.seen_us,
            stopped=row.stopped,
            alive=not row.stopped and row.seen_us > now_us - EXPIRY_US,
        )
        for row in rows
        if row.seen_us > now_us - FORGOTTEN_US
    ]
