"""Models: created, read, listed, updated, deleted and restored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from registry import tables
from registry.errors import FieldInvalidError, ModelDeletedError, ModelExistsError, ModelMissingError, StillNeededError
from registry.gates import check_gates
from registry.labels import check_etag, check_labels, check_text
from registry.names import check_model_id
from registry.records import CHAMPION, Alias, Model
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sqlalchemy import Connection, Row

_UPDATABLE: dict[str, Callable[[object], object]] = {
    "description": lambda value: check_text("description", value),
    "owner": lambda value: check_text("owner", value, chars_max=255),
    "tags": lambda value: check_labels("tags", value),
    "properties": lambda value: check_labels("properties", value),
    "gates": check_gates,
}


def create_model(
    tx: Connection,
    model_id: str,
    *,
    description: str = "",
    owner: str = "",
    tags: Mapping[str, str] | None = None,
    properties: Mapping[str, str] | None = None,
    actor: str,
    now_us: int,
) -> Model:
    """Create a model and return it.

    Raises
    ------
    ModelExistsError
        There is one of that name, perhaps a deleted one.
    NameInvalidError, FieldInvalidError
        It cannot be called that, or something said of it is out of bounds.
    """
    if _row_of(tx, check_model_id(model_id)) is not None:
        raise ModelExistsError(f"there is a model {model_id!r} already, or a deleted one to restore", model=model_id)
    tx.execute(
        insert(tables.models).values(
            id=model_id,
            description=check_text("description", description),
            owner=check_text("owner", owner, chars_max=255),
            tags=check_labels("tags", tags or {}),
            properties=check_labels("properties", properties or {}),
            created_us=now_us,
            created_by=actor,
            latest_version=0,
        )
    )
    _changed(tx, "model.created", model_id, {"owner": owner}, after={"owner": owner}, actor=actor, now_us=now_us)
    return get_model(tx, model_id)


def ensure_model(tx: Connection, model_id: str, *, actor: str, now_us: int) -> None:
    """Create the model when there is none, or raise ModelDeletedError when it is deleted."""
    row = _row_of(tx, model_id)
    if row is None:
        create_model(tx, model_id, actor=actor, now_us=now_us)
    elif row.deleted_us:
        raise _deleted(model_id)


def get_model(tx: Connection, model_id: str) -> Model:
    """Return the model, deleted or not, or raise ModelMissingError."""
    row = _row_of(tx, model_id)
    if row is None:
        raise ModelMissingError(f"there is no model {model_id!r}", model=model_id)
    return _model(row, aliases_of(tx, [model_id])[model_id])


def live_model(tx: Connection, model_id: str) -> Model:
    """Return the model, or raise ModelMissingError or ModelDeletedError."""
    model = get_model(tx, model_id)
    if model.deleted_us:
        raise _deleted(model_id)
    return model


def list_models(tx: Connection, *, after: str = "", limit_max: int, deleted: bool = False) -> list[Model]:
    """Return at most `limit_max` models by name, those whose name comes after `after`; deleted ones when asked for."""
    query = select(tables.models).where(tables.models.c.id > after).order_by(tables.models.c.id).limit(limit_max)
    if not deleted:
        query = query.where(tables.models.c.deleted_us == 0)
    rows = tx.execute(query).all()
    aliases = aliases_of(tx, [row.id for row in rows])
    return [_model(row, aliases[row.id]) for row in rows]


def update_model(
    tx: Connection, model_id: str, fields: Mapping[str, object], *, etag: str = "", actor: str, now_us: int
) -> Model:
    """Give the fields new values and return the model.

    Parameters
    ----------
    fields
        Of description, owner, tags, properties, gates: what is named is replaced whole.
    etag
        The etag that the caller has seen; empty: not compared.

    Raises
    ------
    EtagMismatchError
        Somebody updated it since. Nothing was changed.
    FieldInvalidError, GateInvalidError
        A field cannot be updated, or cannot have that value.
    """
    before = live_model(tx, model_id)
    check_etag(f"models/{model_id}", found=before.etag, seen=etag)
    values = checked_fields(fields, _UPDATABLE)
    old = {name: _plain(getattr(before, name)) for name in values}
    changed = {name: {"from": old[name], "to": value} for name, value in values.items() if value != old[name]}
    if not changed:
        return before
    _changed(
        tx,
        "model.updated",
        model_id,
        changed,
        actor=actor,
        now_us=now_us,
        values=values,
        before={name: old[name] for name in changed},
        after={name: values[name] for name in changed},
    )
    return get_model(tx, model_id)


def delete_model(tx: Connection, model_id: str, *, etag: str = "", actor: str, now_us: int) -> Model:
    """Hide the model, which keeps all it has and its name, or raise StillNeededError while it has a champion."""
    model = live_model(tx, model_id)
    check_etag(f"models/{model_id}", found=model.etag, seen=etag)
    if any(alias.alias == CHAMPION for alias in model.aliases):
        raise StillNeededError(
            f"{model_id!r} is in production: remove its alias {CHAMPION!r} first", model=model_id, alias=CHAMPION
        )
    _mark_deleted(tx, "model.deleted", model, now_us, actor=actor, now_us=now_us)
    return get_model(tx, model_id)


def restore_model(tx: Connection, model_id: str, *, actor: str, now_us: int) -> Model:
    """Bring a deleted model back as it was; nothing happens when it is not deleted."""
    model = get_model(tx, model_id)
    if model.deleted_us:
        _mark_deleted(tx, "model.restored", model, 0, actor=actor, now_us=now_us)
    return get_model(tx, model_id)


def aliases_of(tx: Connection, model_ids: Iterable[str]) -> dict[str, tuple[Alias, ...]]:
    """Return the aliases of each model, by name; an empty tuple for a model without any."""
    found: dict[str, list[Alias]] = {model_id: [] for model_id in model_ids}
    query = select(tables.aliases).where(tables.aliases.c.model.in_(found)).order_by(tables.aliases.c.alias)
    for row in tx.execute(query):
        found[row.model].append(Alias(row.alias, row.version, row.generation, row.expires_us))
    return {model_id: tuple(aliases) for model_id, aliases in found.items()}


def checked_fields(
    fields: Mapping[str, object], updatable: Mapping[str, Callable[[object], object]]
) -> dict[str, object]:
    """Return the values of an update, or raise FieldInvalidError for a field that is not among the updatable."""
    for name in fields:
        if name not in updatable:
            raise FieldInvalidError(
                f"`{name[:64]}` cannot be updated; what can: {', '.join(updatable)}", field=name[:64]
            )
    return {name: updatable[name](value) for name, value in fields.items()}


def _changed(
    tx: Connection,
    kind: str,
    model_id: str,
    detail: Mapping[str, object],
    *,
    actor: str,
    now_us: int,
    values: Mapping[str, object] | None = None,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """Write down the change, and the new values with an etag that is the change's revision."""
    revision = record_change(
        tx,
        kind=kind,
        resource=f"models/{model_id}",
        actor=actor,
        detail=detail,
        before=before,
        after=after,
        now_us=now_us,
    )
    where = tables.models.c.id == model_id
    tx.execute(update(tables.models).where(where).values(**(values or {}), etag=str(revision)))


