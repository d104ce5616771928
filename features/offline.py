"""The offline store: DuckDB over the declared sources, and over nothing else.

Every query gets a database of its own in memory, which reads the files of the declared sources and spills to a scratch
folder. Before anybody's SQL runs, access to anything else is turned off and the configuration is locked: no other
file, no network, no extension, no variable of this process. SQL is one SELECT; what varies is bound, never put in.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from features.code_folder import Call, CodeFolder
from features.definitions import code_table
from features.errors import FeatureSqlInvalidError, OfflineQueryError, SourceUnreadableError
from features.fetched import brought_here
from features.watchdog import watched

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from features.definitions import Source, View

BATCH_ROWS = 8192
# Bounds of what a datetime holds; a year is left on either side, so that SQL may add and subtract.
_FIRST = datetime(2, 1, 1)  # noqa: DTZ001  # DuckDB's TIMESTAMP is UTC without saying so
_LAST = datetime(9998, 12, 31)  # noqa: DTZ001
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
PARAMETERS = frozenset({"since", "until"})
_TIME_TYPES = frozenset({"TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S"})
_LIMITS = (duckdb.OutOfMemoryException, duckdb.InterruptException)
_NUMBER_TYPES = frozenset(
    {
        *("DOUBLE", "FLOAT", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
        *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineLimits:
    """What a query over the offline store may use.

    Attributes
    ----------
    threads
        How many threads run it.
    memory_bytes_max
        How much memory it holds; past it, it spills to the scratch folder.
    scratch_bytes_max
        How much it spills.
    run_ms_max
        How long it may run.
    scratch
        The folder to spill to; None: the system's folder for temporary files.
    code
        The operator's modules, for views in Python.
    """

    threads: int = 1
    memory_bytes_max: int = 1024**3
    scratch_bytes_max: int = 16 * 1024**3
    run_ms_max: int = 600_000
    scratch: Path | None = None
    code: CodeFolder = field(default_factory=CodeFolder)


class Batches:
    """The batches of a query's result, made as they are read; what goes wrong meanwhile is an error of ours."""

    __slots__ = ("_reader", "schema")

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader = reader
        self.schema: pa.Schema = reader.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches, each once."""
        while True:
            with _reported():
                try:
                    batch = self._reader.read_next_batch()
                except StopIteration:
                    return
            yield batch

    def read_all(self) -> pa.Table:
        """Return all of them as one table."""
        return pa.Table.from_batches(self, self.schema)


class OfflineStore:
    """One database in memory over the declared sources; made by `open_offline`."""

    __slots__ = ("_computed", "_connection", "_folder", "_limits")

    def __init__(self, connection: Any, limits: OfflineLimits, folder: Path) -> None:
        self._connection = connection
        self._limits = limits
        self._folder = folder
        self._computed = 0

    def compute(self, view: View, bounds: Mapping[str, datetime]) -> None:
        """Make the table that a view in Python reads, if it is one; raises as `CodeFolder.run`."""
        if not view.code:
            return
        self._computed += 1
        inputs = [(name, self._folder / f"{self._computed}-{name}.parquet") for name in view.inputs]
        for name, path in inputs:
            self._run(f"COPY (SELECT * FROM {quoted(name)}) TO {_text(str(path))} (FORMAT parquet)", {})
        output = self._folder / f"{self._computed}.parquet"
        call = Call(view.name, view.code, view.code_sha256, inputs, output, bounds["since"], bounds["until"])
        limits = self._limits
        limits.code.run(call, memory_bytes_max=limits.memory_bytes_max, run_ms_max=limits.run_ms_max)
        table = quoted(code_table(view.name))
        self._run(f"CREATE OR REPLACE VIEW {table} AS SELECT * FROM read_parquet({_text(str(output))})", {})

    def columns(self, sql: str, bounds: Mapping[str, datetime]) -> dict[str, str]:
        """Return name to type of what a SELECT gives, or raise FeatureSqlInvalidError."""
        bound = check_select(sql, bounds)
        rows = self._run(f"DESCRIBE SELECT * FROM (\n{sql}\n)", bound).fetchall()
        return {row[0]: row[1] for row in rows}

    def keep(self, table: str, sql: str, parameters: Mapping[str, object]) -> None:
        """Keep what a query of ours gives in a temporary table, named like none of the sources."""
        self._run(f"CREATE TEMP TABLE {quoted(table)} AS {sql}", parameters)

    def one(self, sql: str) -> tuple[Any, ...]:
        """Return the one row of a query of ours."""
        row: tuple[Any, ...] = self._run(sql, {}).fetchone()
        return row

    def stream(self, sql: str, parameters: Mapping[str, object]) -> Batches:
        """Return the batches of a query of ours, made as they are read."""
        with _reported():
            return Batches(self._connection.sql(sql, params=dict(parameters)).to_arrow_reader(BATCH_ROWS))

    def _run(self, sql: str, parameters: Mapping[str, object]) -> Any:
        with _reported():
            return self._connection.execute(sql, dict(parameters))


@contextlib.contextmanager
def open_offline(sources: Sequence[Source], limits: OfflineLimits) -> Iterator[OfflineStore]:
    """Give a database that sees the sources as tables; all it kept is gone when the body ends.

    Raises
    ------
    SourceUnreadableError
        A source's file is not there or not of its kind.
    """
    with tempfile.TemporaryDirectory(prefix="turnout-offline-", dir=limits.scratch) as scratch:
        connection = duckdb.connect(":memory:", config=_configuration(limits, scratch))
        watch = watched(
            connection.interrupt,
            run_ms_max=limits.run_ms_max,
            folder=scratch,
            folder_bytes_max=limits.scratch_bytes_max,
        )
        with contextlib.closing(connection), watch:
            here = brought_here(sources, Path(scratch), bytes_max=limits.scratch_bytes_max)
            computed = Path(scratch) / "computed"
            computed.mkdir()
            _fence(connection, here, computed)
            for source in here:
                _declare(connection, source)
            yield OfflineStore(connection, limits, computed)


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


def check_view(store: OfflineStore, view: View) -> None:
    """Raise FeatureSqlInvalidError unless the view's SQL gives its join keys, its times and its features."""
    store.compute(view, bounds_of(None, None))
    try:
        columns = {name.lower(): kind for name, kind in store.columns(view.sql, bounds_of(None, None)).items()}
    except FeatureSqlInvalidError as error:
        raise FeatureSqlInvalidError(f"view {view.name}: {error.message}", view=view.name) from error
    features = [feature.name for feature in view.features]
    for name in (*view.join_keys, "event_time", *features):
        if name.lower() not in columns:
            raise FeatureSqlInvalidError(f"view {view.name}: its SQL gives no column {name!r}", view=view.name)
    for name in ("event_time", "created_time"):
        if columns.get(name, "TIMESTAMP") not in _TIME_TYPES:
            raise FeatureSqlInvalidError(
                f"view {view.name}: {name} is a {columns[name]}, not a TIMESTAMP", view=view.name
            )
    if columns.get("deleted", "BOOLEAN") != "BOOLEAN":
        raise FeatureSqlInvalidError(
            f"view {view.name}: deleted is a {columns['deleted']}, not a BOOLEAN", view=view.name
        )
    for name in features:
        kind = columns[name.lower()]
        if kind not in _NUMBER_TYPES and not kind.startswith("DECIMAL"):
            raise FeatureSqlInvalidError(f"view {view.name}: {name} is a {kind}, not a number", view=view.name)


