"""Records as columns: the Arrow schemas of the event relations, which are those of the Parquet files too.

Schemas only grow, and each file tells its schema's number: what an older part does not have is read as the record's
default (`ADDED`), and what a newer one has beside is not read. The columns `segment` and `position` tell where the
record stood: they order and tell apart what is repeated.
"""

from __future__ import annotations

from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from gateway.journal.record import Gap, Outcome, Output, Prediction, Record, Shadow

if TYPE_CHECKING:
    from collections.abc import Sequence

SCHEMA_NUMBER = 3
OUTPUT_ELEMENTS_MAX = 4096

_TEXT = pa.string()
_TEXTS = pa.map_(_TEXT, _TEXT)
_PLACE = [("segment", _TEXT), ("position", pa.int64())]
_OUTPUTS = pa.map_(_TEXT, pa.list_(pa.float64()))

PREDICTIONS = pa.schema(
    [
        ("request_id", _TEXT),
        ("time_us", pa.int64()),
        ("event_time_us", pa.int64()),
        ("model", _TEXT),
        ("version", pa.int64()),
        ("digest", _TEXT),
        ("experiment", _TEXT),
        ("variant", _TEXT),
        ("epoch", pa.int64()),
        ("propensity", pa.float64()),
        ("unit_id", _TEXT),
        ("entities", _TEXTS),
        ("attributes", _TEXTS),
        ("feature_set", _TEXT),
        ("features", pa.list_(pa.float64())),
        ("view_status", pa.list_(pa.uint8())),
        ("view_age_ms", pa.list_(pa.int64())),
        ("outputs", _OUTPUTS),
        ("outputs_omitted", pa.list_(_TEXT)),
        ("latency_us", pa.int64()),
        ("status", pa.int32()),
        ("reason", _TEXT),
        ("fallback", pa.bool_()),
        *_PLACE,
        ("run_us", pa.int64()),
        ("run_rows", pa.int64()),
        ("others_us", pa.int64()),
    ]
)
OUTCOMES = pa.schema(
    [
        ("request_id", _TEXT),
        ("unit_id", _TEXT),
        ("model", _TEXT),
        ("name", _TEXT),
        ("value", pa.float64()),
        ("event_time_us", pa.int64()),
        ("outcome_id", _TEXT),
        ("time_us", pa.int64()),
        *_PLACE,
        ("label", _TEXT),
        ("sequence", pa.int64()),
    ]
)
SHADOWS = pa.schema(
    [
        ("request_id", _TEXT),
        ("time_us", pa.int64()),
        ("event_time_us", pa.int64()),
        ("model", _TEXT),
        ("version", pa.int64()),
        ("digest", _TEXT),
        ("live_version", pa.int64()),
        ("share", pa.float64()),
        ("unit_id", _TEXT),
        ("entities", _TEXTS),
        ("feature_set", _TEXT),
        ("features", pa.list_(pa.float64())),
        ("view_status", pa.list_(pa.uint8())),
        ("view_age_ms", pa.list_(pa.int64())),
        ("outputs", _OUTPUTS),
        ("outputs_omitted", pa.list_(_TEXT)),
        ("run_us", pa.int64()),
        ("status", pa.int32()),
        ("reason", _TEXT),
        *_PLACE,
    ]
)
_COUNTS = pa.map_(_TEXT, pa.int64())
GAPS = pa.schema([("time_us", pa.int64()), ("lost", _COUNTS), *_PLACE, ("models", _COUNTS)])

SCHEMAS: dict[str, pa.Schema] = {"predictions": PREDICTIONS, "outcomes": OUTCOMES, "gaps": GAPS, "shadows": SHADOWS}
KINDS: dict[type[Record], str] = {
    Prediction: "predictions",
    Outcome: "outcomes",
    Gap: "gaps",
    Shadow: "shadows",
}

SCHEMA_KEY = b"turnout.schema"
"""Where a Parquet file tells the number of its schema, among its key-value metadata."""

_ZERO = "CAST(0 AS BIGINT)"
ADDED: dict[str, dict[str, tuple[int, str]]] = {
    "predictions": dict.fromkeys(("run_us", "run_rows", "others_us"), (3, _ZERO)),
    "outcomes": {"label": (2, "''"), "sequence": (2, _ZERO)},
    "gaps": {"models": (2, "MAP([]::VARCHAR[], []::BIGINT[])")},
}
"""For each column that came later: with which schema, and its default as SQL."""

_DEFAULTS: dict[str, object] = {
    "label": "",
    "sequence": 0,
    "models": [],
    "run_us": 0,
    "run_rows": 0,
    "others_us": 0,
}

