"""Brings the schema to the newest: the chain of migrations beside this module, without a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import column, delete, insert, inspect, select, table

from storage.errors import PreconditionError
from storage.schema import schema_readers

if TYPE_CHECKING:
    from sqlalchemy import Connection

READABLE_SINCE = "0016"
"""The earliest schema whose releases may go on with the newest one: raised by a migration that takes something away.

Migrations that only add leave it as it is, so that two adjacent releases run together, and an upgrade can be undone.
"""

_MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION = table("alembic_version", column("version_num"))


class SchemaUnknownError(PreconditionError):
    """The database was written by a newer Turnout, whose schema this one does not know."""

    reason = "SCHEMA_UNKNOWN"


def missing(tx: Connection) -> int:
    """Return how many migrations the database lacks, or raise SchemaUnknownError. Nothing is changed."""
    return len(_lacking(tx))


def to_newest(tx: Connection) -> None:
    """Apply the migrations that are missing, all in the caller's transaction, or raise SchemaUnknownError.

    Not for two threads at a time: alembic's context is global. `open_database` holds a lock.
    """
    if not _lacking(tx):
        return
    from alembic import command  # noqa: PLC0415  (takes as long to load as all else that most starts do with the database)
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = tx
    command.upgrade(config, "head")
    tx.execute(delete(schema_readers))
    tx.execute(insert(schema_readers), [{"schema": each} for each in _chain() if each >= READABLE_SINCE])


def _lacking(tx: Connection) -> list[str]:
    """Return the migrations that the database lacks: none where a newer release has migrated it, and lets us use it."""
    chain, present = _chain(), _present(tx)
    if present is None:
        return chain
    if present in chain:
        return chain[chain.index(present) + 1 :]
    if chain[-1] not in _readers(tx):
        raise SchemaUnknownError(
            f"the database's schema is {present!r}, which this Turnout cannot use: start the newer one",
            schema=present,
        )
    return []


def _chain() -> list[str]:
    """Return the migrations of this release in their order: each file is named after its revision."""
    return sorted(path.name[:4] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def _present(tx: Connection) -> str | None:
    """Return the migration that the database was brought to last; None where there was none."""
    if not inspect(tx).has_table(_VERSION.name):
        return None
    return tx.execute(select(_VERSION.c.version_num)).scalar_one_or_none()


def _readers(tx: Connection) -> set[str]:
    """Return the schemas whose releases may use the database, as the newer release that migrated it says."""
    if not inspect(tx).has_table(schema_readers.name):
        return set()
    return set(tx.execute(select(schema_readers.c.schema)).scalars())
