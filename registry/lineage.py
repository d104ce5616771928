"""Lineage: what a version was made from, and what was made from it.

Parents exist before their children and a version never changes its parents, so the relation has no cycles.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select, tuple_

from registry import tables
from registry.versions import version_of

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from registry.records import Version

RELATED_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Relation:
    """A version from which another was made."""

    model: str
    number: int
    parent_model: str
    parent_number: int


def ancestors(tx: Connection, version: Version) -> list[Version]:
    """Return the versions that it was made from, directly or not, by model and number."""
    return _related(tx, version, upwards=True)


def descendants(tx: Connection, version: Version) -> list[Version]:
    """Return the versions that were made from it, directly or not, by model and number."""
    return _related(tx, version, upwards=False)


def relations(tx: Connection, versions: list[Version]) -> list[Relation]:
    """Return who was made from whom among these versions."""
    table = tables.version_parents
    keys = {(version.model, version.number) for version in versions}
    query = select(table).where(tuple_(table.c.model, table.c.number).in_(keys))
    found = [Relation(row.model, row.number, row.parent_model, row.parent_number) for row in tx.execute(query)]
    return [each for each in found if (each.parent_model, each.parent_number) in keys]


def _related(tx: Connection, version: Version, *, upwards: bool) -> list[Version]:
    """Walk the relation by one recursive query; UNION keeps each version once."""
    table = tables.version_parents
    own, other = (table.c.model, table.c.number), (table.c.parent_model, table.c.parent_number)
    here, there = (own, other) if upwards else (other, own)
    walk = (
        select(there[0].label("model"), there[1].label("number"))
        .where(here[0] == version.model, here[1] == version.number)
        .cte("walk", recursive=True)
    )
    step = select(there[0], there[1]).where(here[0] == walk.c.model, here[1] == walk.c.number)
    walk = walk.union(step)
    versions = tables.versions
    joined: ColumnElement[bool] = (versions.c.model == walk.c.model) & (versions.c.number == walk.c.number)
    query = select(versions).select_from(versions.join(walk, joined)).order_by(versions.c.model, versions.c.number)
    return [version_of(row) for row in tx.execute(query.limit(RELATED_MAX))]
