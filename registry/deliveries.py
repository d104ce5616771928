"""Deliveries: each change on its way to each webhook that hears of it.

The table of changes is the outbox: a change is in it by the very transaction that made it, so nothing more is written
then. Whoever delivers follows it with a cursor for each webhook. Writers exclude one another, so revisions are
committed in their order and nothing appears behind a cursor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, func, insert, or_, select, update

from registry import tables
from registry.errors import DeliveryMissingError
from registry.webhooks import get_webhook, list_webhooks
from storage.revision import current_revision
from storage.schema import changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row, Select

    from registry.webhooks import Webhook

DERIVED_MAX = 500
"""How many changes are made into deliveries in one transaction."""
KEPT_US = 7 * 86_400_000_000
"""For how long deliveries are kept that are done."""
DUE_MAX = 1000
ERROR_CHARACTERS_MAX = 256

PENDING, DELIVERED, DEAD = "pending", "delivered", "dead"

_table = tables.webhook_deliveries


@dataclass(frozen=True, slots=True)
class Delivery:
    """One change on its way to one webhook."""

    webhook: str
    revision: int
    kind: str
    resource: str
    lane: str
    state: str
    attempts: int
    due_us: int
    attempt_us: int
    status_code: int
    error: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt went.

    Attributes
    ----------
    status_code
        The status of the answer; 0 when there was none.
    error
        What went wrong; empty when the receiver took the event.
    """

    status_code: int
    error: str = ""

    @property
    def delivered(self) -> bool:
        """Whether the receiver took the event."""
        return not self.error


def is_behind(tx: Connection) -> bool:
    """Return whether a webhook that is not paused has not seen the newest change."""
    query = select(tables.webhooks.c.id).where(
        tables.webhooks.c.paused.is_(False), tables.webhooks.c.cursor_revision < current_revision(tx)
    )
    return tx.execute(query.limit(1)).first() is not None


def derive(tx: Connection, *, now_us: int) -> None:
    """Make the next changes into deliveries, for every webhook that is not paused."""
    newest = current_revision(tx)
    for webhook in list_webhooks(tx):
        if not webhook.paused and webhook.cursor_revision < newest:
            _derive_one(tx, webhook, newest, now_us)
    gone = _table.c.attempt_us < now_us - KEPT_US
    tx.execute(delete(_table).where(_table.c.state == DELIVERED, gone))


def due(tx: Connection, *, now_us: int) -> list[Delivery]:
    """Return what is to be attempted now: of each webhook and lane the oldest that is pending, if it is due."""
    query = _heads(_selected()).where(_table.c.due_us <= now_us).order_by(_table.c.due_us).limit(DUE_MAX)
    return [_delivery(row) for row in tx.execute(query)]


def next_due_us(tx: Connection, *, after_us: int) -> int | None:
    """Return when the next is to be attempted that is not due yet; None: nothing waits."""
    query = _heads(select(func.min(_table.c.due_us)).select_from(_table)).where(_table.c.due_us > after_us)
    found: int | None = tx.execute(query).scalar_one()
    return found


def still_stands(tx: Connection, delivery: Delivery) -> bool:
    """Return whether the delivery waits as it did when it was read: nobody attempted it since."""
    return tx.execute(select(_table.c.revision).where(is_as_read(delivery))).first() is not None


def is_as_read(delivery: Delivery) -> ColumnElement[bool]:
    """Return what is true of a delivery while nobody attempted it since it was read."""
    return and_(
        _table.c.webhook == delivery.webhook,
        _table.c.revision == delivery.revision,
        _table.c.state == PENDING,
        _table.c.attempts == delivery.attempts,
    )


def settle(
    tx: Connection, delivery: Delivery, outcome: Outcome, *, attempts_max: int, pause_us: int, now_us: int
) -> None:
    """Write down how an attempt went: delivered, to be tried again after a pause, or given up.

    Nothing is written where somebody else attempted it meanwhile, or it is to be redelivered: then it comes again.
    """
    attempts = delivery.attempts + 1
    state = DELIVERED if outcome.delivered else DEAD if attempts >= attempts_max else PENDING
    tx.execute(
        update(_table)
        .where(is_as_read(delivery))
        .values(
            state=state,
            attempts=attempts,
            due_us=now_us + pause_us if state == PENDING else 0,
            attempt_us=now_us,
            status_code=outcome.status_code,
            error=outcome.error[:ERROR_CHARACTERS_MAX],
        )
    )


