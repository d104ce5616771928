"""One counter for the whole database, and one row for each change: who, what and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from storage.schema import changes, revision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the metadata, under the revision that it made."""

    revision: int
    kind: str
    resource: str
    actor: str
    detail: Mapping[str, object]
    time_us: int


def record_change(
    tx: Connection, *, kind: str, resource: str, actor: str, detail: Mapping[str, object], now_us: int
) -> int:
    """Raise the revision by one, write down the change under it in the same transaction, and return it.

    Parameters
    ----------
    tx
        The writing transaction that makes the change.
    kind
        What happened, for example `version.published`.
    resource
        The resource's name, for example `models/fraud/versions/3`.
    actor
        Who did it.
    detail
        What else matters; values that JSON knows.
    now_us
        When, in microseconds since the Unix epoch.
    """
    number: int = tx.execute(
        update(revision).values(value=revision.c.value + 1).returning(revision.c.value)
    ).scalar_one()
    tx.execute(
        insert(changes).values(
            revision=number, kind=kind, resource=resource, actor=actor, detail=dict(detail), time_us=now_us
        )
    )
    return number


def current_revision(tx: Connection) -> int:
    """Return the newest revision; 0 when nothing was ever changed."""
    number: int = tx.execute(select(revision.c.value)).scalar_one()
    return number


def list_changes(tx: Connection, *, before_revision: int | None, limit_max: int) -> list[Change]:
    """Return at most `limit_max` changes, newest first, only those under `before_revision` when it is given."""
    query = select(changes).order_by(changes.c.revision.desc()).limit(limit_max)
    if before_revision is not None:
        query = query.where(changes.c.revision < before_revision)
    return [
        Change(
            revision=row.revision,
            kind=row.kind,
            resource=row.resource,
            actor=row.actor,
            detail=row.detail,
            time_us=row.time_us,
        )
        for row in tx.execute(query)
    ]
