"""A reader of protobuf's wire format, for the few messages whose generated code the base install does not have.

The format: https://protobuf.dev/programming-guides/encoding. A message is a sequence of fields; each begins with a
varint ``number << 3 | wire type``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

_VARINT_BYTES_MAX = 10
_FIELD_NUMBER_MAX = (1 << 29) - 1
_WIDTHS = {FIXED64: 8, FIXED32: 4}


class WireError(ValueError):
    """The bytes are not a protobuf message."""


def read_fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield the number and the value of each field, in order, or raise WireError.

    A varint's value is an unsigned int of 64 bits; any other value is a view of its bytes. Groups, which proto3 does
    not have, are refused.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = _read_varint(data, at)
        number, wire_type = key >> 3, key & 7
        if not 1 <= number <= _FIELD_NUMBER_MAX:
            raise WireError(f"field number {number} is out of range")
        if wire_type == VARINT:
            value, at = _read_varint(data, at)
            yield number, value
            continue
        if wire_type == LENGTH:
            length, at = _read_varint(data, at)
        elif wire_type in _WIDTHS:
            length = _WIDTHS[wire_type]
        else:
            raise WireError(f"wire type {wire_type} is not read")
        if length > end - at:
            raise WireError(f"field {number} is cut off")
        yield number, data[at : at + length]
        at += length


def read_text(value: int | memoryview) -> str:
    """Return a field's value as text, or raise WireError."""
    if isinstance(value, int):
        raise WireError("a number stands where text is expected")
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        raise WireError("text is not UTF-8") from error


def read_message(value: int | memoryview) -> memoryview:
    """Return a field's value as the bytes of a message, or raise WireError."""
    if isinstance(value, int):
        raise WireError("a number stands where a message is expected")
    return value


def read_number(value: int | memoryview) -> int:
    """Return a varint field's value as a signed integer of 64 bits, or raise WireError."""
    if not isinstance(value, int):
        raise WireError("bytes stand where a number is expected")
    return value - (1 << 64) if value >> 63 else value


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(data[at : at + _VARINT_BYTES_MAX]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # noqa: PLR2004  (the top bit says that more bytes follow)
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + place + 1
    raise WireError("a varint is cut off or too long")
