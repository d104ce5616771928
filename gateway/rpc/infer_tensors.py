"""The input tensors of a ModelInfer call: from both of the protocol's forms to the one that the pipeline checks."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from gateway.errors import InputMismatchError
from gateway.rpc.dtypes import DTYPE_OF, INFER_NAME_OF
from gateway.rpc.infer_fields import refuse_unserved, value_of
from gateway.serving.request import GivenTensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.inference.grpc_service_pb2 import ModelInferRequest

_CONTENTS_OF = {
    "bool": "bool_contents",
    "int8": "int_contents",
    "int16": "int_contents",
    "int32": "int_contents",
    "int64": "int64_contents",
    "uint8": "uint_contents",
    "uint16": "uint_contents",
    "uint32": "uint_contents",
    "uint64": "uint64_contents",
    "float32": "fp32_contents",
    "float64": "fp64_contents",
    "string": "bytes_contents",
}
"""The field of InferTensorContents that holds the elements of a type; FP16 has none."""

RANK_MAX = 64
"""NumPy's own bound."""

_NARROW = frozenset({"int8", "int16", "uint8", "uint16"})
"""The types that travel in elements of 32 bits."""


def tensors_of(message: ModelInferRequest) -> list[GivenTensor]:
    """Return the inputs with their elements as bytes, or raise InputMismatchError naming the input that is wrong."""
    inputs = message.inputs
    raw = message.raw_input_contents
    if not raw:
        return [_typed(tensor) for tensor in inputs]
    if len(raw) != len(inputs):
        named = inputs[len(raw)].name if len(raw) < len(inputs) else ""
        raise InputMismatchError(
            f"`raw_input_contents` has {len(raw)} entries for {len(inputs)} inputs; it takes one for each, in order",
            input=named,
            expected=len(inputs),
        )
    given: list[GivenTensor] = []
    for tensor, data in zip(inputs, raw, strict=True):
        if tensor.HasField("contents"):
            raise InputMismatchError(
                f"input `{tensor.name}` has contents while `raw_input_contents` is given; it takes one of the two",
                input=tensor.name,
                expected="raw or typed contents",
            )
        given.append(GivenTensor(tensor.name, _dtype(tensor), _shape(tensor), data))
    return given


def _dtype(tensor: ModelInferRequest.InferInputTensor) -> str:
    """Return the element type, or raise InputMismatchError for one that is not served."""
    if tensor.parameters:
        for key, parameter in tensor.parameters.items():
            refuse_unserved(key, value_of(parameter))
    dtype = DTYPE_OF.get(tensor.datatype)
    if dtype is None:
        served = ", ".join(DTYPE_OF)
        why = "NumPy has no such type, so nothing could be checked or journalled" if tensor.datatype == "BF16" else ""
        raise InputMismatchError(
            f"input `{tensor.name}` has the datatype `{tensor.datatype}`, which is not served"
            f"{': ' + why if why else ''}; served are {served}",
            input=tensor.name,
            expected=served,
        )
    return dtype


def _typed(tensor: ModelInferRequest.InferInputTensor) -> GivenTensor:
    dtype = _dtype(tensor)
    name = tensor.name
    field = _CONTENTS_OF.get(dtype)
    if field is None:
        raise InputMismatchError(
            f"input `{name}` is {tensor.datatype}, which travels in `raw_input_contents` only",
            input=name,
            expected="raw_input_contents",
        )
    contents = tensor.contents
    stray = [each.name for each, _ in contents.ListFields() if each.name != field]
    if stray:
        raise InputMismatchError(
            f"input `{name}` is {tensor.datatype} and has `{stray[0]}`; it takes `{field}`", input=name, expected=field
        )
    elements = getattr(contents, field)
    shape = _shape(tensor)
    # A negative extent is the shared check's to refuse.
    if len(elements) != prod(shape) and min(shape, default=0) >= 0:
        raise InputMismatchError(
            f"input `{name}` has {len(elements)} elements in `{field}`; its shape {list(shape)} takes {prod(shape)}",
            input=name,
            expected=prod(shape),
        )
    if dtype == "string":
        data = b"".join(len(element).to_bytes(4, "little") + element for element in elements)
    else:
        data = _packed(name, dtype, elements)
    return GivenTensor(name, dtype, shape, data)


def _shape(tensor: ModelInferRequest.InferInputTensor) -> tuple[int, ...]:
    """Return the shape, or raise InputMismatchError where it has so many dimensions that their product is a burden."""
    shape = tuple(tensor.shape)
    if len(shape) > RANK_MAX:
        raise InputMismatchError(
            f"input `{tensor.name}` has {len(shape)} dimensions; at most {RANK_MAX} are taken",
            input=tensor.name,
            expected=RANK_MAX,
        )
    return shape


def _packed(name: str, dtype: str, elements: Sequence[float]) -> bytes:
    """Return the elements little-endian, or raise InputMismatchError for one that its type cannot hold."""
    if dtype not in _NARROW:
        return np.array(elements, dtype=np.dtype(dtype).newbyteorder("<")).tobytes()
    wide = np.array(elements, dtype=np.int64)
    limits = np.iinfo(dtype)
    if len(wide) and (wide.min() < limits.min or wide.max() > limits.max):
        raise InputMismatchError(
            f"input `{name}` is {INFER_NAME_OF[dtype]} and has an element outside {limits.min} to {limits.max}",
            input=name,
            expected=f"{limits.min} to {limits.max}",
        )
    return wide.astype(np.dtype(dtype).newbyteorder("<")).tobytes()