def _mark_deleted(tx: Connection, kind: str, model: Model, deleted_us: int, *, actor: str, now_us: int) -> None:
    """Delete a model, or restore it with 0."""
    before, after = ({"deleted_us": at} for at in (model.deleted_us, deleted_us))
    _changed(tx, kind, model.id, {}, actor=actor, now_us=now_us, values=after, before=before, after=after)


def _row_of(tx: Connection, model_id: str) -> Row[Any] | None:
    return tx.execute(select(tables.models).where(tables.models.c.id == model_id)).one_or_none()


def _deleted(model_id: str) -> ModelDeletedError:
    return ModelDeletedError(f"the model {model_id!r} is deleted: restore it first", model=model_id)


def _plain(value: object) -> object:
    """Return a value as JSON gives it back, to compare."""
    return [dict(each) for each in value] if isinstance(value, tuple) else value


def _model(row: Row[Any], aliases: tuple[Alias, ...]) -> Model:
    return Model(
        id=row.id,
        description=row.description,
        owner=row.owner,
        tags=row.tags,
        created_us=row.created_us,
        created_by=row.created_by,
        latest_version=row.latest_version,
        aliases=aliases,
        properties=row.properties,
        gates=tuple(row.gates),
        etag=row.etag,
        deleted_us=row.deleted_us,
    )
