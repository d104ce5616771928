"""Tables in and out, of pandas and Arrow, against a real server."""

from __future__ import annotations

import asyncio
import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from turnout import AsyncClient, Client
from turnout.client import Columns
from turnout.serving.v1 import prediction_service_pb2 as pb
from turnout.table import TableError
from turnout.tensors import to_array, to_tensor

WHEN = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
WHEN_US = round(WHEN.timestamp()) * 1_000_000
FRAME = pd.DataFrame(
    {
        "carrier": ["UA", None, "DL"],
        "flight": [1, 2, 3],
        "hour": [7.5, np.nan, 9.0],
        "at": pd.to_datetime([WHEN, None, WHEN]),
        "a": np.float32([1, 2, 3]),
        "b": np.float32([4, 5, 6]),
        "country": ["NZ", "NZ", pd.NA],
    }
)
COLUMNS = Columns(
    entities=["carrier"],
    features={"departure_hour": "hour"},
    attributes=["country"],
    inputs={"x": ["a", "b"]},
    unit_id="flight",
    event_time="at",
)


def answer_batch(request, _context):
    """Answer even rows by one version and odd ones by another, and refuse the row whose unit is 3."""
    x = to_array(request.inputs[0])
    parts, errors = [], []
    for version, rows in ((1, range(0, request.rows, 2)), (2, range(1, request.rows, 2))):
        kept = [row for row in rows if request.unit_ids[row] != "3"]
        refused = pb.PredictionError(code=3, reason="NO")
        errors += [pb.RowError(row=row, error=refused) for row in rows if row not in kept]
        outputs = [to_tensor("sum", x[kept].sum(axis=1)), to_tensor("x", x[kept])]
        if kept:
            parts.append(pb.BatchPart(version=version, variant=f"v{version}", rows=kept, outputs=outputs))
    return pb.BatchPredictResponse(request_ids=request.request_ids, parts=parts, errors=errors)


@pytest.fixture(params=["threads", "asyncio"])
def ask(request, address, script):
    asked = []
    script.on_batch = lambda message, context: (asked.append(message), answer_batch(message, context))[1]

    def call(*args, **kwargs):
        if request.param == "threads":
            with Client(address) as client:
                return client.predict_table(*args, **kwargs), asked

        async def ask_aio():
            async with AsyncClient(address) as client:
                return await client.predict_table(*args, **kwargs)

        return asyncio.run(ask_aio()), asked

    return call


@pytest.mark.parametrize("table", [FRAME, pa.Table.from_pandas(FRAME)], ids=["pandas", "arrow"])
def test_the_columns_of_a_table_are_sent_as_what_they_are_to_the_model(ask, table):
    answers, (asked,) = ask("m", table, COLUMNS)
    assert asked.entities == [pb.TextColumn(name="carrier", values=["UA", "", "DL"])]
    assert asked.attributes == [pb.TextColumn(name="country", values=["NZ", "NZ", ""])]
    assert list(asked.unit_ids) == ["1", "2", "3"]
    assert list(asked.event_times_us) == [WHEN_US, 0, WHEN_US]
    assert asked.features == [pb.NumberColumn(name="departure_hour", values=[7.5, 0, 9.0], given=[True, False, True])]
    assert to_array(asked.inputs[0]).tolist() == [[1, 4], [2, 5], [3, 6]]
    assert [len(answers), list(answers.errors)] == [3, [2]]


def test_answers_come_out_as_tables_row_by_row(ask):
    answers, _ = ask("m", FRAME, COLUMNS)
    frame = answers.to_pandas()
    assert list(frame.columns) == ["request_id", "version", "experiment", "variant", "error", "sum", "x.0", "x.1"]
    assert frame["request_id"].tolist() == answers.request_ids
    assert frame["version"].tolist() == [1, 2, None]
    assert frame["variant"].tolist()[:2] == ["v1", "v2"]
    assert frame["error"].tolist()[2] == "NO"
    assert frame["sum"].tolist()[:2] == [5, 7]
    assert np.isnan(frame["sum"][2])
    table = answers.to_arrow()
    assert table["version"].to_pylist() == [1, 2, None]
    assert table["error"].to_pylist() == [None, None, "NO"]
    assert table["sum"].to_pylist() == [5, 7, None]
    assert table.schema.field("sum").type == pa.float32()


def test_a_long_table_is_asked_in_several_calls_and_answered_as_one(ask):
    rows = 25
    frame = pd.DataFrame({"u": [str(n + 10) for n in range(rows)], "x": np.arange(rows, dtype=np.float32)})
    answers, asked = ask("m", frame, Columns(unit_id="u", inputs={"x": "x"}), rows_max=10)
    assert [one.rows for one in asked] == [10, 10, 5]
    assert answers.to_pandas()["sum"].tolist() == list(range(rows))
    assert [one.outputs["sum"].tolist() for one in answers] == [[n] for n in range(rows)]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (Columns(entities=["nowhere"]), "no column 'nowhere'"),
        (Columns(entities=["hour"]), "'hour' holds a float"),
        (Columns(features=["carrier"]), "'carrier' holds a str, not a number"),
        (Columns(event_time="carrier"), "'carrier' holds a str, not a time"),
    ],
)
def test_what_cannot_be_sent_is_refused_before_anything_is_asked(address, columns, words):
    with Client(address) as client, pytest.raises(TableError, match=words):
        client.predict_table("m", FRAME, columns)
