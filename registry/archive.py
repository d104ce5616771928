"""Models as documents that lose nothing, and documents taken in again, all of them or none.

A document holds the rows of everything that the registry knows of one model. Revisions and etags are each database's
own and are given anew; the order of what happened stays.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError, StatementError

from registry import tables
from registry.artifacts import check_digest
from registry.errors import ArchiveConflictError, ArchiveInvalidError, VersionMissingError
from registry.fingerprints import parts_of
from registry.models import get_model
from registry.names import check_model_id
from registry.versions import index_labels, index_parents, version_of
from storage.errors import DomainError
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Table

    from registry.records import Version

    Document = dict[str, Any]

FORMAT = 1
SHOWN_CHARACTERS_MAX = 80
_OWN = {"etag", "revision", "id"}
"""Columns that another database gives anew; a model's id is its name and is kept beside them."""

# By table: the column that names the model, and the order of its rows.
_PARTS: dict[str, tuple[Table, str, tuple[str, ...]]] = {
    "versions": (tables.versions, "model", ("number",)),
    "aliases": (tables.aliases, "model", ("alias",)),
    "alias_moves": (tables.alias_moves, "model", ("revision", "alias")),
    "gate_verdicts": (tables.gate_verdicts, "model", ("revision", "number", "position")),
    "approvals": (tables.approvals, "model", ("revision", "number")),
    "deployments": (tables.deployments, "model", ("version",)),
}
_HISTORY = ("alias_moves", "gate_verdicts", "approvals")


@dataclass(slots=True)
class TakenIn:
    """What was taken in: models by id, and counts; the revision is 0 when nothing was."""

    added: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    versions: int = 0
    taints: int = 0
    revision: int = 0


def model_document(tx: Connection, model: str) -> Document:
    """Return all that the registry knows of a model, or raise ModelMissingError."""
    get_model(tx, model)
    row = tx.execute(select(tables.models).where(tables.models.c.id == model)).one()
    document: Document = {"format": FORMAT, "model": _plain(row._mapping, keep={"id"})}  # noqa: SLF001  (its public name)
    for name, (table, owner, order) in _PARTS.items():
        query = select(table).where(table.c[owner] == model).order_by(*(table.c[column] for column in order))
        keep = {"revision"} if name in _HISTORY else set()
        document[name] = [_plain(row._mapping, keep=keep) for row in tx.execute(query)]  # noqa: SLF001  (as above)
    return _ranked(document)


def taint_documents(tx: Connection, models: Sequence[str] | None) -> list[Document]:
    """Return the taints: all, or those of these models' versions and of the data that they were made from."""
    rows = [_plain(row._mapping) for row in tx.execute(select(tables.taints).order_by(tables.taints.c.id))]  # noqa: SLF001
    if models is None:
        return rows
    table = tables.versions
    query = select(table.c.model, table.c.number, table.c.data_fingerprint).where(table.c.model.in_(models))
    subjects = set()
    for row in tx.execute(query):
        subjects |= {("data", part) for part in parts_of(row.data_fingerprint)}
        subjects.add(("version", f"models/{row.model}/versions/{row.number}"))
    return [row for row in rows if (row["kind"], row["subject"]) in subjects]


def needed_by(document: Document) -> dict[str, str]:
    """Return the artifacts that a model's document needs, each with what it is: `artifact` or `probe`."""
    found = {}
    for row in document["versions"]:
        for role in ("artifact", "probe"):
            if sha256 := row[f"{role}_sha256"]:
                check_digest(sha256)
                found[sha256] = role
    return found


def versions_in(document: Document) -> list[Version]:
    """Return the versions that a document holds, or raise ArchiveInvalidError when it is not one that we wrote."""
    try:
        return _checked(document)
    except ArchiveInvalidError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, DomainError) as error:
        raise ArchiveInvalidError(f"a model's document cannot be read: {str(error)[:200]}") from error


