"""Versions: numbered when they are added; their substance never changes after."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from registry import tables
from registry.errors import ModelMissingError, VersionDeletedError, VersionMissingError
from registry.labels import check_labels, check_text
from registry.records import Signature, Stage, TensorSpec, Version, VersionDraft, VersionFacts
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Connection

SAME_BYTES_MAX = 100


def add_version(tx: Connection, draft: VersionDraft, *, actor: str, now_us: int) -> tuple[Version, int]:
    """Give the draft the model's next number and return it with its revision.

    Numbers are 1, 2, 3 … without gaps: the model's counter is raised in this very transaction.

    Raises
    ------
    ModelMissingError
        There is no such model.
    VersionMissingError
        A parent is not a version.
    FieldInvalidError
        Tags or description are out of bounds.
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
    revision = record_change(
        tx,
        kind="version.published",
        resource=name_of(draft.model, number),
        actor=actor,
        detail={"artifact_sha256": draft.artifact_sha256, "artifact_bytes": draft.artifact_bytes},
        after={"artifact_sha256": draft.artifact_sha256},
        now_us=now_us,
    )
    row = _row(draft) | {"number": number, "created_us": now_us, "created_by": actor, "etag": str(revision)}
    tx.execute(insert(tables.versions).values(row))
    index_labels(tx, draft.model, number, draft.facts, draft.facts.tags)
    index_parents(tx, draft.model, number, draft.facts)
    return get_version(tx, draft.model, number), revision


def get_version(tx: Connection, model: str, number: int) -> Version:
    """Return the version, deleted or not, or raise VersionMissingError."""
    query = select(tables.versions).where(*is_version(model, number))
    row = tx.execute(query).one_or_none()
    if row is None:
        raise _missing(model, number)
    return version_of(row)


def live_version(tx: Connection, model: str, number: int) -> Version:
    """Return the version, or raise VersionMissingError or VersionDeletedError."""
    version = get_version(tx, model, number)
    if version.deleted_us:
        raise VersionDeletedError(f"{name_of(model, number)} is deleted: restore it first", model=model, version=number)
    return version


def list_versions(
    tx: Connection, model: str, *, before: int | None = None, limit_max: int, deleted: bool = False
) -> list[Version]:
    """Return at most `limit_max` versions, newest first, those with a number under `before` when it is given."""
    query = select(tables.versions).where(tables.versions.c.model == model)
    if before is not None:
        query = query.where(tables.versions.c.number < before)
    if not deleted:
        query = query.where(tables.versions.c.deleted_us == 0)
    return [version_of(row) for row in tx.execute(query.order_by(tables.versions.c.number.desc()).limit(limit_max))]


def versions_of(tx: Connection, model: str, numbers: Collection[int]) -> list[Version]:
    """Return the versions of these numbers, by number; numbers that do not exist are left out."""
    query = select(tables.versions).where(tables.versions.c.model == model, tables.versions.c.number.in_(numbers))
    return [version_of(row) for row in tx.execute(query.order_by(tables.versions.c.number))]


def same_bytes(tx: Connection, version: Version) -> list[int]:
    """Return the numbers of the model's earlier versions that have the very same artifact, by number."""
    query = select(tables.versions.c.number).where(
        tables.versions.c.artifact_sha256 == version.artifact_sha256,
        tables.versions.c.model == version.model,
        tables.versions.c.number < version.number,
    )
    return list(tx.execute(query.order_by(tables.versions.c.number)).scalars())


def signed_versions(tx: Connection) -> list[Version]:
    """Return the versions whose manifest is signed, by model and number."""
    query = select(tables.versions).where(tables.versions.c.manifest_signature != "")
    return [version_of(row) for row in tx.execute(query.order_by(tables.versions.c.model, tables.versions.c.number))]


def same_bytes_elsewhere(tx: Connection, version: Version) -> list[tuple[str, int]]:
    """Return the versions of other models that have the very same artifact, by model and number; at most 100."""
    table = tables.versions
    query = (
        select(table.c.model, table.c.number)
        .where(table.c.artifact_sha256 == version.artifact_sha256, table.c.model != version.model)
        .order_by(table.c.model, table.c.number)
        .limit(SAME_BYTES_MAX)
    )
    return [(row.model, row.number) for row in tx.execute(query)]


