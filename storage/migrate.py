"""Brings the schema to the newest: the chain of migrations beside this module, without a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import delete, insert, inspect, select

from storage.errors import PreconditionError
from storage.schema import schema_readers

if TYPE_CHECKING:
    from sqlalchemy import Connection


READABLE_SINCE = "0016"
"""The earliest schema whose releases may go on with the newest one: raised by a migration that takes something away.

Migrations that only add leave it as it is, so that two adjacent releases run together, and an upgrade can be undone.
"""


class SchemaUnknownError(PreconditionError):
    """The database was written by a newer Turnout, whose schema this one does not know."""

    reason = "SCHEMA_UNKNOWN"


def missing(tx: Connection) -> int:
    """Return how many migrations the database lacks, or raise SchemaUnknownError. Nothing is changed."""
    _, script, present = _looked_at(tx)
    if not _known(script, present):
        return 0
    return sum(1 for _ in script.iterate_revisions("head", present or "base"))


def to_newest(tx: Connection) -> None:
    """Apply the migrations that are missing, all in the caller's transaction, or raise SchemaUnknownError.

    Not for two threads at a time: alembic's context is global. `open_database` holds a lock.
    """
    config, script, present = _looked_at(tx)
    if present == script.get_current_head() or not _known(script, present):
        return
    command.upgrade(config, "head")
    readers = [{"schema": each.revision} for each in script.iterate_revisions("head", READABLE_SINCE, inclusive=True)]
    tx.execute(delete(schema_readers))
    tx.execute(insert(schema_readers), readers)


def _looked_at(tx: Connection) -> tuple[Config, ScriptDirectory, str | None]:
    """Return the chain of migrations, and where in it the database is; None before its begin."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = tx
    script = ScriptDirectory.from_config(config)
    present = MigrationContext.configure(tx).get_current_revision()
    if not _known(script, present) and script.get_current_head() not in _readers(tx):
        raise SchemaUnknownError(
            f"the database's schema is {present!r}, which this Turnout cannot use: start the newer one",
            schema=present,
        )
    return config, script, present


def _known(script: ScriptDirectory, present: str | None) -> bool:
    """Return whether the database is at a place of this release's chain; else a newer one has migrated it."""
    return present is None or present in {each.revision for each in script.walk_revisions()}


def _readers(tx: Connection) -> set[str]:
    """Return the schemas whose releases may use the database, as the newer release that migrated it says."""
    if not inspect(tx).has_table(schema_readers.name):
        return set()
    return set(tx.execute(select(schema_readers.c.schema)).scalars())
