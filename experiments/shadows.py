"""Shadows in the metadata database. Every function takes the caller's open transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from experiments import tables
from experiments.errors import ShadowMissingError
from experiments.shadow import Shadow, checked
from storage.revision import record_change

if TYPE_CHECKING:
    from sqlalchemy import Connection

_table = tables.shadows


def find(tx: Connection, model: str) -> Shadow | None:
    """Return a model's shadow; None when it has none."""
    row = tx.execute(select(_table).where(_table.c.model == model)).mappings().first()
    return None if row is None else Shadow(**row)


def get(tx: Connection, model: str) -> Shadow:
    """Return a model's shadow, or raise ShadowMissingError."""
    found = find(tx, model)
    if found is None:
        raise ShadowMissingError(f"the model {model[:80]!r} has no shadow", model=model[:80])
    return found


def list_page(tx: Connection, *, after: str = "", limit_max: int | None = None) -> list[Shadow]:
    """Return shadows by model, at most `limit_max`, those whose model comes after `after`."""
    query = select(_table).where(_table.c.model > after).order_by(_table.c.model).limit(limit_max)
    return [Shadow(**row) for row in tx.execute(query).mappings()]


def put(tx: Connection, shadow: Shadow, *, reason: str, actor: str, now_us: int) -> int:
    """Keep a shadow in the place of its model's, and return the revision; or raise ShadowInvalidError."""
    checked(shadow)
    before = find(tx, shadow.model)
    tx.execute(delete(_table).where(_table.c.model == shadow.model))
    tx.execute(
        insert(_table).values(
            model=shadow.model,
            version=shadow.version,
            alias=shadow.alias,
            share=shadow.share,
            set_us=now_us,
            set_by=actor,
        )
    )
    return _record(tx, "set", shadow.model, before=before, after=shadow, reason=reason, actor=actor, now_us=now_us)


def remove(tx: Connection, model: str, *, reason: str, actor: str, now_us: int) -> int:
    """Forget a model's shadow and return the revision, or raise ShadowMissingError."""
    before = get(tx, model)
    tx.execute(delete(_table).where(_table.c.model == model))
    return _record(tx, "removed", model, before=before, after=None, reason=reason, actor=actor, now_us=now_us)


def _record(
    tx: Connection,
    event: str,
    model: str,
    *,
    before: Shadow | None,
    after: Shadow | None,
    reason: str,
    actor: str,
    now_us: int,
) -> int:
    return record_change(
        tx,
        kind=f"shadow.{event}",
        resource=f"models/{model}/shadow",
        actor=actor,
        detail={"reason": reason} if reason else {},
        before=_audited(before),
        after=_audited(after),
        now_us=now_us,
    )


def _audited(shadow: Shadow | None) -> dict[str, object] | None:
    if shadow is None:
        return None
    target: dict[str, object] = {"version": shadow.version} if shadow.version else {"alias": shadow.alias}
    return target | {"share": shadow.share}
