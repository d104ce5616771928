"""Messages of the contract as documents: what ``--json`` prints.

The rules, which scripts may rely on: fields keep the contract's names and order; every field is there; integers are
integers; enumerations are their short names in upper case (``PRODUCTION``), ``UNSPECIFIED`` when not given; an
``optional`` field that is absent is null; of a ``oneof`` only the member that is set appears; a field that ends in
``_json`` appears without that ending, as the JSON value that it holds; tensors are nested lists; bytes are base64; a
number that JSON does not have (NaN, infinity) is null.
"""

from __future__ import annotations

import base64
import json
import math
import re
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from turnout import tensors
from turnout.tensor.v1 import tensor_pb2

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from numpy.typing import NDArray

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_JSON = "_json"
_DOUBLE_BYTES = 8


def document_of(message: Message) -> Any:
    """Return a message as a JSON document, by the rules above."""
    if isinstance(message, tensor_pb2.Tensor):
        return _tensor(message)
    document: dict[str, Any] = {}
    fields: list[Any] = list(message.DESCRIPTOR.fields)
    for field in fields:
        if field.has_presence and not message.HasField(field.name):
            in_real_oneof = field.containing_oneof is not None and len(field.containing_oneof.fields) > 1
            if not in_real_oneof:
                document[field.name] = None
            continue
        value = getattr(message, field.name)
        if field.name.endswith(_JSON):
            document[field.name.removesuffix(_JSON)] = json.loads(value) if value else None
        elif _is_map(field):
            values = field.message_type.fields_by_name["value"]
            document[field.name] = {str(key): _value(values, value[key]) for key in sorted(value)}
        elif field.is_repeated:
            document[field.name] = [_value(field, one) for one in value]
        else:
            document[field.name] = _value(field, value)
    return document


def enum_name(enum: Any, number: int) -> str:
    """Return the short name of an enumeration's value: without the prefix that repeats the enumeration's name."""
    value = enum.values_by_number.get(number)
    if value is None:
        return str(number)
    name: str = value.name
    return name.removeprefix(_HUMP.sub("_", enum.name).upper() + "_")


def elements(array: NDArray[Any]) -> Any:
    """Return an array as nested lists; a float32 as the shortest decimal that is that float32, null for NaN."""
    if array.dtype.kind == "f" and array.dtype.itemsize < _DOUBLE_BYTES:
        # By way of text: 0.1 as float32 is printed 0.1, not 0.10000000149011612.
        array = array.astype("U32").astype("float64")
    return plain(array.tolist())


def plain(value: Any) -> Any:
    """Return nested lists of numbers and text with null for every number that JSON does not have."""
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _value(field: Any, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return document_of(value)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return enum_name(field.enum_type, value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64encode(value).decode()
    return plain(value)


def _is_map(field: Any) -> bool:
    return field.type == FieldDescriptor.TYPE_MESSAGE and bool(field.message_type.GetOptions().map_entry)


def _tensor(tensor: tensor_pb2.Tensor) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "data_type": enum_name(tensor_pb2.DataType.DESCRIPTOR, tensor.data_type),
        "shape": list(tensor.shape),
        "data": elements(tensors.to_array(tensor)),
    }
