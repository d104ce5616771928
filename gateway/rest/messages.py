"""Messages of the contract as JSON: protobuf's own mapping with the contract's names, but tensors as numbers.

Protobuf's mapping would write a tensor's `data` as base64. Here `values` stand for it, flat or nested, and `shape` may
be left out where the lists say it; `data` is taken too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from gateway.errors import RequestMalformedError
from gateway.rest.arrays import to_array, to_values
from gateway.rpc.dtypes import NAME_OF, NUMBER_OF
from turnout import tensors
from turnout.tensor.v1 import tensor_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message

TENSORS = "turnout.tensor.v1.Tensor"
_PREFIX = "DATA_TYPE_"


def read(document: object, message: Message) -> None:
    """Fill a message from what JSON said, or raise RequestMalformedError or InputMismatchError."""
    if not isinstance(document, dict):
        raise RequestMalformedError("the body is not a JSON object")
    fields = {field.name: field for field in message.DESCRIPTOR.fields}
    rest = dict(document)
    for name in [name for name, field in fields.items() if _is_tensors(field) and name in rest]:
        given = rest.pop(name)
        if not isinstance(given, list):
            raise RequestMalformedError(f"`{name}` is not a list of tensors")
        getattr(message, name).extend(_tensor(each) for each in given)
    try:
        json_format.ParseDict(rest, message)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RequestMalformedError(f"the body is not what this takes: {str(error)[:200]}") from error


def written(message: Message) -> dict[str, Any]:
    """Return a message as values that JSON knows: every field that is not absent, by the contract's names."""
    found = {}
    for field in message.DESCRIPTOR.fields:
        if _is_tensors(field):
            found[field.name] = [_told(tensor) for tensor in getattr(message, field.name)]
        elif field.message_type is not None and field.is_repeated and _holds_tensors(field.message_type):
            found[field.name] = [written(each) for each in getattr(message, field.name)]
    plain = type(message)()
    plain.CopyFrom(message)
    for name in found:
        plain.ClearField(name)
    whole: dict[str, Any] = json_format.MessageToDict(
        plain, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return whole | found


def _is_tensors(field: Any) -> bool:
    return field.message_type is not None and field.message_type.full_name == TENSORS


def _holds_tensors(kind: Any) -> bool:
    return any(_is_tensors(field) for field in kind.fields)


def _tensor(given: object) -> tensor_pb2.Tensor:
    """Return a tensor that says its elements by `values` or by `data`."""
    if not isinstance(given, dict):
        raise RequestMalformedError("a tensor is an object with `name`, `data_type`, `shape` and `values`")
    rest = {("data_type" if key == "dataType" else key): value for key, value in given.items()}
    values = rest.pop("values", None)
    tensor = tensor_pb2.Tensor()
    if isinstance(rest.get("data_type"), str) and not rest["data_type"].startswith(_PREFIX):
        rest["data_type"] = _PREFIX + rest["data_type"].upper()
    try:
        json_format.ParseDict(rest, tensor)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise RequestMalformedError(f"a tensor is not what this takes: {str(error)[:200]}") from error
    if values is None:
        return tensor
    if tensor.data:
        raise RequestMalformedError(f"the tensor {tensor.name!r} has `values` and `data`: it takes one of the two")
    dtype = NAME_OF.get(tensor.data_type)
    if dtype is None:
        raise RequestMalformedError(f"the tensor {tensor.name!r} has no `data_type`; known are {', '.join(NUMBER_OF)}")
    shape = list(tensor.shape) if "shape" in rest else None
    return tensors.to_tensor(tensor.name, to_array(tensor.name, dtype, values, shape))


def _told(tensor: tensor_pb2.Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "data_type": tensor_pb2.DataType.Name(tensor.data_type),
        "shape": list(tensor.shape),
        "values": to_values(tensors.to_array(tensor)),
    }
