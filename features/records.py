"""Definitions as the metadata database keeps them: each under its digest, for ever."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from features import tables
from features.definitions import BoundView, Source, set_of, view_of
from features.errors import SetMissingError, ViewMissingError
from features.plan import plan_document

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from features.definitions import FeatureSet


def list_sources(tx: Connection) -> list[Source]:
    """Return all sources, by name."""
    rows = tx.execute(select(tables.sources).order_by(tables.sources.c.name))
    return [Source(name=row.name, **row.document) for row in rows]


def list_views(tx: Connection, *, after: str = "", limit_max: int | None = None) -> list[BoundView]:
    """Return the current definitions of the views past `after`, by name."""
    query = current_views().where(tables.views.c.name > after).order_by(tables.views.c.name).limit(limit_max)
    return [bound_of(row) for row in tx.execute(query)]


def get_view(tx: Connection, name: str) -> BoundView:
    """Return the current definition of a view, or raise ViewMissingError."""
    row = tx.execute(current_views().where(tables.views.c.name == name)).one_or_none()
    if row is None:
        raise ViewMissingError(f"there is no feature view {name!r}", view=name)
    return bound_of(row)


def list_sets(tx: Connection, *, after: str = "", limit_max: int | None = None) -> list[FeatureSet]:
    """Return the current definitions of the sets past `after`, by name."""
    versions = tables.set_versions
    query = (
        select(versions)
        .join(tables.sets, (tables.sets.c.name == versions.c.name) & (tables.sets.c.digest == versions.c.digest))
        .where(versions.c.name > after)
        .order_by(versions.c.name)
        .limit(limit_max)
    )
    return [set_of(row.name, row.document) for row in tx.execute(query)]


def get_set(tx: Connection, name: str, digest: str | None = None) -> FeatureSet:
    """Return the definition of a set, the current one when no digest is given, or raise SetMissingError."""
    versions = tables.set_versions
    wanted = digest or select(tables.sets.c.digest).where(tables.sets.c.name == name).scalar_subquery()
    query = select(versions).where(versions.c.name == name, versions.c.digest == wanted)
    row = tx.execute(query).one_or_none()
    if row is None:
        which = f" of digest {digest}" if digest else ""
        raise SetMissingError(f"there is no feature set {name!r}{which}", feature_set=name, digest=digest or "")
    return set_of(row.name, row.document)


def views_of_set(tx: Connection, feature_set: FeatureSet) -> list[BoundView]:
    """Return the definitions of the views that a set was made with, in the order in which it first names them."""
    versions = tables.view_versions
    bound = []
    for name, digest in feature_set.view_digests:
        query = select(versions).where(versions.c.name == name, versions.c.digest == digest)
        bound.append(bound_of(tx.execute(query).one()))
    return bound


def plan_document_for(tx: Connection, set_name: str, digest: str | None = None) -> dict[str, Any]:
    """Return the plan of a set as JSON knows it, its digest included, or raise SetMissingError.

    Parameters
    ----------
    tx
        A transaction.
    set_name
        The set.
    digest
        Which definition: the one that a version was trained on; None for the current one. What is done when there is
        no fresh value is said by the current one in either case: it changes nothing that a model was trained on.
    """
    feature_set = get_set(tx, set_name, digest)
    if digest is not None:
        current = get_set(tx, set_name)
        feature_set = replace(feature_set, stale_up_to_us=current.stale_up_to_us, refuse=current.refuse)
    return plan_document(feature_set, views_of_set(tx, feature_set))


def feature_count(tx: Connection, set_name: str, digest: str | None = None) -> int:
    """Return how many features a set has, or raise SetMissingError."""
    return len(get_set(tx, set_name, digest).features)


def current_views() -> Any:
    """Return the query for the current definitions of the views."""
    versions = tables.view_versions
    return select(versions).join(
        tables.views, (tables.views.c.name == versions.c.name) & (tables.views.c.digest == versions.c.digest)
    )


def bound_of(row: Any) -> BoundView:
    """Return the definition in a row of the views' versions."""
    return BoundView(view=view_of(row.name, row.document), schema_id=row.schema_id)
