"""Arrays as tensors and back: numpy on one side, ``turnout.tensor.v1.Tensor`` on the other.

numpy is imported at first use: a program that only sends entities never loads it before its first answer.
"""

from __future__ import annotations

import functools
import math
import struct
from typing import TYPE_CHECKING

from turnout.tensor.v1 import tensor_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

_CODES: dict[str, tensor_pb2.DataType.ValueType] = {
    "bool": tensor_pb2.DATA_TYPE_BOOL,
    "int8": tensor_pb2.DATA_TYPE_INT8,
    "int16": tensor_pb2.DATA_TYPE_INT16,
    "int32": tensor_pb2.DATA_TYPE_INT32,
    "int64": tensor_pb2.DATA_TYPE_INT64,
    "uint8": tensor_pb2.DATA_TYPE_UINT8,
    "uint16": tensor_pb2.DATA_TYPE_UINT16,
    "uint32": tensor_pb2.DATA_TYPE_UINT32,
    "uint64": tensor_pb2.DATA_TYPE_UINT64,
    "float16": tensor_pb2.DATA_TYPE_FLOAT16,
    "float32": tensor_pb2.DATA_TYPE_FLOAT32,
    "float64": tensor_pb2.DATA_TYPE_FLOAT64,
    "string": tensor_pb2.DATA_TYPE_STRING,
}
_NAMES = {code: name for name, code in _CODES.items()}

DTYPES: tuple[str, ...] = tuple(_CODES)
"""The names of the element types: numpy's, and ``string``."""

_LENGTH = struct.Struct("<I")


class TensorError(ValueError):
    """A value cannot be sent as a tensor, or a tensor's bytes do not agree with its shape and type."""


def to_tensor(name: str, value: ArrayLike) -> tensor_pb2.Tensor:
    """Return a value as a tensor, or raise TensorError.

    Parameters
    ----------
    name
        The name of the model's input.
    value
        Anything that ``numpy.asarray`` takes. Its dtype is kept, so give the input's own: a list of Python floats is
        ``float64``. Text may be of numpy's ``str`` or ``object`` dtype.

    Returns
    -------
    Tensor
        Row-major, little-endian, of the value's shape.
    """
    import numpy as np  # noqa: PLC0415  (loaded at first use)

    array = np.asarray(value)
    if array.dtype.kind in "UO":
        return tensor_pb2.Tensor(
            name=name, data_type=tensor_pb2.DATA_TYPE_STRING, shape=array.shape, data=_pack_strings(name, array)
        )
    code = _CODES.get(array.dtype.name)
    if code is None:
        raise TensorError(f"input {name!r} has dtype {array.dtype.name}; expected one of {', '.join(DTYPES)}")
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return tensor_pb2.Tensor(name=name, data_type=code, shape=array.shape, data=little.tobytes())


def to_array(tensor: tensor_pb2.Tensor) -> NDArray[np.generic]:
    """Return a tensor as an array of its shape, or raise TensorError.

    Numbers come as a read-only view of the tensor's bytes; text comes as ``str`` objects in an array of dtype
    ``object``.
    """
    import numpy as np  # noqa: PLC0415  (loaded at first use)

    shape = tuple(tensor.shape)
    if min(shape, default=0) < 0:
        raise TensorError(f"tensor {tensor.name!r} has a negative extent in its shape {list(shape)}")
    if tensor.data_type == tensor_pb2.DATA_TYPE_STRING:
        count = math.prod(shape)
        if count * _LENGTH.size > len(tensor.data):  # before anything of that size is made
            raise TensorError(f"tensor {tensor.name!r} ends before its {count} texts do")
        texts = np.empty(count, dtype=object)
        texts[:] = _unpack_strings(tensor.name, tensor.data, count=count)
        return _shaped(tensor.name, texts, shape)
    dtype = numpy_dtype(tensor.data_type)
    if dtype is None:
        raise TensorError(f"tensor {tensor.name!r} has the unknown data type {tensor.data_type}")
    if len(tensor.data) != math.prod(shape) * dtype.itemsize:
        raise TensorError(
            f"tensor {tensor.name!r} has {len(tensor.data)} bytes, but its shape {list(shape)} of {dtype.name} takes "
            f"{math.prod(shape) * dtype.itemsize}"
        )
    return _shaped(tensor.name, np.frombuffer(tensor.data, dtype=dtype), shape)


def _shaped(name: str, array: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Return an array of as many elements in a shape, or raise TensorError: there are shapes that hold no element."""
    try:
        return array.reshape(shape)
    except ValueError as error:
        raise TensorError(f"tensor {name!r} has a shape that no array has: {error}") from error


def to_tensors(values: Mapping[str, ArrayLike]) -> list[tensor_pb2.Tensor]:
    """Return named values as tensors, in their order, or raise TensorError."""
    return [to_tensor(name, value) for name, value in values.items()]


def to_arrays(tensors: Sequence[tensor_pb2.Tensor]) -> dict[str, NDArray[np.generic]]:
    """Return tensors as arrays by name, in their order, or raise TensorError."""
    return {tensor.name: to_array(tensor) for tensor in tensors}


def dtype_name(code: tensor_pb2.DataType.ValueType) -> str:
    """Return the name of an element type, for example ``float32``; ``unknown`` for one newer than this client."""
    return _NAMES.get(code, "unknown")


@functools.cache
def numpy_dtype(code: tensor_pb2.DataType.ValueType) -> np.dtype[np.generic] | None:
    """Return the little-endian dtype of a numeric element type; None for text and the unknown."""
    import numpy as np  # noqa: PLC0415  (loaded at first use)

    name = _NAMES.get(code)
    return None if name is None or name == "string" else np.dtype(name).newbyteorder("<")


def _pack_strings(name: str, array: NDArray[np.generic]) -> bytes:
    parts: list[bytes] = []
    for text in array.ravel().tolist():
        if not isinstance(text, str):
            raise TensorError(
                f"input {name!r} holds a {type(text).__name__} among its text; every element must be a str"
            )
        encoded = text.encode()
        parts += (_LENGTH.pack(len(encoded)), encoded)
    return b"".join(parts)


def _unpack_strings(name: str, data: bytes, *, count: int) -> list[str]:
    texts, at = [], 0
    for _ in range(count):
        start = at + _LENGTH.size
        if start > len(data):
            raise TensorError(f"tensor {name!r} ends before its {count} texts do")
        (length,) = _LENGTH.unpack_from(data, at)
        at = start + length
        if at > len(data):
            raise TensorError(f"tensor {name!r} ends within a text")
        try:
            texts.append(data[start:at].decode())
        except UnicodeDecodeError as error:
            raise TensorError(f"tensor {name!r} holds text that is not UTF-8") from error
    if at != len(data):
        raise TensorError(f"tensor {name!r} has {len(data) - at} bytes past its {count} texts")
    return texts
