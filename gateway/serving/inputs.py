"""From what a caller sent to what a graph takes: every mismatch is found here, before anything runs."""

from __future__ import annotations

from math import isfinite, prod
from typing import TYPE_CHECKING

import numpy as np

from gateway.errors import InputMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.models.session import Port
    from gateway.models.slots import Slot
    from gateway.serving.request import GivenTensor, Request

WIDTHS = {
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
_BOOLS = b"\x00\x01"


def feed_tensors(request: Request, slot: Slot) -> None:
    """Put the caller's tensors and scalar inputs into the request's feeds, or raise InputMismatchError.

    The input that a bound feature set fills may be absent; it is filled later.
    """
    feeds: dict[str, np.ndarray] = {}
    specs = slot.session.input_of
    for tensor in request.tensors:
        name = tensor.name
        spec = specs.get(name)
        if spec is None:
            raise InputMismatchError(
                f"the model has no input `{name}`; it takes {_names(slot)}", input=name, expected=", ".join(specs)
            )
        if name in feeds:
            raise InputMismatchError(f"input `{name}` is given twice", input=name, expected="once")
        feeds[name] = _array(tensor, spec)
    if slot.plan is None and request.features:
        _feed_scalars(request, feeds, specs)
    if len(feeds) < len(specs):
        missing = [name for name in specs if name not in feeds and name != slot.feature_input]
        if missing:
            raise InputMismatchError(
                f"input `{missing[0]}` is missing; the model takes {_names(slot)}",
                input=missing[0],
                expected=_described(specs[missing[0]]),
            )
    request.feeds = feeds
    request.rows = _rows_of(feeds, slot)
    if slot.agreements:
        _agree_on_extents(feeds, slot)
    if slot.finite:
        _refuse_not_finite(feeds, slot)


def check_wanted(request: Request, slot: Slot) -> None:
    """Raise InputMismatchError unless each output that is asked for exists, and is asked for once."""
    names = slot.session.output_names
    seen: set[str] = set()
    for name in request.wanted:
        if name not in names:
            given = ", ".join(f"`{each}`" for each in names)
            raise InputMismatchError(
                f"the model has no output `{name}`; it gives {given}", output=name, expected=", ".join(names)
            )
        if name in seen:
            raise InputMismatchError(f"output `{name}` is asked for twice", output=name, expected="once")
        seen.add(name)


def _rows_of(feeds: Mapping[str, np.ndarray], slot: Slot) -> int:
    """Return the number of rows, or raise InputMismatchError when the inputs do not have the same number of them."""
    rows = 0
    first = ""
    for name in slot.row_inputs:
        array = feeds.get(name)
        # What the feature set fills has one row.
        own = array.shape[0] if array is not None else 1
        if rows and own != rows:
            raise InputMismatchError(
                f"the inputs disagree on the number of rows: `{first}` has {rows}, `{name}` has {own}"
                + ("" if array is not None else " from the feature set"),
                input=first if array is None else name,
                expected=own if array is None else rows,
            )
        rows, first = own, name
    return rows or 1


def _agree_on_extents(feeds: dict[str, np.ndarray], slot: Slot) -> None:
    """Raise InputMismatchError unless extents that the graph gives one name are one number."""
    for symbol, places in slot.agreements:
        extents = {feeds[name].shape[axis]: name for name, axis in places if name in feeds}
        if len(extents) > 1:
            expected, *others = extents
            raise InputMismatchError(
                f"the inputs disagree on the extent `{symbol}`: " + " and ".join(str(extent) for extent in extents),
                input=extents[others[0]],
                expected=expected,
            )


def _refuse_not_finite(feeds: dict[str, np.ndarray], slot: Slot) -> None:
    for name in slot.finite:
        array = feeds.get(name)
        if array is not None and not np.isfinite(array).all():
            raise InputMismatchError(
                f"input `{name}` has an element that is NaN or infinite; the version takes finite numbers only",
                input=name,
                expected="finite numbers",
            )


def check_finite(request: Request, slot: Slot) -> None:
    """Raise InputMismatchError when a feature that the caller gives is no number and its input takes numbers only."""
    if slot.feature_input in slot.finite:
        for name, value in request.features.items():
            if not isfinite(value):
                raise InputMismatchError(
                    f"feature `{name}` is {value}; the version takes finite numbers only",
                    feature=name,
                    input=slot.feature_input,
                    expected="finite numbers",
                )


def _feed_scalars(request: Request, feeds: dict[str, np.ndarray], specs: Mapping[str, Port]) -> None:
    for name, value in request.features.items():
        spec = specs.get(name)
        if spec is None or prod(spec.shape[1:]) != 1 or spec.dtype == "string":
            raise InputMismatchError(f"the model has no scalar input `{name}`", input=name)
        if name in feeds:
            raise InputMismatchError(f"input `{name}` is given twice", input=name, expected="once")
        shape = tuple(1 if extent == -1 else extent for extent in spec.shape)
        dtype = np.dtype(spec.dtype)
        if dtype.kind in "iub" and not _holds(dtype, value):
            raise InputMismatchError(
                f"input `{name}` is {value}, which {spec.dtype} does not hold", input=name, expected=spec.dtype
            )
        feeds[name] = np.full(shape, value, dtype=dtype)


def _holds(dtype: np.dtype, value: float) -> bool:
    """Return whether a type of whole numbers holds a value."""
    if dtype.kind == "b":
        return value in {0.0, 1.0}
    limits = np.iinfo(dtype)
    return value.is_integer() and limits.min <= int(value) <= limits.max


def _array(tensor: GivenTensor, spec: Port) -> np.ndarray:
    """Return a tensor's elements, or raise InputMismatchError where it is not what the graph declares."""
    if tensor.dtype != spec.dtype:
        raise InputMismatchError(
            f"input `{spec.name}` is {tensor.dtype or 'untyped'}; the model takes {spec.dtype}",
            input=spec.name,
            expected=spec.dtype,
        )
    shape = tensor.shape
    declared = spec.shape
    if len(shape) != len(declared):
        raise InputMismatchError(
            f"input `{spec.name}` has {len(shape)} dimensions; the model takes {list(declared)} (-1: any but 0)",
            input=spec.name,
            expected=list(declared),
        )
    count = 1
    for given, taken in zip(shape, declared, strict=True):
        if given <= 0 or -1 != taken != given:
            raise InputMismatchError(
                f"input `{spec.name}` has the shape {list(shape)}; the model takes {list(declared)} (-1: any but 0)",
                input=spec.name,
                expected=list(declared),
            )
        count *= given
    if spec.dtype == "string":
        return _strings(tensor, count).reshape(shape)
    data = tensor.data
    expected_bytes = count * WIDTHS[spec.dtype]
    if len(data) != expected_bytes:
        raise InputMismatchError(
            f"input `{spec.name}` has {len(data)} bytes; shape {list(shape)} of {spec.dtype} takes {expected_bytes}",
            input=spec.name,
            expected=expected_bytes,
        )
    if spec.dtype == "bool" and data.translate(None, _BOOLS):
        raise InputMismatchError(
            f"input `{spec.name}` is bool and has a byte that is neither 0 nor 1", input=spec.name, expected="0 or 1"
        )
    return np.frombuffer(data, dtype=np.dtype(spec.dtype).newbyteorder("<")).reshape(shape)


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
                f"input `{tensor.name}`: element {len(items)} is not UTF-8", input=tensor.name, expected="UTF-8"
            ) from None
    if len(items) != count or at != len(data):
        raise InputMismatchError(
            f"input `{tensor.name}` does not hold {count} length-prefixed strings",
            input=tensor.name,
            expected=f"{count} strings, each after its length in 4 bytes",
        )
    return np.array(items, dtype=object)


def _names(slot: Slot) -> str:
    return ", ".join(f"`{spec.name}` ({_described(spec)})" for spec in slot.session.inputs)


def _described(spec: Port) -> str:
    return f"{spec.dtype} {list(spec.shape)}"
