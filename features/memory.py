"""What was last read from a far store, for sets that may be served stale values while it does not answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

VALUES_MAX = 65_536
_US = 1_000_000


class Memory:
    """The newest values that were read, each with the moment when it was known to be the newest.

    Two generations: what is read is put into the young one; when that is full it becomes the old one, and the old one
    is forgotten. One thread writes; others may read.

    Parameters
    ----------
    values_max
        How many values the two may hold together.
    """

    __slots__ = ("_old", "_values_max", "_young")

    def __init__(self, values_max: int = VALUES_MAX) -> None:
        self._values_max = values_max
        self._young: dict[bytes, tuple[bytes, float]] = {}
        self._old: dict[bytes, tuple[bytes, float]] = {}

    def keep(self, keys: Sequence[bytes | None], blobs: Sequence[bytes | None]) -> None:
        """Remember what was read just now."""
        now = time.monotonic()
        young = self._young
        for key, blob in zip(keys, blobs, strict=True):
            if key is None:
                continue
            if blob is not None:
                young[key] = (blob, now)
            else:
                young.pop(key, None)
                self._old.pop(key, None)
        if len(young) > self._values_max // 2:
            self._old, self._young = young, {}

    def recall(self, keys: Sequence[bytes | None], up_to_us: int) -> list[bytes | None]:
        """Return the values that were the newest so long ago at the most, None for others."""
        since = time.monotonic() - up_to_us / _US
        found: list[bytes | None] = []
        for key in keys:
            value = None if key is None else self._young.get(key) or self._old.get(key)
            found.append(value[0] if value is not None and value[1] >= since else None)
        return found
