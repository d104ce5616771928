"""Element types: the contract's numbers and the names that the pipeline uses."""

from __future__ import annotations

from turnout.tensor.v1 import tensor_pb2

NAME_OF: dict[tensor_pb2.DataType.ValueType, str] = {
    number: name.removeprefix("DATA_TYPE_").lower()
    for name, number in tensor_pb2.DataType.items()
    if number != tensor_pb2.DATA_TYPE_UNSPECIFIED
}
"""For example 11 to `float32`."""

NUMBER_OF: dict[str, tensor_pb2.DataType.ValueType] = {name: number for number, name in NAME_OF.items()}
"""For example `float32` to 11."""