def take_in(
    tx: Connection, documents: Iterable[Document], taints: Sequence[Document], *, actor: str, now_us: int
) -> TakenIn:
    """Add the models and taints that are not here, leave alone those that are, and return what was done.

    Raises
    ------
    ArchiveConflictError
        Something is here under the same name and is not the same; which, is said.
    ArchiveInvalidError
        A document is not one that we wrote.
    """
    taken = TakenIn()
    added = []
    for document in documents:
        model = document["model"]["id"]
        if tx.execute(select(tables.models.c.id).where(tables.models.c.id == model)).first() is None:
            added.append(document)
        else:
            _refuse_other(_without_signers(document), _without_signers(model_document(tx, model)), f"models/{model}")
            taken.unchanged.append(model)
    try:
        for document in added:
            taken.revision = _add(tx, document, actor=actor, now_us=now_us)
            taken.added.append(document["model"]["id"])
            taken.versions += len(document["versions"])
        for document in added:  # a parent may be of any model: all versions are there by now
            for version in versions_in(document):
                _index_parents(tx, version)
        for taint in taints:
            taken.revision = _add_taint(tx, taint, taken, actor=actor, now_us=now_us) or taken.revision
    except (KeyError, TypeError, IntegrityError, StatementError) as error:
        raise ArchiveInvalidError(
            f"the archive cannot be taken in: {str(error).partition(chr(10))[0][:200]}"
        ) from error
    return taken


def _checked(document: Document) -> list[Version]:
    if document["format"] != FORMAT:
        raise ArchiveInvalidError(f"the document has the format {document['format']!r}; this gateway reads {FORMAT}")
    model = document["model"]
    check_model_id(model["id"])
    _check_columns(model, tables.models, kept={"id"}, what=f"models/{model['id']}")
    for name, (table, owner, _) in _PARTS.items():
        for row in document[name]:
            _check_columns(row, table, kept={"revision"} if name in _HISTORY else set(), what=name)
            if row[owner] != model["id"]:
                raise ArchiveInvalidError(f"a row of {name} is of another model than {model['id']}")
    versions = [version_of(_Row({**row, "etag": ""})) for row in document["versions"]]
    if [version.number for version in versions] != list(range(1, model["latest_version"] + 1)):
        raise ArchiveInvalidError(f"models/{model['id']} has not the versions 1 to {model['latest_version']}")
    standing = {}
    for row in document["alias_moves"]:
        standing[row["alias"]] = None if row["removed"] else (row["to_version"], row["generation"])
    named = {row["alias"]: (row["version"], row["generation"]) for row in document["aliases"]}
    if named != {alias: held for alias, held in standing.items() if held}:
        raise ArchiveInvalidError(f"the aliases of models/{model['id']} are not where their history left them")
    needed_by(document)
    return versions


class _Row:
    """A row of a table, made of a document."""

    def __init__(self, values: Document) -> None:
        self.__dict__.update(values)


def _check_columns(row: Document, table: Table, *, kept: set[str], what: str) -> None:
    wanted = {column.name for column in table.columns} - (_OWN - kept)
    if row.keys() != wanted:
        raise ArchiveInvalidError(f"{what} says {sorted(row.keys() ^ wanted)} too much or too little")


def _add(tx: Connection, document: Document, *, actor: str, now_us: int) -> int:
    """Add a model with all its rows and return the revision of the last change."""
    versions, model = versions_in(document), document["model"]
    name = f"models/{model['id']}"

    def change(detail: Document) -> int:
        return record_change(
            tx, kind="model.imported", resource=name, actor=actor, detail=detail, after=detail, now_us=now_us
        )

    revision = change({"versions": len(versions), "artifacts": len(needed_by(document))})
    tx.execute(insert(tables.models).values({**model, "etag": str(revision)}))
    for row in document["versions"]:
        tx.execute(insert(tables.versions).values({**row, "etag": str(revision)}))
    for version in versions:
        index_labels(tx, version.model, version.number, version.facts, version.tags)
    # What was one change there is one here, in the same order.
    happened = sorted({row["revision"] for part in _HISTORY for row in document[part]})
    numbers = {rank: change({"history": rank}) for rank in happened}
    for part in _HISTORY:
        for row in document[part]:
            tx.execute(insert(_PARTS[part][0]).values({**row, "revision": numbers[row["revision"]]}))
    for part in ("aliases", "deployments"):
        for row in document[part]:
            tx.execute(insert(_PARTS[part][0]).values(row))
    return max([revision, *numbers.values()])


