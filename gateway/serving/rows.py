"""Cutting what was made for a wave into what belongs to each of its calls."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def split_rows(data: bytes, rows: int) -> Sequence[bytes]:
    """Return bytes in so many parts of one length; a slice for each costs four times as much."""
    return struct.unpack(f"{len(data) // rows}s" * rows, data)


def split_items(items: Sequence[int], rows: int) -> Iterable[tuple[int, ...]]:
    """Return items in so many parts of one length."""
    width = len(items) // rows
    return zip(*[iter(items)] * width, strict=True) if width else [()] * rows
