"""Probe rows from a Parquet file.

A row is one call whose outputs are known. The columns are the model's inputs, each under its name; for a single matrix
input with no column of its name they are the matrix's columns, in order. A column ``expected.OUTPUT`` says what the
model must give. A column of lists is a row of a matrix; a column of plain values is one element.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turnout import tensors
from turnout.cli.graph import Graph, GraphError, GraphTensor, read_graph
from turnout.cli.literals import LiteralError
from turnout.registry.v1 import registry_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

EXPECTED = "expected."


def read_probe(rows: Path, model: Path, *, tolerance: float | None) -> pb.Probe:
    """Return the probe of a Parquet file for an ONNX model, or raise LiteralError when they do not fit together."""
    try:
        graph = read_graph(model)
    except GraphError as error:
        raise LiteralError(str(error)) from error
    probe = build_probe(_read_columns(rows), graph)
    if tolerance is not None:
        probe.tolerance = tolerance
    return probe


def build_probe(columns: Mapping[str, list[Any]], graph: Graph) -> pb.Probe:
    """Return the probe of columns by name for a graph, or raise LiteralError when they do not fit together."""
    given = {name: column for name, column in columns.items() if not name.startswith(EXPECTED)}
    expected = {name.removeprefix(EXPECTED): column for name, column in columns.items() if name.startswith(EXPECTED)}
    outputs = {one.name: one for one in graph.outputs}
    unknown = [name for name in expected if name not in outputs]
    if unknown or not expected:
        named = f"{EXPECTED}{unknown[0]} names no output" if unknown else "no column says what is expected"
        raise LiteralError(f"--probe: {named}; the outputs are {', '.join(outputs)}: name columns {EXPECTED}OUTPUT")
    return pb.Probe(
        inputs=[tensors.to_tensor(name, array) for name, array in _inputs(given, graph).items()],
        outputs=[tensors.to_tensor(name, _column(column, outputs[name])) for name, column in expected.items()],
    )


def _inputs(given: Mapping[str, list[Any]], graph: Graph) -> dict[str, NDArray[Any]]:
    names = [one.name for one in graph.inputs]
    if set(names) == set(given):
        return {one.name: _column(given[one.name], one) for one in graph.inputs}
    if len(names) != 1:
        raise LiteralError(f"--probe: the model's inputs are {', '.join(names)}, the columns are {', '.join(given)}")
    (matrix,) = graph.inputs
    width = matrix.shape[-1] if len(matrix.shape) == len(("rows", "columns")) else -1
    if not given or width not in (-1, len(given)):
        raise LiteralError(f"--probe: input {matrix.name!r} has {width} columns, but there are {len(given)}")
    rows = [list(row) for row in zip(*given.values(), strict=True)]
    return {matrix.name: _column(rows, matrix)}


def _column(values: list[Any], spec: GraphTensor) -> NDArray[Any]:
    """Return a column as an array of the tensor's element type: rows first, and as many dimensions as it has."""
    import numpy as np  # noqa: PLC0415  (only --probe pays for it)

    try:
        array: NDArray[Any] = np.asarray(values, dtype=object if spec.dtype == "string" else spec.dtype)
    except (TypeError, ValueError) as error:
        raise LiteralError(f"--probe: the values for {spec.name!r} are not rows of {spec.dtype}: {error}") from error
    while array.ndim < len(spec.shape):
        array = array[..., np.newaxis]
    return array


def _read_columns(rows: Path) -> dict[str, list[Any]]:
    try:
        import pyarrow as pa  # noqa: PLC0415  (only --probe pays for it)
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise LiteralError("--probe reads Parquet by pyarrow, which is not installed: install pyarrow") from error
    try:
        table = parquet.read_table(rows)
    except (pa.ArrowInvalid, OSError) as error:
        raise LiteralError(f"--probe: {rows} is not a Parquet file that can be read: {error}") from error
    return {name: table.column(name).to_pylist() for name in table.column_names}