def _index_parents(tx: Connection, version: Version) -> None:
    try:
        index_parents(tx, version.model, version.number, version.facts)
    except VersionMissingError as error:
        raise ArchiveConflictError(
            f"models/{version.model}/versions/{version.number} was made from a version that is neither in the archive "
            f"nor here: {error.message}"
        ) from error


def _add_taint(tx: Connection, taint: Document, taken: TakenIn, *, actor: str, now_us: int) -> int:
    """Add a taint unless it is here, and return the revision; 0 when it is."""
    _check_columns(taint, tables.taints, kept=set(), what="a taint")
    table = tables.taints
    same = [table.c[name] == taint[name] for name in ("kind", "subject", "reason", "actor", "time_us")]
    here = tx.execute(select(table).where(*same)).first()
    if here is not None:
        _refuse_other(taint, _plain(here._mapping), f"the taint of {taint['subject']}")  # noqa: SLF001  (as above)
        return 0
    said = {name: taint[name] for name in ("kind", "subject", "reason")}
    revision = record_change(
        tx,
        kind="taint.imported",
        resource=f"taints/{taint['kind']}/{taint['subject']}"[:512],
        actor=actor,
        detail=said,
        after=said,
        now_us=now_us,
    )
    tx.execute(insert(table).values({**taint, "id": revision}))
    taken.taints += 1
    return revision


def _refuse_other(archived: Document, here: Document, what: str) -> None:
    """Raise ArchiveConflictError, which says the first difference, unless both are the same."""
    difference = _difference(archived, here, what)
    if difference:
        raise ArchiveConflictError(
            f"{difference}; nothing was taken in: a name here keeps what it means", place=difference[:256]
        )


def _without_signers(document: Document) -> Document:
    """Return the document without who signed: each gateway's own finding, by the keys that it trusts at the time."""
    versions = [{name: value for name, value in row.items() if name != "signed_by"} for row in document["versions"]]
    return {**document, "versions": versions}


def _difference(archived: Any, here: Any, place: str) -> str:
    """Return a sentence that says the first difference; empty when there is none."""
    if archived == here:
        return ""
    parts: Iterable[tuple[str, Any, Any]] = ()
    if isinstance(archived, dict) and isinstance(here, dict):
        parts = [(f".{name}", archived.get(name), here.get(name)) for name in sorted({*archived, *here})]
    elif isinstance(archived, list) and isinstance(here, list):
        if len(archived) != len(here):
            return f"{place} has {len(archived)} entries in the archive, {len(here)} here"
        parts = [(f"[{at}]", one, other) for at, (one, other) in enumerate(zip(archived, here, strict=True))]
    found = (_difference(one, other, f"{place}{name}") for name, one, other in parts)
    return next(filter(None, found), f"{place} is {_short(archived)} in the archive, {_short(here)} here")


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}…"


def _plain(row: Any, *, keep: set[str] | frozenset[str] = frozenset()) -> Document:
    """Return a row as JSON knows it, without what is this database's own."""
    return {name: value for name, value in row.items() if name not in _OWN - keep}


def _ranked(document: Document) -> Document:
    """Return the document with the ranks of revisions in place of the revisions: 1 for the first, and so on."""
    revisions = sorted({row["revision"] for part in _HISTORY for row in document[part]})
    ranks = {revision: rank for rank, revision in enumerate(revisions, start=1)}
    for part in _HISTORY:
        for row in document[part]:
            row["revision"] = ranks[row["revision"]]
    return document
