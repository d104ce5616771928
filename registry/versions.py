"""Versions: numbered when they are added, never changed after, but for their stage."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from registry import tables
from registry.errors import ModelMissingError, VersionMissingError
from registry.records import Signature, Stage, TensorSpec, Version, VersionDraft, VersionFacts
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Connection, Row


def add_version(tx: Connection, draft: VersionDraft, *, actor: str, now_us: int) -> tuple[Version, int]:
    """Give the draft the model's next number and return it with its revision.

    Numbers are 1, 2, 3 … without gaps: the model's counter is raised in this very transaction.

    Raises
    ------
    ModelMissingError
        There is no such model.
    VersionMissingError
        A parent is not a version of the model.
    """
    raised = (
        update(tables.models)
        .where(tables.models.c.id == draft.model)
        .values(latest_version=tables.models.c.latest_version + 1)
        .returning(tables.models.c.latest_version)
    )
    number = tx.execute(raised).scalar_one_or_none()
    if number is None:
        raise ModelMissingError(f"there is no model {draft.model!r}", model=draft.model)
    for parent in draft.facts.parents:
        if not 1 <= parent < number:
            raise _missing(draft.model, parent)
    tx.execute(insert(tables.versions).values(**_row(draft), number=number, created_us=now_us, created_by=actor))
    revision = record_change(
        tx,
        kind="version.published",
        resource=f"models/{draft.model}/versions/{number}",
        actor=actor,
        detail={"artifact_sha256": draft.artifact_sha256, "artifact_bytes": draft.artifact_bytes},
        now_us=now_us,
    )
    return get_version(tx, draft.model, number), revision


def get_version(tx: Connection, model: str, number: int) -> Version:
    """Return the version, or raise VersionMissingError."""
    query = select(tables.versions).where(tables.versions.c.model == model, tables.versions.c.number == number)
    row = tx.execute(query).one_or_none()
    if row is None:
        raise _missing(model, number)
    return _version(row)


def list_versions(tx: Connection, model: str, *, before: int | None = None, limit_max: int) -> list[Version]:
    """Return at most `limit_max` versions, newest first, those with a number under `before` when it is given."""
    query = select(tables.versions).where(tables.versions.c.model == model)
    if before is not None:
        query = query.where(tables.versions.c.number < before)
    return [_version(row) for row in tx.execute(query.order_by(tables.versions.c.number.desc()).limit(limit_max))]


def versions_of(tx: Connection, model: str, numbers: Collection[int]) -> list[Version]:
    """Return the versions of these numbers, by number; numbers that do not exist are left out."""
    query = select(tables.versions).where(tables.versions.c.model == model, tables.versions.c.number.in_(numbers))
    return [_version(row) for row in tx.execute(query.order_by(tables.versions.c.number))]


def same_bytes(tx: Connection, version: Version) -> list[int]:
    """Return the numbers of the model's earlier versions that have the very same artifact, by number."""
    query = select(tables.versions.c.number).where(
        tables.versions.c.artifact_sha256 == version.artifact_sha256,
        tables.versions.c.model == version.model,
        tables.versions.c.number < version.number,
    )
    return list(tx.execute(query.order_by(tables.versions.c.number)).scalars())


def set_stage(tx: Connection, model: str, number: int, *, stage: Stage) -> None:
    """Note where the version stands; the caller records the change that put it there."""
    tx.execute(
        update(tables.versions)
        .where(tables.versions.c.model == model, tables.versions.c.number == number)
        .values(stage=stage.value)
    )


def _missing(model: str, number: int) -> VersionMissingError:
    return VersionMissingError(f"the model {model!r} has no version {number}", model=model, version=number)


def _row(draft: VersionDraft) -> dict[str, object]:
    return {
        "model": draft.model,
        "artifact_sha256": draft.artifact_sha256,
        "artifact_bytes": draft.artifact_bytes,
        "signature": asdict(draft.signature),
        "facts": asdict(draft.facts),
        "feature_set": draft.facts.feature_set,
        "feature_set_digest": draft.feature_set_digest,
        "feature_input": draft.feature_input,
        "probe_sha256": draft.probe_sha256,
        "probe_rows": draft.probe_rows,
        "stage": Stage.DEVELOPMENT.value,
    }


def _version(row: Row[Any]) -> Version:
    return Version(
        model=row.model,
        number=row.number,
        artifact_sha256=row.artifact_sha256,
        artifact_bytes=row.artifact_bytes,
        signature=signature_from(row.signature),
        facts=VersionFacts(**{**row.facts, "parents": tuple(row.facts["parents"])}),
        feature_set_digest=row.feature_set_digest,
        feature_input=row.feature_input,
        probe_sha256=row.probe_sha256,
        probe_rows=row.probe_rows,
        stage=Stage(row.stage),
        created_us=row.created_us,
        created_by=row.created_by,
    )


def signature_from(document: Mapping[str, Any]) -> Signature:
    """Return the signature that `dataclasses.asdict` turned into this document."""
    inputs, outputs = (
        tuple(
            TensorSpec(each["name"], each["dtype"], tuple(each["shape"]), each.get("finite", False))
            for each in document[side]
        )
        for side in ("inputs", "outputs")
    )
    return Signature(inputs, outputs)
