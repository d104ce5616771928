"""Versions: numbered when they are added; their substance never changes after."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from registry import tables
from registry.errors import ModelMissingError, StillNeededError, VersionDeletedError, VersionMissingError
from registry.labels import check_etag, check_labels, check_text
from registry.models import checked_fields
from registry.records import Signature, Stage, TensorSpec, Version, VersionDraft, VersionFacts
from registry.stages import check_move
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from sqlalchemy import Connection, Row

PARENTS_MAX = 64

_UPDATABLE: dict[str, Callable[[object], object]] = {
    "description": lambda value: check_text("description", value),
    "tags": lambda value: check_labels("tags", value),
    "properties": lambda value: check_labels("properties", value),
    "deprecated": lambda value: check_text("deprecated", value, chars_max=1024),
}


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
        resource=_name(draft.model, number),
        actor=actor,
        detail={"artifact_sha256": draft.artifact_sha256, "artifact_bytes": draft.artifact_bytes},
        after={"artifact_sha256": draft.artifact_sha256},
        now_us=now_us,
    )
    row = _row(draft) | {"number": number, "created_us": now_us, "created_by": actor, "etag": str(revision)}
    tx.execute(insert(tables.versions).values(row))
    _index(tx, draft, number)
    return get_version(tx, draft.model, number), revision


def get_version(tx: Connection, model: str, number: int) -> Version:
    """Return the version, deleted or not, or raise VersionMissingError."""
    query = select(tables.versions).where(*_is(model, number))
    row = tx.execute(query).one_or_none()
    if row is None:
        raise _missing(model, number)
    return version_of(row)


def live_version(tx: Connection, model: str, number: int) -> Version:
    """Return the version, or raise VersionMissingError or VersionDeletedError."""
    version = get_version(tx, model, number)
    if version.deleted_us:
        raise VersionDeletedError(f"{_name(model, number)} is deleted: restore it first", model=model, version=number)
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
    check_etag(_name(model, number), found=before.etag, seen=etag)
    values = checked_fields(fields, _UPDATABLE)
    changed = {
        name: {"from": getattr(before, name), "to": value}
        for name, value in values.items()
        if value != getattr(before, name)
    }
    if changed:
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
    check_move(_name(model, number), version.stage, stage)
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
    check_etag(_name(model, number), found=version.etag, seen=etag)
    _refuse_named(tx, version, what="deleted")
    if number in pinned:
        raise StillNeededError(
            f"{_name(model, number)} is an arm of an experiment that is not over: conclude it first",
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


def set_stage(tx: Connection, model: str, number: int, *, stage: Stage) -> None:
    """Note where the version stands; the caller records the change that put it there."""
    tx.execute(update(tables.versions).where(*_is(model, number)).values(stage=stage.value))


def _refuse_named(tx: Connection, version: Version, *, what: str) -> None:
    query = select(tables.aliases.c.alias).where(
        tables.aliases.c.model == version.model, tables.aliases.c.version == version.number
    )
    aliases = list(tx.execute(query.order_by(tables.aliases.c.alias)).scalars())
    if aliases:
        raise StillNeededError(
            f"{_name(version.model, version.number)} cannot be {what} while it holds {', '.join(aliases)}: move those "
            "first",
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
    name = _name(version.model, version.number)
    revision = record_change(tx, kind=kind, resource=name, actor=actor, detail=detail, now_us=now_us)
    where = _is(version.model, version.number)
    tx.execute(update(tables.versions).where(*where).values(**values, etag=str(revision)))


def _index(tx: Connection, draft: VersionDraft, number: int) -> None:
    """Keep what is searched, and the parents, which must exist."""
    key = {"model": draft.model, "number": number}
    for table, named in (
        (tables.version_tags, draft.facts.tags),
        (tables.version_parameters, draft.facts.parameters),
        (tables.version_metrics, draft.facts.metrics),
    ):
        if named:
            tx.execute(insert(table), [{**key, "name": name, "value": value} for name, value in named.items()])
    parents = {*((draft.model, parent) for parent in draft.facts.parents), *draft.facts.parents_elsewhere}
    for model, parent in sorted(parents):
        if model == draft.model and parent >= number:
            raise _missing(model, parent)
        get_version(tx, model, parent)
        tx.execute(insert(tables.version_parents).values(**key, parent_model=model, parent_number=parent))


def _replace_tags(tx: Connection, model: str, number: int, tags: object) -> None:
    table = tables.version_tags
    tx.execute(delete(table).where(table.c.model == model, table.c.number == number))
    named = check_labels("tags", tags)
    if named:
        rows = [{"model": model, "number": number, "name": name, "value": value} for name, value in named.items()]
        tx.execute(insert(table), rows)


def _is(model: str, number: int) -> tuple[Any, Any]:
    return tables.versions.c.model == model, tables.versions.c.number == number


def _name(model: str, number: int) -> str:
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
    }


def version_of(row: Row[Any]) -> Version:
    """Return the version that a row of the table holds."""
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
