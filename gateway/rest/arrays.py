"""Arrays as JSON has them: flat or nested lists, checked element by element, so that nothing is rounded in silence.

What JSON has no number for, `NaN`, `Infinity` and `-Infinity`, is text, as in protobuf's own JSON.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gateway.errors import InputMismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SPOKEN = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_DEPTH_MAX = 32


def to_array(name: str, dtype: str, values: object, shape: Sequence[int] | None) -> NDArray[np.generic]:
    """Return the values as an array, or raise InputMismatchError.

    Parameters
    ----------
    name
        The tensor's, for the refusal.
    dtype
        The name of the element type, for example `float32` or `string`.
    values
        A list, flat or nested, row-major.
    shape
        The extents; None: those of the nested lists.
    """
    flat, found = _flattened(name, values)
    extents = tuple(found if shape is None else shape)
    if math.prod(extents) != len(flat) or min(extents, default=0) < 0:
        raise InputMismatchError(
            f"input `{name}` has {len(flat)} values, which do not fill the shape {list(extents)}",
            input=name,
            expected=math.prod(extents),
        )
    checked = [_element(name, dtype, value) for value in flat]
    try:
        with np.errstate(over="raise"):
            array: NDArray[np.generic] = np.array(checked, object if dtype == "string" else dtype)
    except (OverflowError, FloatingPointError, ValueError) as error:
        raise InputMismatchError(
            f"input `{name}` has a value that {dtype} does not hold", input=name, expected=dtype
        ) from error
    return array.reshape(extents)


def to_values(array: NDArray[np.generic]) -> list[object]:
    """Return an array's elements, row-major, as values that JSON knows."""
    flat: list[object] = array.ravel().tolist()
    if array.dtype.kind != "f":
        return flat
    return [value if math.isfinite(value) else _spoken(value) for value in flat]  # type: ignore[arg-type]


def _flattened(name: str, values: object) -> tuple[list[object], list[int]]:
    """Return the innermost values, and the extents of the lists around them."""
    if not isinstance(values, list):
        raise InputMismatchError(f"input `{name}` has no list of values", input=name, expected="a list")
    shape = [len(values)]
    while values and isinstance(values[0], list):
        width = len(values[0])
        if len(shape) == _DEPTH_MAX or any(not isinstance(row, list) or len(row) != width for row in values):
            raise InputMismatchError(f"input `{name}` is no array: its lists differ in length", input=name)
        values = [value for row in values for value in row]
        shape.append(width)
    return values, shape


def _element(name: str, dtype: str, value: object) -> object:
    if dtype == "string":
        good = isinstance(value, str)
    elif dtype == "bool":
        good = isinstance(value, bool)
    elif dtype.startswith("float"):
        value = _SPOKEN.get(value, value) if isinstance(value, str) else value
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
    else:
        good = isinstance(value, int) and not isinstance(value, bool)
    if not good:
        raise InputMismatchError(
            f"input `{name}` has the value {str(value)[:80]!r}, which is no {dtype}", input=name, expected=dtype
        )
    return value


def _spoken(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
