from __future__ import annotations

import numpy as np
import onnx
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from pyarrow import parquet

from turnout.cli.graph import Graph, GraphError, GraphTensor, read_graph
from turnout.cli.literals import LiteralError
from turnout.cli.probe import build_probe, read_probe
from turnout.tensors import to_arrays

MATRIX = Graph(
    (GraphTensor("x", "float32", (-1, 2)),),
    (GraphTensor("p", "float32", (-1, 2)), GraphTensor("label", "int64", (-1,))),
)
NAMED = Graph(
    (
        GraphTensor("hour", "int64", (-1, 1)),
        GraphTensor("carrier", "string", (-1, 1)),
        GraphTensor("vector", "float64", (-1, 2)),
    ),
    (GraphTensor("score", "float32", (-1, 1)),),
)

ELEMENTS = {
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.INT64: "int64",
    TensorProto.BOOL: "bool",
    TensorProto.STRING: "string",
    TensorProto.UINT8: "uint8",
}
SPECS = st.lists(
    st.tuples(
        st.text(min_size=1, max_size=5),
        st.sampled_from(list(ELEMENTS)),
        st.lists(st.one_of(st.none(), st.just("batch"), st.integers(0, 2**40)), max_size=3),
    ),
    unique_by=lambda spec: spec[0],
    max_size=4,
)


@given(SPECS, SPECS)
def test_a_graph_is_read_as_onnx_writes_it(tmp_path_factory, inputs, outputs):
    def infos(specs):
        return [helper.make_tensor_value_info(*spec) for spec in specs]

    def expected(specs):
        return tuple(
            GraphTensor(name, ELEMENTS[kind], tuple(one if isinstance(one, int) else -1 for one in shape))
            for name, kind, shape in specs
        )

    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    path.write_bytes(helper.make_model(helper.make_graph([], "g", infos(inputs), infos(outputs))).SerializeToString())
    assert read_graph(path) == Graph(expected(inputs), expected(outputs))


def test_weights_that_are_listed_as_inputs_are_not_asked_for(tmp_path):
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "w")]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [2.0])
    path = tmp_path / "old.onnx"
    onnx.save(helper.make_model(helper.make_graph([], "g", infos, [], [weight])), path)
    assert [one.name for one in read_graph(path).inputs] == ["x"]


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x09", b"\x3a\x05ab"])
def test_what_is_no_model_is_refused(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(GraphError):
        read_graph(path)


def test_outputs_that_are_no_tensors_are_refused(tmp_path):
    sequence = helper.make_tensor_sequence_value_info("z", TensorProto.FLOAT, [1])
    path = tmp_path / "zipmap.onnx"
    path.write_bytes(helper.make_model(helper.make_graph([], "g", [], [sequence])).SerializeToString())
    with pytest.raises(GraphError, match="'z' is not a tensor"):
        read_graph(path)


def test_columns_make_a_matrix_in_their_order():
    columns = {"b": [1, 2], "expected.label": [0, 1], "a": [0.5, 0.25], "expected.p": [[1.0, 0.0], [0.5, 0.5]]}
    probe = build_probe(columns, MATRIX)
    (matrix,) = to_arrays(probe.inputs).values()
    outputs = to_arrays(probe.outputs)
    assert (matrix.dtype, matrix.tolist()) == (np.float32, [[1, 0.5], [2, 0.25]])
    assert (outputs["label"].dtype, outputs["label"].tolist()) == (np.int64, [0, 1])
    assert outputs["p"].tolist() == [[1, 0], [0.5, 0.5]]
    assert not probe.HasField("tolerance")


def test_a_matrix_may_be_one_column_of_lists():
    probe = build_probe({"x": [[1, 2], [3, 4]], "expected.label": [0, 1]}, MATRIX)
    assert to_arrays(probe.inputs)["x"].tolist() == [[1, 2], [3, 4]]


def test_columns_are_inputs_by_their_names():
    columns = {"vector": [[1, 2]], "carrier": ["UA"], "hour": [7], "expected.score": [0.5]}
    inputs = to_arrays(build_probe(columns, NAMED).inputs)
    assert list(inputs) == ["hour", "carrier", "vector"]
    assert [array.tolist() for array in inputs.values()] == [[[7]], [["UA"]], [[1, 2]]]


@pytest.mark.parametrize(
    ("columns", "graph", "words"),
    [
        ({"a": [1], "b": [2]}, MATRIX, "no column says what is expected"),
        ({"a": [1], "b": [2], "expected.q": [1]}, MATRIX, "expected.q names no output"),
        ({"a": [1], "expected.label": [1]}, MATRIX, "has 2 columns, but there are 1"),
        ({"a": ["x"], "b": [2], "expected.label": [1]}, MATRIX, "not rows of float32"),
        ({"hour": [7], "expected.score": [1]}, NAMED, "inputs are hour, carrier, vector"),
        ({"x": [[1], [1, 2]], "expected.label": [1, 2]}, MATRIX, "not rows of float32"),
    ],
)
def test_rows_that_do_not_fit_the_model_are_refused(columns, graph, words):
    with pytest.raises(LiteralError, match=words):
        build_probe(columns, graph)


def test_a_file_that_is_no_parquet_is_refused(tmp_path, write_model):
    rows = tmp_path / "rows.parquet"
    rows.write_bytes(b"no")
    with pytest.raises(LiteralError, match="not a Parquet file"):
        read_probe(rows, write_model(2), tolerance=None)


def test_the_tolerance_goes_with_the_rows(tmp_path, write_model):
    rows = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"a": [1.0], "b": [2.0], "c": [3.0], "expected.total": [12.0]}), rows)
    probe = read_probe(rows, write_model(2), tolerance=0.5)
    assert probe.tolerance == 0.5
    assert to_arrays(probe.outputs)["total"].tolist() == [[12]]
