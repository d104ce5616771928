"""The signature of an ONNX file, and why a file is not one that can be served.

Parsing an untrusted file belongs into a process of its own; see `gateway.models.check`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
from google.protobuf.message import DecodeError  # an ONNX file is a protobuf message; nothing of the contract
from onnx import TensorProto

from registry.errors import (
    ExternalDataError,
    GraphInvalidError,
    GraphUnreadableError,
    OpsetUnknownError,
    OutputNotTensorError,
    TensorTypeError,
)
from registry.records import Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DTYPES = {
    TensorProto.BOOL: "bool",
    TensorProto.INT8: "int8",
    TensorProto.INT16: "int16",
    TensorProto.INT32: "int32",
    TensorProto.INT64: "int64",
    TensorProto.UINT8: "uint8",
    TensorProto.UINT16: "uint16",
    TensorProto.UINT32: "uint32",
    TensorProto.UINT64: "uint64",
    TensorProto.FLOAT16: "float16",
    TensorProto.FLOAT: "float32",
    TensorProto.DOUBLE: "float64",
    TensorProto.STRING: "string",
}
# The domains whose operators ONNX itself numbers; those of others are the runtime's to judge.
_STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")


def read_signature(path: Path) -> Signature:
    """Return what the graph takes and gives.

    Raises
    ------
    GraphUnreadableError
        The file is truncated, empty or no ONNX model.
    OpsetUnknownError
        The format or a set of operators is newer than this server's.
    ExternalDataError
        Tensors are kept in other files.
    OutputNotTensorError
        An output is a sequence or a map, as ZipMap gives them.
    TensorTypeError
        An input or output has an element type that is not served, or an input declares no shape.
    GraphInvalidError
        The graph breaks the rules of ONNX otherwise.
    """
    model = _parse(path)
    _refuse_unknown_opsets(model)
    _refuse_external_data(model)
    _refuse_zipmap(model.graph)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise GraphInvalidError(f"the graph is not valid ONNX: {_first_line(error)}") from error
    constants = {each.name for each in model.graph.initializer}  # before IR 4 they are listed as inputs too
    inputs = tuple(_spec(each, "input") for each in model.graph.input if each.name not in constants)
    outputs = tuple(_spec(each, "output") for each in model.graph.output)
    if not outputs:
        raise GraphInvalidError("the graph has no output")
    return Signature(inputs, outputs)


def _parse(path: Path) -> Any:
    try:
        model = onnx.load_model(path, format="protobuf", load_external_data=False)
    except DecodeError as error:
        raise GraphUnreadableError("the file is truncated, or no ONNX model") from error
    # Bytes cut between two fields, and no bytes at all, parse as well: what must be there is missing then.
    if not model.ir_version or not model.HasField("graph") or not model.opset_import:
        raise GraphUnreadableError("the file is truncated, or no ONNX model: it has no graph or no operator set")
    return model


def _refuse_unknown_opsets(model: Any) -> None:
    if model.ir_version > onnx.IR_VERSION:
        raise OpsetUnknownError(
            f"the file has the ONNX format {model.ir_version}; this server reads up to {onnx.IR_VERSION}",
            ir_version=model.ir_version,
            known_max=onnx.IR_VERSION,
        )
    newest: dict[str, int] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        newest[schema.domain] = max(newest.get(schema.domain, 0), schema.since_version)
    newest[""] = max(newest.get("", 0), onnx.defs.onnx_opset_version())
    newest["ai.onnx"] = newest[""]
    for opset in model.opset_import:
        if opset.domain in _STANDARD_DOMAINS and opset.version > newest[opset.domain]:
            raise OpsetUnknownError(
                f"the graph uses opset {opset.version} of {opset.domain or 'ai.onnx'!r}; this server knows up to "
                f"{newest[opset.domain]}: convert it with a lower target_opset",
                opset=opset.version,
                known_max=newest[opset.domain],
            )


def _refuse_external_data(model: Any) -> None:
    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
            raise ExternalDataError(
                f"the tensor {tensor.name!r} is kept in another file, {location!r}: save the model as one file",
                tensor=tensor.name,
                location=location,
            )


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor of the model: of the graph, of graphs inside it, and of functions."""
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes.extend(graph.node)
            continue
        for attribute in nodes.pop().attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            sparse_tensors = [*attribute.sparse_tensors, *([attribute.sparse_tensor] if attribute.type == 11 else [])]  # noqa: PLR2004  AttributeProto.SPARSE_TENSOR
            for sparse in sparse_tensors:
                yield from (sparse.values, sparse.indices)
            graphs.extend(attribute.graphs)
            if attribute.HasField("g"):
                graphs.append(attribute.g)


def _refuse_zipmap(graph: Any) -> None:
    given = {each.name for each in graph.output}
    for node in graph.node:
        if node.op_type == "ZipMap" and given & set(node.output):
            raise _not_tensor(node.output[0])


def _spec(value: Any, side: str) -> TensorSpec:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        if side == "output":
            raise _not_tensor(value.name)
        raise TensorTypeError(f"the input {value.name!r} is a {kind}; only tensors are served", input=value.name)
    dtype = _DTYPES.get(value.type.tensor_type.elem_type)
    if dtype is None:
        name = TensorProto.DataType.Name(value.type.tensor_type.elem_type)
        raise TensorTypeError(f"the {side} {value.name!r} has elements of type {name}, which is not served")
    if side == "input" and not value.type.tensor_type.HasField("shape"):
        raise TensorTypeError(f"the input {value.name!r} declares no shape", input=value.name)
    dimensions = value.type.tensor_type.shape.dim
    shape = tuple(each.dim_value if each.HasField("dim_value") and each.dim_value >= 0 else -1 for each in dimensions)
    return TensorSpec(value.name, dtype, shape)


def _not_tensor(output: str) -> OutputNotTensorError:
    return OutputNotTensorError(
        f"the output {output!r} is a sequence or a map; only tensors are served. A classifier from skl2onnx gives "
        "tensors with options={'zipmap': False}: export with zipmap=False",
        output=output,
        advice="zipmap=False",
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:300]
