"""A source as a definition file declares it, understood."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from features.declared import COLUMN, require
from features.definitions import Source
from features.errors import DefinitionInvalidError

if TYPE_CHECKING:
    from features.declared import SourceText

SOURCE_KINDS = ("parquet", "csv", "duckdb", "postgresql")
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_$]{0,62}(\.[A-Za-z_][A-Za-z0-9_$]{0,62})?", re.ASCII)
# What begins so is shown to SQL by Turnout itself.
OWN_TABLES = "turnout_"
# What the gateway itself shows to the SQL of labels.
JOURNAL_TABLE = "journal_outcomes"


def read_source(path: str, source: SourceText, base_dir: str) -> Source:
    """Return a source, or raise DefinitionInvalidError."""
    what = f"source {source.name}"
    require(COLUMN.fullmatch(source.name), path, f"source {source.name!r}: not a name for a table")
    require(source.name.lower() != JOURNAL_TABLE, path, f"{what}: that is the journal's table")
    require(not source.name.lower().startswith(OWN_TABLES), path, f"{what}: names with {OWN_TABLES} are Turnout's own")
    require(source.kind in SOURCE_KINDS, path, f"{what}: kind is one of {', '.join(SOURCE_KINDS)}")
    in_database = source.kind in {"duckdb", "postgresql"}
    require(bool(source.table) == in_database, path, f"{what}: a table is named of DuckDB and PostgreSQL, of no file")
    require(not source.table or _TABLE.fullmatch(source.table), path, f"{what}: table is like 'flights' or 'a.flights'")
    if source.kind == "postgresql" or "://" in source.path:
        place = _address(path, source)
    else:
        require(source.path and not set(source.path) & set("*?["), path, f"{what}: path is one file")
        require(base_dir.startswith("/") or source.path.startswith("/"), path, "base_dir is an absolute directory")
        place = str(PurePosixPath(base_dir or "/", source.path))
    return Source(name=source.name, kind=source.kind, path=place, null_text=source.null_text, table=source.table)


def _address(path: str, source: SourceText) -> str:
    """Return an address that a source may have, or raise DefinitionInvalidError."""
    what = f"source {source.name}"
    try:
        parts = urlsplit(source.path)
    except ValueError as error:
        raise DefinitionInvalidError(f"{path}: {what}: its address cannot be read: {error}", path=path) from error
    scheme = "postgresql" if source.kind == "postgresql" else "s3"
    require(source.kind != "duckdb", path, f"{what}: a DuckDB is a file of this machine")
    require(parts.scheme == scheme and parts.hostname, path, f"{what}: path is a file, or like {scheme}://host/name")
    require(not parts.password, path, f"{what}: a password is no part of a definition; the environment gives it")
    return source.path
