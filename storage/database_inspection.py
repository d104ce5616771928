"""Looks at the metadata database that settings name, and changes nothing in it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url

from storage import migrate
from storage.database import BUSY_TIMEOUT_MS, engines, reachable
from storage.inspection import Inspection

if TYPE_CHECKING:
    from sqlalchemy import Connection


def inspect_database(url: str) -> Inspection:
    """Return what is found at the address.

    Raises
    ------
    DatabaseUrlError, DatabaseUnreachableError, SchemaUnknownError
        As `storage.database.open_database` does.
    """
    _, reader, writer = engines(url, BUSY_TIMEOUT_MS)
    inspection = Inspection()
    try:
        file = make_url(url).database or ""
        if reader.dialect.name == "sqlite" and not Path(file).exists():
            inspection.found.append("it will be made at the first start")
            return inspection
        with reachable(), reader.connect() as connection:
            if reader.dialect.name == "postgresql":
                _ask_server(connection, inspection)
            else:
                inspection.version = "SQLite " + str(connection.exec_driver_sql("SELECT sqlite_version()").scalar_one())
            _say_missing(migrate.missing(connection), inspection)
    finally:
        reader.dispose()
        writer.dispose()
    return inspection


def _ask_server(connection: Connection, inspection: Inspection) -> None:
    with inspection.timing() as reading:
        asked = "SELECT extract(epoch FROM clock_timestamp())::float8"
        reading.time_s = float(connection.exec_driver_sql(asked).scalar_one())
    version, follows, schema, may_create = connection.exec_driver_sql(
        "SELECT current_setting('server_version'), pg_is_in_recovery(), current_schema(), "
        "coalesce(has_schema_privilege(current_user, current_schema(), 'CREATE'), false)"
    ).one()
    inspection.version = f"PostgreSQL {version}"
    if follows:
        inspection.failures.append("it is a replica that takes no changes: give the address of the primary")
    if not may_create:
        inspection.failures.append(f"this user may not create tables in the schema {schema!r}: GRANT CREATE ON it")


def _say_missing(missing: int, inspection: Inspection) -> None:
    if missing:
        inspection.found.append(f"{missing} migrations will be applied at the next start")
    else:
        inspection.found.append("its schema is the newest")
