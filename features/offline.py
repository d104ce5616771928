"""The offline store: DuckDB over the declared sources, and over nothing else.

Every query gets a database of its own in memory, which reads the files of the declared sources and spills to a scratch
folder. Before anybody's SQL runs, access to anything else is turned off and the configuration is locked: no other
file, no network, no extension, no variable of this process. SQL is one SELECT; what varies is bound, never put in.
"""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa

from features.code_folder import Call, CodeFolder
from features.definitions import code_table
from features.errors import SourceUnreadableError
from features.fetched import brought_here
from features.sql import check_select, quoted, quoted_text, reported
from features.watchdog import watched
from storage.crew import ALONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from features.definitions import Source, View
    from storage.crew import Crew

BATCH_ROWS = 8192


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
    crew
        Who does what outgrows this machine; it sees the sources, and the folder to spill to, under their paths here.
    """

    threads: int = 1
    memory_bytes_max: int = 1024**3
    scratch_bytes_max: int = 16 * 1024**3
    run_ms_max: int = 600_000
    scratch: Path | None = None
    code: CodeFolder = field(default_factory=CodeFolder)
    crew: Crew = ALONE

    def elsewhere(self) -> OfflineLimits:
        """Return what a share may use on the machine that does it, which has a folder of its own to spill to."""
        return replace(self, threads=self.crew.threads or self.threads, scratch=None, crew=ALONE)


class Batches:
    """The batches of a query's result, made as they are read; what goes wrong meanwhile is an error of ours."""

    __slots__ = ("_reader", "schema")

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self._reader = reader
        self.schema: pa.Schema = reader.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches, each once."""
        while True:
            with reported():
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

    __slots__ = ("_computed", "_connection", "folder", "limits")

    def __init__(self, connection: Any, limits: OfflineLimits, folder: Path) -> None:
        self._connection = connection
        self.limits = limits
        """What its queries may use."""
        self.folder = folder
        """Whose Parquet files it may write and read beside the sources."""
        self._computed = 0

    def compute(self, view: View, bounds: Mapping[str, datetime]) -> None:
        """Make the table that a view in Python reads, if it is one; raises as `CodeFolder.run`."""
        if not view.code:
            return
        self._computed += 1
        inputs = [(name, self.folder / f"{self._computed}-{name}.parquet") for name in view.inputs]
        for name, path in inputs:
            self.copy(f"SELECT * FROM {quoted(name)}", path)
        output = self.folder / f"{self._computed}.parquet"
        call = Call(view.name, view.code, view.code_sha256, inputs, output, bounds["since"], bounds["until"])
        limits = self.limits
        limits.code.run(call, memory_bytes_max=limits.memory_bytes_max, run_ms_max=limits.run_ms_max)
        table = quoted(code_table(view.name))
        self._run(f"CREATE OR REPLACE VIEW {table} AS SELECT * FROM {parquet([output])}", {})

    def columns(self, sql: str, bounds: Mapping[str, datetime]) -> dict[str, str]:
        """Return name to type of what a SELECT gives, or raise FeatureSqlInvalidError."""
        bound = check_select(sql, bounds)
        rows = self._run(f"DESCRIBE SELECT * FROM (\n{sql}\n)", bound).fetchall()
        return {row[0]: row[1] for row in rows}

    def keep(self, table: str, sql: str, parameters: Mapping[str, object]) -> None:
        """Keep what a query of ours gives in a temporary table, named like none of the sources."""
        self._run(f"CREATE TEMP TABLE {quoted(table)} AS {sql}", parameters)

    def copy(self, sql: str, path: Path) -> None:
        """Write what a query of ours gives as a Parquet file in the folder."""
        self._run(f"COPY ({sql}) TO {quoted_text(str(path))} (FORMAT parquet)", {})

    def one(self, sql: str, parameters: Mapping[str, object] | None = None) -> tuple[Any, ...]:
        """Return the one row of a query of ours."""
        rows: list[tuple[Any, ...]] = self._run(
            sql, parameters or {}
        ).fetchall()  # to its end: else the connection stays in use
        return rows[0]

    def stream(self, sql: str, parameters: Mapping[str, object]) -> Batches:
        """Return the batches of a query of ours, made as they are read."""
        with reported():
            return Batches(self._connection.sql(sql, params=dict(parameters)).to_arrow_reader(BATCH_ROWS))

    def _run(self, sql: str, parameters: Mapping[str, object]) -> Any:
        with reported():
            return self._connection.execute(sql, dict(parameters))


def parquet(paths: Iterable[Path]) -> str:
    """Return the SQL of the rows of some Parquet files."""
    return f"read_parquet([{', '.join(quoted_text(str(path)) for path in paths)}])"


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
    paths = ", ".join(quoted_text(path) for path in (*(source.path for source in sources), *logs))
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute(f"SET allowed_directories = [{quoted_text(str(computed))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _declare(connection: Any, source: Source) -> None:
    path = quoted_text(source.path)
    try:
        if source.kind == "duckdb":
            database = quoted(f"turnout_file_{source.name}")
            connection.execute(f"ATTACH {path} AS {database} (READ_ONLY)")
            reader = ".".join([database, *(quoted(part) for part in source.table.split("."))])
        elif source.kind == "csv":
            reader = f"read_csv({path}, nullstr={quoted_text(source.null_text)})"
        else:
            reader = f"read_parquet({path})"
        connection.execute(f"CREATE VIEW {quoted(source.name)} AS SELECT * FROM {reader}")
    except duckdb.Error as error:
        raise SourceUnreadableError(
            f"source {source.name} cannot be read from {source.path}: {error}", source=source.name, path=source.path
        ) from error
