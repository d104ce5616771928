"""SQL as text: how names are quoted in it, what a statement may be, and what DuckDB's errors become."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from features.errors import FeatureSqlInvalidError, OfflineQueryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

_LIMITS = (duckdb.OutOfMemoryException, duckdb.InterruptException)


def check_select(sql: str, bounds: Mapping[str, datetime]) -> dict[str, datetime]:
    """Return those of the bounds that the SQL uses, or raise FeatureSqlInvalidError unless it is one SELECT."""
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise FeatureSqlInvalidError(f"the SQL cannot be parsed: {error}") from error
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise FeatureSqlInvalidError("the SQL is not one SELECT statement")
    used = frozenset(statements[0].named_parameters)
    unknown = used - bounds.keys()
    if unknown:
        known = ", ".join(f"${name}" for name in sorted(bounds)) or "none"
        raise FeatureSqlInvalidError(f"the SQL uses the parameters {sorted(unknown)}; there are {known}")
    return {name: bounds[name] for name in used}


def tables_in(sql: str) -> frozenset[str]:
    """Return the tables that a statement names, in lower case, or raise FeatureSqlInvalidError."""
    try:
        with duckdb.connect(":memory:", config={"threads": "1"}) as connection:
            return frozenset(name.lower() for name in connection.get_table_names(sql))
    except duckdb.Error as error:
        raise FeatureSqlInvalidError(f"the SQL cannot be parsed: {error}") from error


def quoted(name: str) -> str:
    """Return an identifier as SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def quoted_text(value: str) -> str:
    """Return a text as SQL quotes it."""
    return "'" + value.replace("'", "''") + "'"


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Raise what DuckDB raises as errors of ours."""
    try:
        yield
    except (duckdb.Error, OSError, pa.ArrowException) as error:  # the latter two from a stream, with DuckDB's text
        text = str(error)
        if isinstance(error, _LIMITS) or text.startswith(("Out of Memory", "INTERRUPT")):
            raise OfflineQueryError(f"the query over the offline store ran into its limits: {text}") from error
        raise FeatureSqlInvalidError(f"the SQL cannot be run: {text}") from error
