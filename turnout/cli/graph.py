"""What an ONNX file takes and gives, read without onnx: the command line must stay small.

Only what a probe needs is read: the names, element types and shapes of the graph's inputs and outputs. The gateway
checks the file itself. Field numbers are those of onnx.proto3 of ONNX 1.19.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnout import wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_GRAPH = 7  # ModelProto.graph
_INITIALIZER, _INPUT, _OUTPUT = 5, 11, 12  # GraphProto
_TENSOR_NAME = 8  # TensorProto.name
_NAME, _TYPE = 1, 2  # ValueInfoProto
_TENSOR_TYPE = 1  # TypeProto.tensor_type
_ELEM_TYPE, _SHAPE = 1, 2  # TypeProto.Tensor
_DIM = 1  # TensorShapeProto.dim
_DIM_VALUE = 1  # TensorShapeProto.Dimension.dim_value

_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
}


class GraphError(ValueError):
    """The file is not an ONNX model whose inputs and outputs are tensors."""


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """An input or an output of a graph; -1 in the shape is any extent."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """What a graph takes and gives."""

    inputs: tuple[GraphTensor, ...]
    outputs: tuple[GraphTensor, ...]


def read_graph(path: Path) -> Graph:
    """Return what an ONNX file takes and gives, or raise GraphError."""
    try:
        with path.open("rb") as file:
            # Only the pages that are looked at are read; the map goes with the last view of it.
            return _read_model(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    except ValueError as error:  # WireError, or mmap's for an empty file
        raise GraphError(f"{path} is not an ONNX model whose inputs and outputs are tensors: {error}") from error


def _read_model(view: memoryview) -> Graph:
    for number, value in wire.read_fields(view):
        if number == _GRAPH:
            return _read_graph(wire.read_message(value))
    raise wire.WireError("there is no graph in it")


def _read_graph(view: memoryview) -> Graph:
    inputs: list[GraphTensor] = []
    outputs: list[GraphTensor] = []
    weights: set[str] = set()
    for number, value in wire.read_fields(view):
        if number == _INPUT:
            inputs.append(_read_tensor(wire.read_message(value)))
        elif number == _OUTPUT:
            outputs.append(_read_tensor(wire.read_message(value)))
        elif number == _INITIALIZER:
            weights.update(_texts(wire.read_message(value), _TENSOR_NAME))
    # Old opsets list the weights among the inputs; nobody gives them.
    return Graph(tuple(one for one in inputs if one.name not in weights), tuple(outputs))


def _read_tensor(view: memoryview) -> GraphTensor:
    name = "".join(_texts(view, _NAME))
    for value_type in _messages(view, _TYPE):
        for tensor in _messages(value_type, _TENSOR_TYPE):
            codes = [wire.read_number(value) for number, value in wire.read_fields(tensor) if number == _ELEM_TYPE]
            dtype = _DTYPES.get(codes[-1] if codes else 0)
            if dtype is None:
                raise wire.WireError(f"{name!r} has an element type that is not served")
            shape = [_extent(dim) for dims in _messages(tensor, _SHAPE) for dim in _messages(dims, _DIM)]
            return GraphTensor(name, dtype, tuple(shape))
    raise wire.WireError(f"{name!r} is not a tensor")


def _extent(dim: memoryview) -> int:
    for number, value in wire.read_fields(dim):
        if number == _DIM_VALUE:
            return wire.read_number(value)
    return -1


def _messages(view: memoryview, wanted: int) -> Iterator[memoryview]:
    return (wire.read_message(value) for number, value in wire.read_fields(view) if number == wanted)


def _texts(view: memoryview, wanted: int) -> Iterator[str]:
    return (wire.read_text(value) for number, value in wire.read_fields(view) if number == wanted)
