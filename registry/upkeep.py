"""Looking after the artifacts: which versions need them, whether they are as they were put, and which nobody needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import exists, or_, select

from registry import tables
from registry.errors import ArtifactCorruptError, ArtifactMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from registry.artifacts import ArtifactStore, Kept
    from storage.database import Database

GRACE_S = 86_400.0
"""How old an artifact must be before it is collected: a publication puts the bytes before it adds the version."""


@dataclass(frozen=True, slots=True)
class Needed:
    """An artifact that versions need, deleted ones too, since those may come back.

    Attributes
    ----------
    length_bytes
        Its length; 0 for probe rows, of which the database does not know it.
    versions
        The versions, by resource name.
    """

    sha256: str
    length_bytes: int
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Collected:
    """What no version needs: what was old enough, and how many were not."""

    artifacts: tuple[Kept, ...]
    younger: int


def needed_artifacts(tx: Connection) -> list[Needed]:
    """Return all artifacts that versions need, by digest."""
    table = tables.versions
    query = select(table.c.model, table.c.number, table.c.artifact_sha256, table.c.artifact_bytes, table.c.probe_sha256)
    found: dict[str, tuple[int, list[str]]] = {}
    for row in tx.execute(query.order_by(table.c.model, table.c.number)):
        name = f"models/{row.model}/versions/{row.number}"
        found.setdefault(row.artifact_sha256, (row.artifact_bytes, []))[1].append(name)
        if row.probe_sha256:
            found.setdefault(row.probe_sha256, (0, []))[1].append(name)
    return [Needed(sha256, length, tuple(names)) for sha256, (length, names) in sorted(found.items())]


def is_needed(tx: Connection, sha256: str) -> bool:
    """Return whether any version needs the artifact."""
    table = tables.versions
    named = or_(table.c.artifact_sha256 == sha256, table.c.probe_sha256 == sha256)
    return bool(tx.execute(select(exists().where(named))).scalar_one())


def problem_of(artifacts: ArtifactStore, sha256: str) -> ArtifactMissingError | ArtifactCorruptError | None:
    """Read an artifact where it is kept for good and return what is wrong with it; None: nothing."""
    try:
        artifacts.check(sha256)
    except (ArtifactMissingError, ArtifactCorruptError) as error:
        return error
    return None


def unneeded(artifacts: ArtifactStore, needed: Sequence[Needed]) -> Iterator[Kept]:
    """Yield what the store keeps that none of these versions needs."""
    names = {each.sha256 for each in needed}
    for kept in artifacts.listed():
        if kept.sha256 not in names:
            yield kept


def collect_artifacts(database: Database, artifacts: ArtifactStore, *, before_us: int, dry_run: bool) -> Collected:
    """Remove what no version needs and was put before then, and return it.

    Each is removed within a writing transaction that has seen again that nobody needs it: a publication that found the
    same bytes there looks for them once more in the transaction that adds its version, and only one can be first.
    """
    with database.read() as tx:
        needed = needed_artifacts(tx)
    candidates = list(unneeded(artifacts, needed))
    old = sorted((kept for kept in candidates if kept.put_us < before_us), key=lambda kept: kept.sha256)
    if dry_run:
        return Collected(tuple(old), len(candidates) - len(old))
    removed = []
    for kept in old:
        with database.write() as tx:
            if not is_needed(tx, kept.sha256):
                artifacts.remove(kept.sha256)
                removed.append(kept)
    return Collected(tuple(removed), len(candidates) - len(old))
