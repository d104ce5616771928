"""From what a caller sent to what a graph takes: every mismatch is found here, before anything runs."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from gateway.errors import InputMismatchError

if TYPE_CHECKING:
    from gateway.models.session import Port
    from gateway.models.slots import Slot
    from gateway.serving.request import GivenTensor, Request

_WIDTHS = {
    "bool": 1,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "float16": 2,
    "float32": 4,
    "float64": 8,
}
_LENGTH_BYTES = 4


def feed_tensors(request: Request, slot: Slot) -> None:
    """Put the caller's tensors and scalar inputs into the request's feeds, or raise InputMismatchError.

    The input that a bound feature set fills may be absent; it is filled later.
    """
    feeds = request.feeds
    specs = {spec.name: spec for spec in slot.session.inputs}
    for tensor in request.tensors or ():
        spec = specs.get(tensor.name)
        if spec is None:
            raise InputMismatchError(
                f"the model has no input `{tensor.name}`; it takes {_names(slot)}", input=tensor.name
            )
        if tensor.name in feeds:
            raise InputMismatchError(f"input `{tensor.name}` is given twice", input=tensor.name)
        feeds[tensor.name] = _array(tensor, spec)
    if slot.plan is None and request.features:
        _feed_scalars(request, specs)
    missing = [name for name in specs if name not in feeds and name != slot.feature_input]
    if missing:
        raise InputMismatchError(f"input `{missing[0]}` is missing; the model takes {_names(slot)}", input=missing[0])
    rows = {array.shape[0] for name, array in feeds.items() if array.ndim and specs[name].shape[0] == -1}
    if len(rows) > 1:
        raise InputMismatchError(f"the inputs disagree on the number of rows: {sorted(rows)}", input=next(iter(feeds)))
    request.rows = rows.pop() if rows else 1


def _feed_scalars(request: Request, specs: dict[str, Port]) -> None:
    for name, value in (request.features or {}).items():
        spec = specs.get(name)
        if spec is None or prod(spec.shape[1:]) != 1 or spec.dtype == "string":
            raise InputMismatchError(f"the model has no scalar input `{name}`", input=name)
        if name in request.feeds:
            raise InputMismatchError(f"input `{name}` is given twice", input=name)
        shape = tuple(1 if extent == -1 else extent for extent in spec.shape)
        request.feeds[name] = np.full(shape, value, dtype=spec.dtype)


def _array(tensor: GivenTensor, spec: Port) -> np.ndarray:
    if tensor.dtype != spec.dtype:
        raise InputMismatchError(
            f"input `{spec.name}` is {tensor.dtype or 'untyped'}; the model takes {spec.dtype}",
            input=spec.name,
            expected=spec.dtype,
        )
    shape = tensor.shape
    fits = len(shape) == len(spec.shape) and all(
        given >= 0 and given == (declared if declared != -1 else given)
        for given, declared in zip(shape, spec.shape, strict=True)
    )
    if not fits or (shape and shape[0] == 0):
        raise InputMismatchError(
            f"input `{spec.name}` has the shape {list(shape)}; the model takes {list(spec.shape)} (-1: any but 0)",
            input=spec.name,
            expected=list(spec.shape),
        )
    count = prod(shape)
    if spec.dtype == "string":
        return _strings(tensor, count).reshape(shape)
    expected_bytes = count * _WIDTHS[spec.dtype]
    if len(tensor.data) != expected_bytes:
        raise InputMismatchError(
            f"input `{spec.name}` has {len(tensor.data)} bytes; shape {list(shape)} of {spec.dtype} takes "
            f"{expected_bytes}",
            input=spec.name,
            expected=expected_bytes,
        )
    return np.frombuffer(tensor.data, dtype=np.dtype(spec.dtype).newbyteorder("<")).reshape(shape)


def _strings(tensor: GivenTensor, count: int) -> np.ndarray:
    """Return the elements of a text tensor: each is a 4-byte little-endian length and that many bytes of UTF-8."""
    items: list[str] = []
    data, at = tensor.data, 0
    while at < len(data) and len(items) < count:
        size = int.from_bytes(data[at : at + _LENGTH_BYTES], "little")
        start = at + _LENGTH_BYTES
        at = start + size
        if at > len(data):
            break
        try:
            items.append(data[start:at].decode())
        except UnicodeDecodeError:
            raise InputMismatchError(
                f"input `{tensor.name}`: element {len(items)} is not UTF-8", input=tensor.name
            ) from None
    if len(items) != count or at != len(data):
        raise InputMismatchError(
            f"input `{tensor.name}` does not hold {count} length-prefixed strings", input=tensor.name
        )
    return np.array(items, dtype=object)


def _names(slot: Slot) -> str:
    return ", ".join(f"`{spec.name}` ({spec.dtype} {list(spec.shape)})" for spec in slot.session.inputs)
