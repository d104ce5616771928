"""What may change of a version: what people write about it, its stage, and whether it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from registry import tables
from registry.errors import StillNeededError
from registry.labels import check_etag, check_labels, check_text
from registry.models import checked_fields
from registry.records import Stage
from registry.stages import check_move
from registry.versions import get_version, is_version, live_version, name_of
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sqlalchemy import Connection

    from registry.records import Version

_UPDATABLE: dict[str, Callable[[object], object]] = {
    "description": lambda value: check_text("description", value),
    "tags": lambda value: check_labels("tags", value),
    "properties": lambda value: check_labels("properties", value),
    "deprecated": lambda value: check_text("deprecated", value, chars_max=1024),
}


def update_version(
    tx: Connection, model: str, number: int, fields: Mapping[str, object], *, etag: str = "", actor: str, now_us: int
) -> Version:
    """Give the fields new values and return the version.

    Parameters
    ----------
    fields
        Of description, tags, properties, deprecated: what is named is replaced whole. The substance cannot be named.
    etag
        The etag that the caller has seen; empty: not compared.

    Raises
    ------
    EtagMismatchError
        Somebody updated it since. Nothing was changed.
    FieldInvalidError
        A field cannot be updated, or cannot have that value.
    """
    before = live_version(tx, model, number)
    check_etag(name_of(model, number), found=before.etag, seen=etag)
    values = checked_fields(fields, _UPDATABLE)
    changed = {
        name: {"from": getattr(before, name), "to": value}
        for name, value in values.items()
        if value != getattr(before, name)
    }
    if changed:
        values = {name: values[name] for name in changed}
        _changed(tx, "version.updated", before, changed, actor=actor, now_us=now_us, values=values)
        if "tags" in changed:
            _replace_tags(tx, model, number, values["tags"])
    return get_version(tx, model, number)


def move_stage(tx: Connection, model: str, number: int, stage: Stage, *, actor: str, now_us: int) -> Version:
    """Move the version to a stage by hand and return it.

    Raises
    ------
    StageMoveError
        It does not go there from where it stands.
    StillNeededError
        It would be archived while an alias names it.
    """
    version = live_version(tx, model, number)
    if stage is version.stage:
        return version
    check_move(name_of(model, number), version.stage, stage)
    if stage is Stage.ARCHIVED:
        _refuse_named(tx, version, what="archived")
    detail = {"from": version.stage.value, "to": stage.value}
    _changed(tx, "version.stage_moved", version, detail, actor=actor, now_us=now_us, values={"stage": stage.value})
    return get_version(tx, model, number)


def delete_version(
    tx: Connection, model: str, number: int, *, pinned: Collection[int] = (), etag: str = "", actor: str, now_us: int
) -> Version:
    """Hide the version, which keeps all it has and its number, and return it.

    Parameters
    ----------
    pinned
        The numbers of the model's versions that something else needs: the arms of experiments.

    Raises
    ------
    StillNeededError
        It is in production, an alias names it, or it is pinned.
    """
    version = live_version(tx, model, number)
    check_etag(name_of(model, number), found=version.etag, seen=etag)
    _refuse_named(tx, version, what="deleted")
    if number in pinned:
        raise StillNeededError(
            f"{name_of(model, number)} is an arm of an experiment that is not over: conclude it first",
            model=model,
            version=number,
        )
    _changed(tx, "version.deleted", version, {}, actor=actor, now_us=now_us, values={"deleted_us": now_us})
    return get_version(tx, model, number)


def restore_version(tx: Connection, model: str, number: int, *, actor: str, now_us: int) -> Version:
    """Bring a deleted version back as it was; nothing happens when it is not deleted."""
    version = get_version(tx, model, number)
    if version.deleted_us:
        _changed(tx, "version.restored", version, {}, actor=actor, now_us=now_us, values={"deleted_us": 0})
    return get_version(tx, model, number)


def _refuse_named(tx: Connection, version: Version, *, what: str) -> None:
    query = select(tables.aliases.c.alias).where(
        tables.aliases.c.model == version.model, tables.aliases.c.version == version.number
    )
    aliases = list(tx.execute(query.order_by(tables.aliases.c.alias)).scalars())
    if aliases:
        raise StillNeededError(
            f"{name_of(version.model, version.number)} cannot be {what} while it holds "
            f"{', '.join(aliases)}: move those first",
            model=version.model,
            version=version.number,
            aliases=",".join(aliases),
        )


def _changed(
    tx: Connection,
    kind: str,
    version: Version,
    detail: Mapping[str, object],
    *,
    actor: str,
    now_us: int,
    values: Mapping[str, object],
) -> None:
    """Write down the change, and the new values with an etag that is the change's revision."""
    revision = record_change(
        tx,
        kind=kind,
        resource=name_of(version.model, version.number),
        actor=actor,
        detail=detail,
        before={name: getattr(version, name) for name in values},
        after=values,
        now_us=now_us,
    )
    where = is_version(version.model, version.number)
    tx.execute(update(tables.versions).where(*where).values(**values, etag=str(revision)))


def _replace_tags(tx: Connection, model: str, number: int, tags: object) -> None:
    table = tables.version_tags
    tx.execute(delete(table).where(table.c.model == model, table.c.number == number))
    named = check_labels("tags", tags)
    if named:
        rows = [{"model": model, "number": number, "name": name, "value": value} for name, value in named.items()]
        tx.execute(insert(table), rows)
