"""Many units at once: what each of them gets, hashed side by side, one operation for a byte of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from experiments.bucketing import BUCKETS, HEADS, PRIME, TAIL, bucket_after, fnv1a32

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from experiments.assignment import Assigned, AssignmentTable

CROWD_MIN = 40
"""From so many units on it is quicker than one after another."""

_BYTES_MAX = 64
_PRIME, _TAIL, _THOUSAND = np.uint32(PRIME), np.uint32(TAIL), np.uint32(1000)
_HEADS = np.array(HEADS, np.uint32)
_DIGITS = np.array([[*b"%03d" % number] for number in range(_THOUSAND)], np.uint32).T
"""The three digits of each number below 1 000."""


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
    there = np.arange(width)[:, None] < np.array(sizes)
    buckets: list[int] = (_hashed_again(_hashed(state, rows.T.astype(np.uint32), there)) % np.uint32(BUCKETS)).tolist()
    return buckets


def _hashed(state: int, columns: NDArray[np.uint32], there: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Return the hashes of texts, given by their first bytes, their second ones and so on, where there are any."""
    hashes = np.full(columns.shape[1], state, np.uint32)
    whole: list[bool] = there.all(axis=1).tolist()  # type: ignore[assignment]  # of two dimensions one is left
    for bytes_, have, everywhere in zip(columns, there, whole, strict=True):
        following = (hashes ^ bytes_) * _PRIME
        hashes = following if everywhere else np.where(have, following, hashes)
    return hashes


def _hashed_again(hashes: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the hash of each hash as it is written in decimal: of its head by a table, and then of six digits."""
    heads, tails = hashes // _TAIL, hashes % _TAIL
    again: NDArray[np.uint32] = _HEADS[heads]
    for digits in (*_DIGITS[:, tails // _THOUSAND], *_DIGITS[:, tails % _THOUSAND]):
        again ^= digits
        again *= _PRIME
    if not heads.all():  # one of 4 295 is so small that it is written without a head, and in fewer digits
        for place in np.flatnonzero(heads == 0):
            again[place] = fnv1a32(b"%d" % hashes[place])
    return again