def set_stage(tx: Connection, model: str, number: int, *, stage: Stage) -> None:
    """Note where the version stands; the caller records the change that put it there."""
    tx.execute(update(tables.versions).where(*is_version(model, number)).values(stage=stage.value))


def index_labels(tx: Connection, model: str, number: int, facts: VersionFacts, tags: Mapping[str, str]) -> None:
    """Keep what is searched of a new version."""
    key = {"model": model, "number": number}
    for table, named in (
        (tables.version_tags, tags),
        (tables.version_parameters, facts.parameters),
        (tables.version_metrics, facts.metrics),
    ):
        if named:
            tx.execute(insert(table), [{**key, "name": name, "value": value} for name, value in named.items()])


def index_parents(tx: Connection, model: str, number: int, facts: VersionFacts) -> None:
    """Keep the parents of a new version, or raise VersionMissingError for one that does not exist."""
    parents = {*((model, parent) for parent in facts.parents), *facts.parents_elsewhere}
    for parent_model, parent in sorted(parents):
        if parent_model == model and parent >= number:
            raise _missing(model, parent)
        get_version(tx, parent_model, parent)
        key = {"model": model, "number": number}
        tx.execute(insert(tables.version_parents).values(**key, parent_model=parent_model, parent_number=parent))


def is_version(model: str, number: int) -> tuple[Any, Any]:
    """Return the conditions that a row of the table is this version's."""
    return tables.versions.c.model == model, tables.versions.c.number == number


def name_of(model: str, number: int) -> str:
    """Return the version's resource name."""
    return f"models/{model}/versions/{number}"


def _missing(model: str, number: int) -> VersionMissingError:
    return VersionMissingError(f"the model {model!r} has no version {number}", model=model, version=number)


def _row(draft: VersionDraft) -> dict[str, object]:
    facts = draft.facts
    return {
        "model": draft.model,
        "artifact_sha256": draft.artifact_sha256,
        "artifact_bytes": draft.artifact_bytes,
        "signature": asdict(draft.signature),
        "facts": asdict(facts),
        "feature_set": facts.feature_set,
        "feature_set_digest": draft.feature_set_digest,
        "feature_input": draft.feature_input,
        "probe_sha256": draft.probe_sha256,
        "probe_rows": draft.probe_rows,
        "stage": Stage.DEVELOPMENT.value,
        "description": check_text("description", facts.description),
        "tags": check_labels("tags", facts.tags),
        "algorithm": facts.algorithm,
        "data_fingerprint": facts.data_fingerprint,
        "signed_by": draft.signed_by,
        "manifest_signature": draft.manifest_signature,
    }


def version_of(row: Any) -> Version:
    """Return the version that a row of the table holds, or an object with its columns as attributes."""
    return Version(
        model=row.model,
        number=row.number,
        artifact_sha256=row.artifact_sha256,
        artifact_bytes=row.artifact_bytes,
        signature=signature_from(row.signature),
        facts=_facts_from(row.facts),
        feature_set_digest=row.feature_set_digest,
        feature_input=row.feature_input,
        probe_sha256=row.probe_sha256,
        probe_rows=row.probe_rows,
        stage=Stage(row.stage),
        created_us=row.created_us,
        created_by=row.created_by,
        description=row.description,
        tags=row.tags,
        properties=row.properties,
        deprecated=row.deprecated,
        signed_by=row.signed_by,
        etag=row.etag,
        deleted_us=row.deleted_us,
        manifest_signature=row.manifest_signature,
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


def _facts_from(document: Mapping[str, Any]) -> VersionFacts:
    elsewhere = tuple((model, number) for model, number in document.get("parents_elsewhere", ()))
    return VersionFacts(**{**document, "parents": tuple(document["parents"]), "parents_elsewhere": elsewhere})
