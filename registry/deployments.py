"""Deployments kept: the settings of a model, and of those of its versions that have some of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from registry import tables
from registry.deployment import Deployment
from registry.models import get_model
from registry.versions import get_version
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

OF_MODEL = 0
"""In the place of a version's number: of all versions without settings of their own."""


def get_deployment(tx: Connection, model: str, number: int = OF_MODEL) -> Deployment:
    """Return the settings that hold for a version: its own, else its model's, else the defaults.

    Raises
    ------
    ModelMissingError, VersionMissingError
        There is no such model or version.
    """
    if number == OF_MODEL:
        get_model(tx, model)
    else:
        get_version(tx, model, number)
    return deployments_of(tx, model, (number,))[number]


def default_deployment(tx: Connection, model: str, number: int = OF_MODEL) -> Deployment:
    """Return the settings that would hold without these: the model's for a version, the defaults for a model."""
    get_deployment(tx, model, number)
    return Deployment() if number == OF_MODEL else deployments_of(tx, model, (OF_MODEL,))[OF_MODEL]


def set_deployment(
    tx: Connection, model: str, number: int, deployment: Deployment | None, *, actor: str, now_us: int
) -> int:
    """Keep settings, or with None forget them, and return the revision; raises what `get_deployment` raises."""
    before = get_deployment(tx, model, number)
    table = tables.deployments
    tx.execute(delete(table).where(table.c.model == model, table.c.version == number))
    if deployment is not None:
        tx.execute(insert(table).values(model=model, version=number, settings=deployment.to_document()))
    after = deployments_of(tx, model, (number,))[number]
    return record_change(
        tx,
        kind="deployment.set",
        resource=f"models/{model}" if number == OF_MODEL else f"models/{model}/versions/{number}",
        actor=actor,
        detail={"old": before.to_document(), "new": after.to_document()},
        before=before.to_document(),
        after=after.to_document(),
        now_us=now_us,
    )


def deployments_of(tx: Connection, model: str, numbers: Collection[int]) -> dict[int, Deployment]:
    """Return the settings that hold for versions of a model."""
    table = tables.deployments
    rows = tx.execute(select(table.c.version, table.c.settings).where(table.c.model == model))
    kept = {row.version: Deployment.from_document(row.settings) for row in rows}
    default = kept.get(OF_MODEL, Deployment())
    return {number: kept.get(number, default) for number in numbers}
