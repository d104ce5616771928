"""Models: created, read and listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select

from registry import tables
from registry.errors import ModelExistsError, ModelMissingError
from registry.names import check_model_id
from registry.records import Alias, Model
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection, Row


def create_model(
    tx: Connection,
    model_id: str,
    *,
    description: str = "",
    owner: str = "",
    tags: Mapping[str, str] | None = None,
    actor: str,
    now_us: int,
) -> Model:
    """Create a model and return it, or raise ModelExistsError or NameInvalidError."""
    if _exists(tx, check_model_id(model_id)):
        raise ModelExistsError(f"there is a model {model_id!r} already", model=model_id)
    tx.execute(
        insert(tables.models).values(
            id=model_id,
            description=description,
            owner=owner,
            tags=dict(tags or {}),
            created_us=now_us,
            created_by=actor,
            latest_version=0,
        )
    )
    record_change(
        tx, kind="model.created", resource=f"models/{model_id}", actor=actor, detail={"owner": owner}, now_us=now_us
    )
    return get_model(tx, model_id)


def ensure_model(tx: Connection, model_id: str, *, actor: str, now_us: int) -> None:
    """Create the model when there is none."""
    if not _exists(tx, model_id):
        create_model(tx, model_id, actor=actor, now_us=now_us)


def get_model(tx: Connection, model_id: str) -> Model:
    """Return the model, or raise ModelMissingError."""
    row = tx.execute(select(tables.models).where(tables.models.c.id == model_id)).one_or_none()
    if row is None:
        raise ModelMissingError(f"there is no model {model_id!r}", model=model_id)
    return _model(row, aliases_of(tx, [model_id])[model_id])


def list_models(tx: Connection, *, after: str = "", limit_max: int) -> list[Model]:
    """Return at most `limit_max` models by name, those whose name comes after `after`."""
    query = select(tables.models).where(tables.models.c.id > after).order_by(tables.models.c.id).limit(limit_max)
    rows = tx.execute(query).all()
    aliases = aliases_of(tx, [row.id for row in rows])
    return [_model(row, aliases[row.id]) for row in rows]


def aliases_of(tx: Connection, model_ids: Iterable[str]) -> dict[str, tuple[Alias, ...]]:
    """Return the aliases of each model, by name; an empty tuple for a model without any."""
    found: dict[str, list[Alias]] = {model_id: [] for model_id in model_ids}
    query = select(tables.aliases).where(tables.aliases.c.model.in_(found)).order_by(tables.aliases.c.alias)
    for row in tx.execute(query):
        found[row.model].append(Alias(row.alias, row.version, row.generation))
    return {model_id: tuple(aliases) for model_id, aliases in found.items()}


def _exists(tx: Connection, model_id: str) -> bool:
    return tx.execute(select(tables.models.c.id).where(tables.models.c.id == model_id)).first() is not None


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
    )
