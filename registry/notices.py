"""Deliveries to channels: several changes in one message, seldom enough, and the same not again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select, update

from registry import tables
from registry.deliveries import DELIVERED, PENDING, Delivery, is_as_read
from storage.revision import change_of
from storage.schema import changes

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from storage.revision import Change

TOGETHER_MAX = 50
"""How many changes are told in one message at most."""
TOLD_MAX = 2_000

_table = tables.webhook_deliveries


class Waiting(NamedTuple):
    """A delivery that waits, and what it tells of."""

    delivery: Delivery
    change: Change


class Told(NamedTuple):
    """What was told, and when the message left."""

    time_us: int
    change: Change


def waiting(tx: Connection, head: Delivery) -> list[Waiting]:
    """Return what may go together with the delivery whose turn it is, itself first; the oldest first."""
    query = (
        select(changes, *_table.c)
        .join(_table, changes.c.revision == _table.c.revision)
        .where(
            _table.c.webhook == head.webhook,
            _table.c.lane == head.lane,
            _table.c.state == PENDING,
            _table.c.revision >= head.revision,
        )
        .order_by(_table.c.revision)
        .limit(TOGETHER_MAX)
    )
    rows: list[Any] = list(tx.execute(query))
    return [
        Waiting(Delivery(**{name: getattr(row, name) for name in Delivery.__slots__}), change_of(row)) for row in rows
    ]


def told(tx: Connection, webhook_id: str, *, since_us: int) -> list[Told]:
    """Return what a channel was told since a moment, the newest first; not what was held back as told before."""
    query = (
        select(changes, _table.c.attempt_us)
        .join(_table, changes.c.revision == _table.c.revision)
        .where(
            _table.c.webhook == webhook_id,
            _table.c.state == DELIVERED,
            _table.c.error == "",
            _table.c.attempt_us > since_us,
        )
        .order_by(_table.c.attempt_us.desc())
        .limit(TOLD_MAX)
    )
    return [Told(row.attempt_us, change_of(row)) for row in tx.execute(query)]


def postpone(tx: Connection, delivery: Delivery, *, due_us: int) -> None:
    """Let a delivery wait until then; that counts as no attempt."""
    tx.execute(update(_table).where(is_as_read(delivery)).values(due_us=due_us))


def hold_back(tx: Connection, delivery: Delivery, why: str, *, now_us: int) -> None:
    """Be done with a delivery without a message."""
    tx.execute(
        update(_table)
        .where(is_as_read(delivery))
        .values(state=DELIVERED, attempt_us=now_us, due_us=0, status_code=0, error=why)
    )
