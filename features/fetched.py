"""Sources that are not files of this machine: brought here as Parquet before a query runs, and gone after it.

The query itself stays fenced in: it sees what was brought, not where it came from.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import SourceUnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from features.definitions import Source

ROWS_AT_ONCE = 50_000
READ_BYTES = 8 * 1024**2
CONNECT_TIMEOUT_S = 10
# The types of PostgreSQL by their numbers, which never change; what is not here is read as text.
_TYPES: dict[int, pa.DataType] = {
    16: pa.bool_(),
    20: pa.int64(),
    21: pa.int64(),
    23: pa.int64(),
    700: pa.float64(),
    701: pa.float64(),
    1082: pa.date32(),
    1114: pa.timestamp("us"),
    1184: pa.timestamp("us", tz="UTC"),
    1700: pa.float64(),
}


def brought_here(sources: Sequence[Source], folder: Path, *, bytes_max: int) -> list[Source]:
    """Return the sources as files of this machine, bringing into the folder those that are elsewhere.

    Parameters
    ----------
    bytes_max
        How much is brought in all.

    Raises
    ------
    SourceUnreadableError
        A source cannot be reached or read, or is too large.
    """
    here = []
    for source in sources:
        bring = _bringing(source)
        if bring is None:
            here.append(source)
            continue
        path = folder / f"source-{source.name}"
        with _reported(source):
            bring(source, path, bytes_max)
        bytes_max -= path.stat().st_size
        kind = "parquet" if source.kind == "postgresql" else source.kind
        here.append(replace(source, kind=kind, path=str(path), table=""))
    return here


def _bringing(source: Source) -> Callable[[Source, Path, int], None] | None:
    if source.kind == "postgresql":
        return _from_postgresql
    return _from_bucket if source.path.startswith("s3://") else None


def _from_bucket(source: Source, path: Path, bytes_max: int) -> None:
    try:
        import obstore  # noqa: PLC0415  (only who has such a source needs it)

        from storage.bucket import open_bucket  # noqa: PLC0415
    except ImportError as error:
        raise SourceUnreadableError("to read sources from a bucket, install turnout[s3]", source=source.name) from error
    parts = urlsplit(source.path)
    folder, _, key = parts.path.rpartition("/")
    bucket = open_bucket(urlunsplit(parts._replace(path=folder)))
    with path.open("wb") as file:
        for chunk in obstore.get(bucket, key).stream(min_chunk_size=READ_BYTES):
            file.write(chunk)
            _check_size(source, file.tell(), bytes_max)


def _from_postgresql(source: Source, path: Path, bytes_max: int) -> None:
    try:
        import psycopg  # noqa: PLC0415  (only who has such a source needs it)
        from psycopg import sql  # noqa: PLC0415
    except ImportError as error:
        raise SourceUnreadableError(
            "to read sources from PostgreSQL, install turnout[postgresql]", source=source.name
        ) from error
    table = sql.Identifier(*source.table.split("."))
    with psycopg.connect(source.path, connect_timeout=CONNECT_TIMEOUT_S) as connection:
        connection.read_only = True
        connection.execute("SET TimeZone = 'UTC'")
        with connection.cursor("turnout_source") as cursor:  # a cursor of the server: memory holds a part at a time
            cursor.itersize = ROWS_AT_ONCE
            cursor.execute(sql.SQL("SELECT * FROM {}").format(table))
            columns = [(each.name, _TYPES.get(each.type_code, pa.string())) for each in cursor.description or ()]
            schema = pa.schema(columns)
            with pq.ParquetWriter(path, schema) as writer:
                while rows := cursor.fetchmany(ROWS_AT_ONCE):
                    writer.write_batch(_batch(rows, schema))
                    _check_size(source, path.stat().st_size, bytes_max)


def _batch(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for field, cells in zip(schema, zip(*rows, strict=True), strict=True):
        taken: Sequence[Any] = cells
        if field.type == pa.string():
            taken = [None if cell is None else str(cell) for cell in cells]
        elif field.type == pa.float64():
            taken = [None if cell is None else float(cell) for cell in cells]
        columns.append(pa.array(taken, field.type))
    return pa.record_batch(columns, schema=schema)


def _check_size(source: Source, length: int, bytes_max: int) -> None:
    if length > bytes_max:
        raise SourceUnreadableError(
            f"source {source.name} is larger than what may be brought here ({bytes_max} bytes)", source=source.name
        )


@contextlib.contextmanager
def _reported(source: Source) -> Iterator[None]:
    """Raise whatever goes wrong with a source that is elsewhere as an error of ours, without its address."""
    try:
        yield
    except SourceUnreadableError:
        raise
    except Exception as error:  # the libraries' errors share no base but this one
        said = str(error).strip().partition("\n")[0][:300]
        raise SourceUnreadableError(f"source {source.name} cannot be read: {said}", source=source.name) from error
