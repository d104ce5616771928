"""Messages of the contract as documents of plain values, and back: what TOML files say and what is kept.

Fields keep their names. What is not given is left out. What the contract enumerates goes by its short name in lower
case. A field that ends in ``_json`` appears without that ending, as the object that it holds. In a document that
somebody wrote, a time in microseconds may be given as ``30s``, ``5m``, ``12h`` or ``14d`` under its name without
``_us``.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

_JSON = "_json"
_TIME = "_us"
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])", re.ASCII)
_UNIT_US = {"s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WHOLE = frozenset({FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64})
_NUMBERS = frozenset({FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT})


class PlainError(ValueError):
    """A document does not have the form of its message."""


def document_of(message: Message) -> dict[str, Any]:
    """Return what a message says, or raise PlainError where a JSON field does not hold an object."""
    document: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.name.endswith(_JSON):
            document[field.name.removesuffix(_JSON)] = _object(field.name, value)
        elif field.is_repeated:
            document[field.name] = [_plain(field, one) for one in value]
        else:
            document[field.name] = _plain(field, value)
    return document


def fill(message: Message, document: Mapping[str, Any], where: str = "") -> None:
    """Say in a message what a document says, or raise PlainError naming what is not known or does not fit."""
    fields = {field.name: field for field in message.DESCRIPTOR.fields}
    for key, given in document.items():
        place, value, name = f"{where}{key}", given, key
        if key not in fields and f"{key}{_JSON}" in fields:
            name, value = f"{key}{_JSON}", _text_of(place, given)
        elif key not in fields and f"{key}{_TIME}" in fields:
            name, value = f"{key}{_TIME}", duration_us(place, given)
        if name not in fields:
            known = ", ".join(sorted(each.removesuffix(_JSON) for each in fields))
            raise PlainError(f"{place!r} is not known; expected one of {known}")
        _put(message, fields[name], value, place)


def duration_us(where: str, text: object) -> int:
    """Return the microseconds that a text such as ``12h`` stands for, or raise PlainError."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise PlainError(f"{where} takes a time such as 30s, 5m, 12h or 14d, not {text!r}")
    return int(match[1]) * _UNIT_US[match[2]]


def short_name(enum: Any, number: int) -> str:
    """Return an enumerated value's short name in lower case."""
    name: str = enum.values_by_number[number].name
    return name.removeprefix(_prefix(enum)).lower()


def number_of(enum: Any, name: object, where: str) -> Any:
    """Return the number of a short name, or raise PlainError."""
    numbers = {short_name(enum, one.number): one.number for one in enum.values if one.number}
    if not isinstance(name, str) or name not in numbers:
        raise PlainError(f"{where} = {name!r} is not known; expected one of {', '.join(numbers)}")
    return numbers[name]


def _put(message: Message, field: Any, value: Any, where: str) -> None:
    if not field.is_repeated:
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            part = getattr(message, field.name)
            part.SetInParent()
            fill(part, _table(where, value), f"{where}.")
        else:
            setattr(message, field.name, _scalar(field, value, where))
        return
    if not isinstance(value, list | tuple):
        raise PlainError(f"{where} takes a list, not {value!r}")
    for one in value:
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            fill(getattr(message, field.name).add(), _table(where, one), f"{where}.")
        else:
            getattr(message, field.name).append(_scalar(field, one, where))


def _scalar(field: Any, value: Any, where: str) -> Any:
    if field.type == FieldDescriptor.TYPE_ENUM:
        return number_of(field.enum_type, value, where)
    if field.type in _WHOLE:
        kinds: tuple[type, ...] = (int,)
    elif field.type in _NUMBERS:
        kinds = (int, float)
    else:
        kinds = (bool,) if field.type == FieldDescriptor.TYPE_BOOL else (str,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds != (bool,)):
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
        raise PlainError(f"{where} takes {names[kinds[-1]]}, not {value!r}")
    return value


def _plain(field: Any, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return document_of(value)
    if field.type == FieldDescriptor.TYPE_ENUM:
        known = value in field.enum_type.values_by_number
        return short_name(field.enum_type, value) if known else f"number {value}"
    return value


def _object(name: str, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise PlainError(f"{name} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise PlainError(f"{name} is a JSON object, not {text[:80]!r}")
    return found


def _text_of(where: str, value: Any) -> str:
    """Return a table as JSON; a text such as ``30d`` is a time in microseconds, under its name with ``_us``."""
    said = {
        f"{key}{_TIME}" if _is_duration(one) else key: duration_us(key, one) if _is_duration(one) else one
        for key, one in _table(where, value).items()
    }
    return json.dumps(said, allow_nan=False)


def _is_duration(value: object) -> bool:
    return isinstance(value, str) and _DURATION.fullmatch(value) is not None


def _table(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PlainError(f"{where} takes a table, not {value!r}")
    return value


def _prefix(enum: Any) -> str:
    return _HUMP.sub("_", enum.name).upper() + "_"
