"""Brings the schema to the newest: the chain of migrations beside this module, without a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from storage.errors import PreconditionError

if TYPE_CHECKING:
    from sqlalchemy import Connection


class SchemaUnknownError(PreconditionError):
    """The database was written by a newer Turnout, whose schema this one does not know."""

    reason = "SCHEMA_UNKNOWN"


def missing(tx: Connection) -> int:
    """Return how many migrations the database lacks, or raise SchemaUnknownError. Nothing is changed."""
    _, script, present = _looked_at(tx)
    return sum(1 for _ in script.iterate_revisions("head", present or "base"))


def to_newest(tx: Connection) -> None:
    """Apply the migrations that are missing, all in the caller's transaction, or raise SchemaUnknownError.

    Not for two threads at a time: alembic's context is global. `open_database` holds a lock.
    """
    config, script, present = _looked_at(tx)
    if present != script.get_current_head():
        command.upgrade(config, "head")


def _looked_at(tx: Connection) -> tuple[Config, ScriptDirectory, str | None]:
    """Return the chain of migrations, and where in it the database is; None before its begin."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = tx
    script = ScriptDirectory.from_config(config)
    present = MigrationContext.configure(tx).get_current_revision()
    if present is not None and present not in {each.revision for each in script.walk_revisions()}:
        raise SchemaUnknownError(
            f"the database's schema is {present!r}, which this Turnout does not know: start the newer one",
            schema=present,
        )
    return config, script, present
