"""Remembering what was made of a thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K")
V = TypeVar("V")


class Memo(dict[K, V]):
    """What a function gives for each argument, made when it is first asked for: ``memo[argument]``.

    Parameters
    ----------
    make
        The function; it is pure.
    size_max
        How many results are remembered; one more forgets them all.
    """

    def __init__(self, make: Callable[[K], V], *, size_max: int) -> None:
        super().__init__()
        self._make = make
        self._size_max = size_max

    def __missing__(self, key: K) -> V:
        """Make the result, and remember it."""
        if len(self) >= self._size_max:
            self.clear()
        value = self[key] = self._make(key)
        return value
