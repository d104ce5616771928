"""The Open Inference Protocol's JSON and its messages: the same names, but elements stand in `data`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from gateway.errors import RequestMalformedError
from gateway.rest.arrays import to_array, to_values
from gateway.rpc.dtypes import DTYPE_OF
from turnout import tensors
from turnout.tensor.v1 import tensor_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from gateway.inference import grpc_service_pb2 as pb

_REQUEST = {"id", "parameters", "inputs", "outputs"}
_INPUT = {"name", "shape", "datatype", "parameters", "data"}
_OUTPUT = {"name", "parameters"}
_INT64_MIN, _INT64_MAX, _UINT64_MAX = -(2**63), 2**63 - 1, 2**64 - 1


def read(document: object, message: pb.ModelInferRequest) -> None:
    """Fill an inference request from what JSON said, or raise RequestMalformedError or InputMismatchError."""
    request = _object(document, "the body", _REQUEST)
    message.id = _text(request.get("id", ""), "id")
    _parameters(request, message.parameters)
    for each in _list(request, "inputs"):
        given = _object(each, "an input", _INPUT)
        tensor = message.inputs.add(
            name=_text(given.get("name"), "an input's name"), datatype=_text(given.get("datatype"), "a datatype")
        )
        tensor.shape.extend(_shape(given))
        _parameters(given, tensor.parameters)
        dtype = DTYPE_OF.get(tensor.datatype)
        if dtype is None:
            continue  # the data port says what it takes
        array = to_array(tensor.name, dtype, given.get("data"), list(tensor.shape))
        message.raw_input_contents.append(tensors.to_tensor(tensor.name, array).data)
    if len(message.raw_input_contents) != len(message.inputs):
        del message.raw_input_contents[:]
    for each in _list(request, "outputs"):
        given = _object(each, "an output", _OUTPUT)
        _parameters(given, message.outputs.add(name=_text(given.get("name"), "an output's name")).parameters)


def written(message: pb.ModelInferResponse) -> dict[str, Any]:
    """Return an inference as values that JSON knows."""
    found: dict[str, Any] = {
        "model_name": message.model_name,
        "model_version": message.model_version,
        "id": message.id,
        "parameters": {name: _value(parameter) for name, parameter in message.parameters.items()},
        "outputs": [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": list(tensor.shape),
                "data": to_values(_array(tensor, raw)),
            }
            for tensor, raw in zip(message.outputs, message.raw_output_contents, strict=True)
        ],
    }
    return found


def metadata(message: pb.ModelMetadataResponse | pb.ServerMetadataResponse) -> dict[str, Any]:
    """Return metadata as values that JSON knows; extents are numbers there."""
    found: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    for tensor in (*found.get("inputs", ()), *found.get("outputs", ())):
        tensor["shape"] = [int(extent) for extent in tensor["shape"]]
    return found


def _array(tensor: pb.ModelInferResponse.InferOutputTensor, raw: bytes) -> NDArray[np.generic]:
    dtype = DTYPE_OF[tensor.datatype]
    number = tensor_pb2.DataType.Value(f"DATA_TYPE_{dtype.upper()}")
    return tensors.to_array(tensor_pb2.Tensor(name=tensor.name, data_type=number, shape=tensor.shape, data=raw))


def _parameters(given: Mapping[str, Any], target: Any) -> None:
    parameters = given.get("parameters", {})
    if not isinstance(parameters, dict):
        raise RequestMalformedError("`parameters` is not an object")
    for name, value in parameters.items():
        if isinstance(value, bool):
            target[name].bool_param = value
        elif isinstance(value, int) and _INT64_MIN <= value <= _INT64_MAX:
            target[name].int64_param = value
        elif isinstance(value, int) and 0 <= value <= _UINT64_MAX:
            target[name].uint64_param = value
        elif isinstance(value, float):
            target[name].double_param = value
        elif isinstance(value, str):
            target[name].string_param = value
        else:
            raise RequestMalformedError(f"the parameter {name[:80]!r} is no text, number or truth value")


def _value(parameter: pb.InferParameter) -> object:
    return getattr(parameter, parameter.WhichOneof("parameter_choice") or "string_param")


def _object(value: object, what: str, names: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestMalformedError(f"{what} is not an object")
    unknown = sorted(value.keys() - names)
    if unknown:
        raise RequestMalformedError(f"{what} has {unknown[0][:80]!r}; it takes {', '.join(sorted(names))}")
    return value


def _list(given: Mapping[str, Any], name: str) -> list[object]:
    value = given.get(name, [])
    if not isinstance(value, list):
        raise RequestMalformedError(f"`{name}` is not a list")
    return value


def _shape(given: Mapping[str, Any]) -> list[int]:
    shape = _list(given, "shape")
    if not all(isinstance(one, int) and not isinstance(one, bool) and _INT64_MIN <= one <= _INT64_MAX for one in shape):
        raise RequestMalformedError("`shape` is not a list of whole numbers")
    return shape  # type: ignore[return-value]


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise RequestMalformedError(f"{what} is not text")
    return value
