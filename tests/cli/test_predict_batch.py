"""`turnout predict-batch` against a real gateway."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from turnout.control import Control

ROWS = [{"a": 1.0, "b": 2.0, "c": 3.0, "who": f"unit-{row}", "id": f"row-{row}"} for row in range(5)]


@pytest.fixture(scope="module")
def served(gateway, scaling_model, tmp_path_factory):
    """Return the name of a model that multiplies by two."""
    file = tmp_path_factory.mktemp("model") / "model.onnx"
    file.write_bytes(scaling_model(2.0))
    with Control(gateway.control_address) as control:
        control.wait_for_revision(control.publish_version("rows", file, alias="champion").revision)
    return "rows"


def write(folder, suffix):
    path = folder / f"rows{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif suffix == ".csv":
        lines = [",".join(ROWS[0]), *(",".join(map(str, row.values())) for row in ROWS)]
        path.write_text("\n".join(lines) + "\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_each_row_of_a_file_is_answered(at_gateway, served, tmp_path, suffix):
    arguments = ("--input", "x=a,b,c", "--unit", "who", "--request-id", "id", "--rows-per-call", 2, "--json")
    document = at_gateway("predict-batch", served, write(tmp_path, suffix), *arguments).document
    assert [row["request_id"] for row in document["rows"]] == [f"row-{row}" for row in range(5)]
    assert [row["row"] for row in document["rows"]] == list(range(5))
    assert {row["version"] for row in document["rows"]} == {1}
    assert np.allclose(document["rows"][4]["outputs"]["score"], [[2.0, 4.0, 6.0]])
    assert document["failed"] == 0


def test_refused_rows_are_shown_and_the_end_says_so(at_gateway, served, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b,c,id\n1,2,3,same\n1,2,3,same\n")
    done = at_gateway("predict-batch", served, path, "--input", "x=a,b,c", "--request-id", "id")
    assert done.code == 1
    assert "REQUEST_ID_REPEATED" in done.out
    assert "2 rows, 1 refused" in done.out


@pytest.mark.parametrize(
    ("name", "text", "arguments", "said"),
    [
        ("rows.csv", "a\n1\n", ("--input", "x=b"), "the file has a"),
        ("rows.csv", "a\n", ("--input", "x=a"), "no rows"),
        ("rows.csv", "a\nword\n", ("--input", "x=a"), "word"),
        ("rows.jsonl", "{", ("--input", "x=a"), "cannot be read"),
        ("rows.txt", "a", ("--input", "x=a"), "not .parquet"),
    ],
)
def test_wrong_usage_is_told(turnout, tmp_path, name, text, arguments, said):
    path = tmp_path / name
    path.write_text(text)
    done = turnout("predict-batch", "m", path, *arguments)
    assert done.code == 2
    assert said in done.err
