"""Values as they are typed on the command line."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from turnout.tensors import DTYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_TENSOR = re.compile(rf"(?P<name>[^=]+?)(?::(?P<dtype>{'|'.join(DTYPES)}))?(?:\[(?P<shape>[\d,]*)\])?")
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class LiteralError(ValueError):
    """A value on the command line is not of the form that its option takes."""


def parse_pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """Return ``key=value`` texts by key, or raise LiteralError."""
    pairs: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise LiteralError(f"{option} takes key=value, not {text!r}")
        if key in pairs:
            raise LiteralError(f"{option} gives {key!r} twice")
        pairs[key] = value
    return pairs


def parse_numbers(texts: Sequence[str], option: str) -> dict[str, float]:
    """Return ``key=number`` texts by key, or raise LiteralError."""
    return {key: parse_number(value, f"{option} {key}") for key, value in parse_pairs(texts, option).items()}


def parse_number(text: str, what: str) -> float:
    """Return a finite number, or raise LiteralError; ``true`` is 1 and ``false`` is 0."""
    if text in {"true", "false"}:
        return float(text == "true")
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise LiteralError(f"{what} takes a finite number, not {text!r}")
    return number


def parse_time(text: str) -> int:
    """Return microseconds since the Unix epoch from such a number or an ISO 8601 time, or raise LiteralError.

    A time that names no offset is in UTC.
    """
    if text.isdecimal():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise LiteralError(
            f"a time is microseconds since the Unix epoch or ISO 8601, like 2013-01-31T12:00:00Z, not {text!r}"
        ) from error
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH) // timedelta(microseconds=1)


def format_time(time_us: int) -> str:
    """Return microseconds since the Unix epoch as ISO 8601 in UTC; a dash for 0, which means never."""
    return (_EPOCH + timedelta(microseconds=time_us)).strftime("%Y-%m-%d %H:%M:%SZ") if time_us else "-"


def parse_tensors(texts: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return ``NAME[:DTYPE][[SHAPE]]=VALUES`` texts as arrays by name, or raise LiteralError.

    ``x=1,2,3`` is one row of three float32; ``;`` begins the next row: ``x=1,2;3,4``. ``:DTYPE`` gives another element
    type, ``x:int64=7``; ``[SHAPE]`` another shape, ``x[3]=1,2,3`` or ``x:string[]=UA``. Text holds no ``,`` or ``;``.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for text in texts:
        name, array = _parse_tensor(text)
        if name in arrays:
            raise LiteralError(f"--input gives {name!r} twice")
        arrays[name] = array
    return arrays


def _parse_tensor(text: str) -> tuple[str, NDArray[Any]]:
    import numpy as np  # noqa: PLC0415  (only a call with inputs pays for it)

    head, equals, body = text.partition("=")
    match = _TENSOR.fullmatch(head)
    if not equals or match is None:
        raise LiteralError(f"--input takes NAME[:DTYPE][[SHAPE]]=VALUES, like x=1,2,3 or x:int64=7, not {text!r}")
    dtype = match["dtype"] or "float32"
    rows = [row.split(",") for row in body.split(";")] if body else [[]]
    if len({len(row) for row in rows}) > 1:
        raise LiteralError(f"the rows of --input {match['name']!r} have different lengths")
    values = [_parse_element(element.strip(), dtype, match["name"]) for row in rows for element in row]
    shape = (len(rows), len(rows[0])) if match["shape"] is None else _parse_shape(match["shape"])
    if math.prod(shape) != len(values):
        raise LiteralError(f"--input {match['name']!r} has {len(values)} values, but its shape is {list(shape)}")
    try:
        array: NDArray[Any] = np.array(values, dtype=object if dtype == "string" else dtype).reshape(shape)
    except (OverflowError, ValueError) as error:
        raise LiteralError(f"--input {match['name']!r} has a value that is no {dtype}: {error}") from error
    return match["name"], array


def _parse_element(text: str, dtype: str, name: str) -> str | float | bool:
    try:
        if dtype == "string":
            return text
        if dtype == "bool":
            return _TRUTHS[text.lower()]
        return float(text) if dtype.startswith("float") else int(text)
    except (KeyError, ValueError) as error:
        raise LiteralError(f"--input {name!r} has {text!r} among its values, which is no {dtype}") from error


def _parse_shape(text: str) -> tuple[int, ...]:
    extents = text.split(",") if text else []
    if not all(extents):
        raise LiteralError(f"a shape is extents with commas between, like [2,3], not [{text}]")
    return tuple(int(extent) for extent in extents)
