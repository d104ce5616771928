"""Apply definitions: the database comes to say what the files say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select, update

from features import tables
from features.codec import SCHEMA_ID_MAX
from features.declared_sets import SetWish
from features.definitions import FeatureSet
from features.errors import DefinitionInvalidError, SchemaNumbersSpentError
from features.plan import REQUEST
from features.records import list_sets, list_sources, list_views
from storage.revision import record_change

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from features.definitions import Source, View
    from features.grammar import Definitions

CREATE = "create"
UPDATE = "update"
UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedChange:
    """What is done, or would be, to one definition.

    Attributes
    ----------
    kind
        `source`, `view` or `set`.
    name
        Which.
    action
        `create`, `update` or `unchanged`.
    digest
        The digest of the definition as it will be.
    """

    kind: str
    name: str
    action: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What was done; `revision` is 0 when nothing was written."""

    changes: tuple[PlannedChange, ...]
    revision: int


def apply(tx: Connection, definitions: Definitions, *, actor: str, now_us: int, dry_run: bool = False) -> Applied:
    """Make the definitions what the files say, or only say what would be done; nothing is ever removed.

    A set whose views change gets a new digest, whether the files name it or not; its earlier definition stays, so
    that the versions which were trained on it are served as they were.

    Raises
    ------
    DefinitionInvalidError
        A set names a view or a feature that neither the files nor the database know.
    """
    known_sources = {source.name: source for source in list_sources(tx)}
    known_views = {bound.view.name: bound.view for bound in list_views(tx)}
    known_sets = {known.name: known for known in list_sets(tx)}
    views = known_views | {view.name: view for view in definitions.views}
    wishes = {known.name: _wish_of(known) for known in known_sets.values()}
    wishes |= {wish.name: wish for wish in definitions.sets}
    sets = [_resolve(wishes[name], views) for name in sorted(wishes)]
    named = {wish.name for wish in definitions.sets}
    sets = [wanted for wanted in sets if wanted.name in named or wanted != known_sets[wanted.name]]
    changes = (
        *(_change("source", one.name, known_sources.get(one.name), one) for one in definitions.sources),
        *(_change("view", one.name, known_views.get(one.name), one) for one in definitions.views),
        *(_change("set", one.name, known_sets.get(one.name), one) for one in sets),
    )
    doing = [change for change in changes if change.action != UNCHANGED]
    if dry_run or not doing:
        return Applied(changes=changes, revision=0)
    for source in definitions.sources:
        _put(tx, tables.sources, {"name": source.name}, {"document": source.document(), "updated_us": now_us})
    for view in definitions.views:
        _write_view(tx, view, now_us)
    for feature_set in sets:
        _write_set(tx, feature_set, now_us)
        if feature_set.transforms:
            _write_definition(tx, feature_set.raw, now_us)
    known = {
        "source": {name: source.digest for name, source in known_sources.items()},
        "view": {name: view.digest for name, view in known_views.items()},
        "set": {name: feature_set.digest for name, feature_set in known_sets.items()},
    }
    detail = {"changes": [f"{change.action} {change.kind} {change.name}" for change in doing]}
    revision = record_change(
        tx,
        kind="features.applied",
        resource="features",
        actor=actor,
        detail=detail,
        before={f"{each.kind} {each.name}": known[each.kind][each.name] for each in doing if each.action == UPDATE},
        after={f"{each.kind} {each.name}": each.digest for each in doing},
        now_us=now_us,
    )
    return Applied(changes=changes, revision=revision)


def _change(
    kind: str, name: str, known: Source | View | FeatureSet | None, wanted: Source | View | FeatureSet
) -> PlannedChange:
    action = CREATE if known is None else UNCHANGED if known == wanted else UPDATE
    return PlannedChange(kind=kind, name=name, action=action, digest=wanted.digest)


def _wish_of(known: FeatureSet) -> SetWish:
    return SetWish(
        name=known.name,
        features=known.features,
        requests=known.requests,
        transforms=known.transforms,
        stale_up_to_us=known.stale_up_to_us,
        refuse=known.refuse,
        description=known.description,
        owner=known.owner,
        tags=known.tags,
    )


def _resolve(wish: SetWish, views: dict[str, View]) -> FeatureSet:
    """Return the set over the views as they will be, or raise DefinitionInvalidError."""
    for feature in wish.looked_up:
        view_name, _, column = feature.partition(".")
        if view_name == REQUEST:
            continue
        view = views.get(view_name)
        if view is None:
            raise DefinitionInvalidError(f"set {wish.name}: there is no view {view_name!r}", feature=feature)
        if column not in {known.name for known in view.features}:
            raise DefinitionInvalidError(
                f"set {wish.name}: view {view_name} has no feature {column!r}", feature=feature
            )
    return FeatureSet(
        name=wish.name,
        features=wish.features,
        view_digests=tuple((name, views[name].digest) for name in wish.views),
        requests=wish.requests,
        transforms=wish.transforms,
        stale_up_to_us=wish.stale_up_to_us,
        refuse=wish.refuse,
        description=wish.description,
        owner=wish.owner,
        tags=wish.tags,
    )


def _write_view(tx: Connection, view: View, now_us: int) -> None:
    _put(tx, tables.views, {"name": view.name}, {"digest": view.digest, "description": view.description})
    versions = tables.view_versions
    numbered = (
        select(versions.c.layout, func.max(versions.c.schema_id).label("number"))
        .where(versions.c.name == view.name)
        .group_by(versions.c.layout)
    )
    numbers: dict[str, int] = {row.layout: row.number for row in tx.execute(numbered)}
    schema_id = numbers.get(view.layout) or max(numbers.values(), default=0) + 1
    if schema_id > SCHEMA_ID_MAX:
        raise SchemaNumbersSpentError(
            f"view {view.name} had {SCHEMA_ID_MAX} layouts: give the next one another name", view=view.name
        )
    _put(
        tx,
        versions,
        {"name": view.name, "digest": view.digest},
        {"document": view.document()},
        {"layout": view.layout, "schema_id": schema_id, "created_us": now_us},
    )


def _write_set(tx: Connection, feature_set: FeatureSet, now_us: int) -> None:
    _put(
        tx,
        tables.sets,
        {"name": feature_set.name},
        {"digest": feature_set.digest, "description": feature_set.description},
    )
    _write_definition(tx, feature_set, now_us)


def _write_definition(tx: Connection, feature_set: FeatureSet, now_us: int) -> None:
    """Write a definition of a set, which may be another one than the current."""
    created = _put(
        tx,
        tables.set_versions,
        {"name": feature_set.name, "digest": feature_set.digest},
        {"document": feature_set.document()},
        {"created_us": now_us},
    )
    if created and feature_set.view_digests:
        tx.execute(
            insert(tables.set_views),
            [
                {
                    "set_name": feature_set.name,
                    "set_digest": feature_set.digest,
                    "view_name": view,
                    "view_digest": digest,
                }
                for view, digest in feature_set.view_digests
            ],
        )


def _put(
    tx: Connection, table: Any, key: dict[str, str], values: dict[str, Any], first: dict[str, Any] | None = None
) -> bool:
    """Update the row, or insert it with `first` beside; return whether it was inserted."""
    conditions = [table.c[name] == value for name, value in key.items()]
    if tx.execute(update(table).where(*conditions).values(**values)).rowcount:
        return False
    tx.execute(insert(table).values(**key, **values, **(first or {})))
    return True
