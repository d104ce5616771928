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

INFER_NAME_OF: dict[str, str] = {
    "bool": "BOOL",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "string": "BYTES",
}
"""The Open Inference Protocol's names, for example `float32` to `FP32`."""

DTYPE_OF: dict[str, str] = {infer: name for name, infer in INFER_NAME_OF.items()}
"""For example `FP32` to `float32`."""
