"""One counter for the whole database, and one row for each change: who, what and when."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, null, select, update

from storage.origin import ORIGIN
from storage.schema import changes, revision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Row


PEER_CHARACTERS_MAX = 256


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the metadata, under the revision that it made."""

    revision: int
    kind: str
    resource: str
    actor: str
    detail: Mapping[str, object]
    time_us: int
    peer: str | None
    credential: str | None
    before: Mapping[str, object] | None
    after: Mapping[str, object] | None


def record_change(
    tx: Connection,
    *,
    kind: str,
    resource: str,
    actor: str,
    detail: Mapping[str, object],
    now_us: int,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> int:
    """Raise the revision by one, write down the change under it in the same transaction, and return it.

    From where it was asked for, and with which credential, is in `storage.origin`.

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
    before, after
        What the change is about as it was and as it is; None: there was nothing, or there is nothing any more.
    """
    origin = ORIGIN.get()
    number: int = tx.execute(
        update(revision).values(value=revision.c.value + 1).returning(revision.c.value)
    ).scalar_one()
    tx.execute(
        insert(changes).values(
            revision=number,
            kind=kind,
            resource=resource,
            actor=actor,
            detail=dict(detail),
            time_us=now_us,
            peer=origin.peer[:PEER_CHARACTERS_MAX],
            credential=origin.credential,
            before=null() if before is None else dict(before),
            after=null() if after is None else dict(after),
        )
    )
    return number


def current_revision(tx: Connection) -> int:
    """Return the newest revision; 0 when nothing was ever changed."""
    number: int = tx.execute(select(revision.c.value)).scalar_one()
    return number


def get_change(tx: Connection, number: int) -> Change | None:
    """Return the change that made a revision; None when there is none."""
    row = tx.execute(select(changes).where(changes.c.revision == number)).one_or_none()
    return None if row is None else change_of(row)


def list_changes(
    tx: Connection, *, before_revision: int | None, limit_max: int, resource: str = "", since_us: int = 0
) -> list[Change]:
    """Return at most `limit_max` changes, newest first.

    Parameters
    ----------
    before_revision
        Only those under this revision; None: all.
    resource
        Only those of this resource and of what is below it; empty: all.
    since_us
        Only those from then on.
    """
    query = select(changes).order_by(changes.c.revision.desc()).limit(limit_max)
    if before_revision is not None:
        query = query.where(changes.c.revision < before_revision)
    if resource:
        below = changes.c.resource.startswith(f"{resource}/", autoescape=True)
        query = query.where((changes.c.resource == resource) | below)
    if since_us:
        query = query.where(changes.c.time_us >= since_us)
    return [change_of(row) for row in tx.execute(query)]


def change_of(row: Row[Any]) -> Change:
    """Return the change that a row of `changes` holds."""
    return Change(**{field.name: getattr(row, field.name) for field in fields(Change)})
