"""Many units at once: what each of them gets, hashed side by side, one operation for a byte of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from experiments.bucketing import BUCKETS, OFFSET, PRIME, bucket_after

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from experiments.assignment import Assigned, AssignmentTable

CROWD_MIN = 48
"""From so many units on it is quicker than one after another."""

_BYTES_MAX = 64
_DIGITS = 10
_POWERS = np.array([[10**power] for power in reversed(range(_DIGITS))], np.uint32)
_TEN, _ZERO, _PRIME = np.uint32(10), np.uint32(ord("0")), np.uint32(PRIME)


def assign_all(table: AssignmentTable, units: Sequence[str]) -> list[Assigned | None]:
    """Return what `AssignmentTable.assign` gives for each unit."""
    slots = table.slots
    buckets = buckets_after(table.state, units)
    return [slots[bucket] if unit else None for unit, bucket in zip(units, buckets, strict=True)]


def buckets_after(state: int, units: Sequence[str]) -> list[int]:
    """Return the bucket of each unit, as `experiments.bucketing.bucket_after` gives it.

    Few units, or a long one among them, are done one by one: a row takes as much as the longest.
    """
    coded = [unit.encode() for unit in units]
    sizes = [*map(len, coded)]
    width = max(sizes, default=0)
    if len(units) < CROWD_MIN or not 0 < width <= _BYTES_MAX:
        return [bucket_after(state, unit) for unit in units]
    rows = np.frombuffer(b"".join([one.ljust(width) for one in coded]), np.uint8).reshape(-1, width)
    rest = _hashed(state, rows.T, np.arange(width)[:, None] < np.array(sizes)) // _POWERS
    begun = rest > 0
    begun[-1] = True  # the hash of 0 is written with one digit
    buckets: list[int] = (_hashed(OFFSET, rest % _TEN + _ZERO, begun) % np.uint32(BUCKETS)).tolist()
    return buckets


def _hashed(state: int, columns: NDArray[np.integer], there: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Return the hashes of texts, given by their first characters, their second ones and so on, where there are any."""
    hashes = np.full(columns.shape[1], state, np.uint32)
    for characters, have in zip(columns.astype(np.uint32), there, strict=True):
        following = (hashes ^ characters) * _PRIME
        hashes = following if have.all() else np.where(have, following, hashes)
    return hashes