def list_deliveries(
    tx: Connection, webhook_id: str, *, state: str = "", before: int | None = None, limit_max: int
) -> list[Delivery]:
    """Return deliveries of a webhook, newest first, or raise WebhookMissingError."""
    get_webhook(tx, webhook_id)
    query = _selected().where(_table.c.webhook == webhook_id).order_by(_table.c.revision.desc()).limit(limit_max)
    if state:
        query = query.where(_table.c.state == state)
    if before is not None:
        query = query.where(_table.c.revision < before)
    return [_delivery(row) for row in tx.execute(query)]


def counts(tx: Connection, webhook_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Return how many deliveries of each webhook are in each state."""
    query = (
        select(_table.c.webhook, _table.c.state, func.count())
        .where(_table.c.webhook.in_(webhook_ids))
        .group_by(_table.c.webhook, _table.c.state)
    )
    found: dict[str, dict[str, int]] = {webhook: {} for webhook in webhook_ids}
    for webhook, state, count in tx.execute(query):
        found[webhook][state] = count
    return found


def redeliver(tx: Connection, webhook_id: str, *, revision: int = 0, now_us: int) -> int:
    """Let deliveries be attempted again at once, with all their attempts, and return how many.

    Parameters
    ----------
    revision
        Only this one, whatever its state; 0: all that were given up and all that wait.

    Raises
    ------
    WebhookMissingError, DeliveryMissingError
        There is no such webhook, or it has no delivery of that revision.
    """
    get_webhook(tx, webhook_id)
    which = _table.c.revision == revision if revision else or_(_table.c.state == DEAD, _table.c.state == PENDING)
    again = update(_table).where(_table.c.webhook == webhook_id, which)
    count = tx.execute(again.values(state=PENDING, attempts=0, due_us=now_us)).rowcount
    if revision and not count:
        raise DeliveryMissingError(
            f"the webhook {webhook_id!r} has no delivery of revision {revision}", webhook=webhook_id, revision=revision
        )
    return count


def _derive_one(tx: Connection, webhook: Webhook, newest: int, now_us: int) -> None:
    query = (
        select(changes.c.revision, changes.c.kind, changes.c.resource, changes.c.detail)
        .where(changes.c.revision > webhook.cursor_revision)
        .order_by(changes.c.revision)
        .limit(DERIVED_MAX)
    )
    rows = tx.execute(query).all()
    heard = [
        {
            "webhook": webhook.id,
            "revision": row.revision,
            "lane": webhook.lane_of(row.resource),
            "state": PENDING,
            "attempts": 0,
            "due_us": now_us,
            "attempt_us": 0,
            "status_code": 0,
            "error": "",
        }
        for row in rows
        if webhook.hears_of(row.kind, row.resource, row.detail or {})
    ]
    if heard:
        tx.execute(insert(_table), heard)
    cursor = rows[-1].revision if len(rows) == DERIVED_MAX else newest
    tx.execute(update(tables.webhooks).where(tables.webhooks.c.id == webhook.id).values(cursor_revision=cursor))


def _heads(query: Select[Any]) -> Select[Any]:
    """Narrow a query to the oldest that is pending of each lane, where the webhook is not paused."""
    heads = (
        select(_table.c.webhook, _table.c.lane, func.min(_table.c.revision).label("revision"))
        .where(_table.c.state == PENDING)
        .group_by(_table.c.webhook, _table.c.lane)
        .subquery()
    )
    return (
        query.join(heads, and_(heads.c.webhook == _table.c.webhook, heads.c.revision == _table.c.revision))
        .join(tables.webhooks, tables.webhooks.c.id == _table.c.webhook)
        .where(tables.webhooks.c.paused.is_(False))
    )


def _selected() -> Select[Any]:
    return select(_table, changes.c.kind, changes.c.resource).join(changes, changes.c.revision == _table.c.revision)


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(**{name: getattr(row, name) for name in Delivery.__slots__})