def view_rows(
    store: OfflineStore, view: View, *, since_us: int | None, until_us: int | None
) -> tuple[str, dict[str, object]]:
    """Return the SQL of a view's rows in one shape for all views, and the parameters to bind.

    The columns are `k0, k1, …` (join keys as text), `event_us`, `created_us` (the event time where the view tells no
    created time), `visible_us` (the later of the two: from then on the row is known), `deleted` (whether it
    says that there is no value from then on; false where the view does not tell), `f0, f1, …` (features as
    doubles). Rows without an event time or a join key are left out, and those not visible in `(since_us, until_us]`.
    """
    bounds = bounds_of(since_us, until_us)
    store.compute(view, bounds)
    used = check_select(view.sql, bounds)
    names = {name.lower() for name in store.columns(view.sql, bounds)}
    created = (
        "coalesce(epoch_us(created_time), epoch_us(event_time))" if "created_time" in names else "epoch_us(event_time)"
    )
    keys = [f"CAST({quoted(name)} AS VARCHAR) AS k{place}" for place, name in enumerate(view.join_keys)]
    values = [f"CAST({quoted(feature.name)} AS DOUBLE) AS f{place}" for place, feature in enumerate(view.features)]
    deleted = "coalesce(deleted, false)" if "deleted" in names else "false"
    known = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in ("event_time", *view.join_keys))
    sql = (
        f"SELECT {', '.join(keys)}, epoch_us(event_time) AS event_us, {created} AS created_us, "
        f"greatest(epoch_us(event_time), {created}) AS visible_us, {deleted} AS deleted, {', '.join(values)} "
        f"FROM (\n{view.sql}\n) WHERE {known}"
    )
    parameters: dict[str, object] = dict(used)
    conditions = []
    if since_us is not None:
        conditions.append("visible_us > $since_us")
        parameters["since_us"] = since_us
    if until_us is not None:
        conditions.append("visible_us <= $until_us")
        parameters["until_us"] = until_us
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT * FROM ({sql}){where}", parameters