_NUMERIC = frozenset(
    {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"}
)


def table_of(kind: str, segment: str, placed: Sequence[tuple[int, Any]]) -> pa.Table:
    """Return records of one kind as a table.

    Parameters
    ----------
    kind
        A key of `SCHEMAS`.
    segment
        The name of the segment that they stand in.
    placed
        Position and record, in the order of the segment.

    Notes
    -----
    Numeric outputs become float64 lists without their shape. An output that is text, has more than 4096 elements, or
    whose bytes do not fit its type is left out of the map and named in `outputs_omitted`.
    """
    schema = SCHEMAS[kind]
    records = [record for _, record in placed]
    special: dict[str, pa.Array] = {
        "segment": pa.repeat(pa.scalar(segment, _TEXT), len(placed)),
        "position": pa.array([position for position, _ in placed], pa.int64()),
    }
    if kind in {"predictions", "shadows"}:
        special |= _run_columns(records, attributes=kind == "predictions")
    elif kind == "gaps":
        special["lost"] = _map_column([record.lost for record in records], pa.int64())
        special["models"] = _map_column([record.models for record in records], pa.int64())
    columns = [
        special[field.name]
        if field.name in special
        else pa.array([getattr(record, field.name) for record in records], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def marked(table: pa.Table) -> pa.Table:
    """Return the table with the number of its schema in its metadata, for whoever reads the file alone."""
    return table.replace_schema_metadata({SCHEMA_KEY: str(SCHEMA_NUMBER)})


def lift(kind: str, table: pa.Table) -> pa.Table:
    """Return a table of any schema as one of this release's: what is not there has its default."""
    schema = SCHEMAS[kind]
    columns = [
        table[field.name]
        if field.name in table.column_names
        else pa.array([_DEFAULTS[field.name]] * table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _run_columns(records: Sequence[Any], *, attributes: bool) -> dict[str, pa.Array]:
    """Return the columns of predictions or shadows that are not plain values."""
    numbers, omitted = _output_columns(records)
    given = {"attributes": _map_column([record.attributes for record in records], _TEXT)} if attributes else {}
    return given | {
        "entities": _map_column([record.entities for record in records], _TEXT),
        "features": _bytes_column([record.features for record in records], np.dtype("<f8")),
        "view_status": _bytes_column([record.view_status for record in records], np.dtype("u1")),
        "outputs": numbers,
        "outputs_omitted": omitted,
    }


def _offsets(sizes: list[int]) -> pa.Array:
    return pa.array(accumulate(sizes, initial=0), pa.int32())


def _bytes_column(rows: list[bytes], dtype: np.dtype[Any]) -> pa.Array:
    """Return a list column from packed rows; a row that is not whole loses its odd bytes."""
    width = dtype.itemsize
    rows = [row if len(row) % width == 0 else row[: len(row) // width * width] for row in rows]
    values = pa.array(np.frombuffer(b"".join(rows), dtype))
    return pa.ListArray.from_arrays(_offsets([len(row) // width for row in rows]), values)


def _map_column(rows: Sequence[dict[str, Any]], value_type: pa.DataType) -> pa.Array:
    keys = pa.array(chain.from_iterable(rows), _TEXT)
    values = pa.array(chain.from_iterable(row.values() for row in rows), value_type)
    return pa.MapArray.from_arrays(_offsets([len(row) for row in rows]), keys, values)


def _output_columns(records: Sequence[Prediction | Shadow]) -> tuple[pa.Array, pa.Array]:
    """Return the map of numeric outputs and the names of those that are left out."""
    names: list[str] = []
    arrays: list[np.ndarray] = []
    counts: list[int] = []
    omitted: list[list[str]] = []
    for record in records:
        left_out = []
        before = len(names)
        for output in record.outputs:
            values = _numbers(output)
            if values is None or output.name in names[before:]:
                left_out.append(output.name)
            else:
                names.append(output.name)
                arrays.append(values)
        counts.append(len(names) - before)
        omitted.append(left_out)
    flat = np.concatenate(arrays) if arrays else np.empty(0)
    items = pa.ListArray.from_arrays(_offsets([len(values) for values in arrays]), pa.array(flat, pa.float64()))
    return (
        pa.MapArray.from_arrays(_offsets(counts), pa.array(names, _TEXT), items),
        pa.array(omitted, pa.list_(_TEXT)),
    )


def _numbers(output: Output) -> np.ndarray | None:
    """Return the output's elements as float64, or None when they are too many or no numbers."""
    if output.dtype not in _NUMERIC:
        return None
    dtype = np.dtype(output.dtype).newbyteorder("<")
    count, odd = divmod(len(output.data), dtype.itemsize)
    if odd or count > OUTPUT_ELEMENTS_MAX:
        return None
    return np.frombuffer(output.data, dtype).astype(np.float64)