def bounds_of(since_us: int | None, until_us: int | None) -> dict[str, datetime]:
    """Return the parameters that a view's SQL may use to limit its scan: `$since` and `$until`, UTC timestamps.

    Only rows that became visible in `(since, until]` are asked for; giving more costs time and changes nothing. A
    window over the last seven days therefore reads its source from `$since - INTERVAL 7 DAY` on.
    """
    return {
        "since": _FIRST if since_us is None else _timestamp(since_us),
        "until": _LAST if until_us is None else _timestamp(until_us),
    }


def quoted(name: str) -> str:
    """Return an identifier as SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def _timestamp(time_us: int) -> datetime:
    try:
        return min(max(_EPOCH + timedelta(microseconds=time_us), _FIRST), _LAST)
    except OverflowError:
        return _FIRST if time_us < 0 else _LAST


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _configuration(limits: OfflineLimits, scratch: str) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "threads": str(limits.threads),
        "memory_limit": f"{limits.memory_bytes_max}B",
        "temp_directory": scratch,
        "max_temp_directory_size": f"{limits.scratch_bytes_max}B",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",
    }


def _fence(connection: Any, sources: Sequence[Source], computed: Path) -> None:
    """Leave only the sources' files and what Python computes of them within reach, for good."""
    # DuckDB looks for the log of a file of its own beside it, though it reads only.
    logs = [f"{source.path}.wal" for source in sources if source.kind == "duckdb"]
    paths = ", ".join(_text(path) for path in (*(source.path for source in sources), *logs))
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute(f"SET allowed_directories = [{_text(str(computed))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _declare(connection: Any, source: Source) -> None:
    path = _text(source.path)
    try:
        if source.kind == "duckdb":
            database = quoted(f"turnout_file_{source.name}")
            connection.execute(f"ATTACH {path} AS {database} (READ_ONLY)")
            reader = ".".join([database, *(quoted(part) for part in source.table.split("."))])
        elif source.kind == "csv":
            reader = f"read_csv({path}, nullstr={_text(source.null_text)})"
        else:
            reader = f"read_parquet({path})"
        connection.execute(f"CREATE VIEW {quoted(source.name)} AS SELECT * FROM {reader}")
    except duckdb.Error as error:
        raise SourceUnreadableError(
            f"source {source.name} cannot be read from {source.path}: {error}", source=source.name, path=source.path
        ) from error


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """Raise what DuckDB raises as errors of ours."""
    try:
        yield
    except (duckdb.Error, OSError, pa.ArrowException) as error:  # the latter two from a stream, with DuckDB's text
        text = str(error)
        if isinstance(error, _LIMITS) or text.startswith(("Out of Memory", "INTERRUPT")):
            raise OfflineQueryError(f"the query over the offline store ran into its limits: {text}") from error
        raise FeatureSqlInvalidError(f"the SQL cannot be run: {text}") from error
