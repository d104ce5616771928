"""Request ids: UUIDs in the order of time (RFC 9562, version 7)."""

from __future__ import annotations

import random
from itertools import count, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARIANT = 0x8000
_RANDOM_BITS = 14
_TAIL_BITS = 47
_TAIL_BYTES = 6
_random = random.SystemRandom()
_bits = random.Random(_random.getrandbits(128))  # noqa: S311  (an identity, not a secret; seeded by the system)

_newest: tuple[int, str, Iterator[int]] = (-1, "", count())
"""The time of the last id, what it begins with, and the tails that follow: the calls of a wave share it."""


def time_ordered_id(now_us: int) -> str:
    """Return a version 7 UUID for a time in microseconds since the Unix epoch.

    Ids of one time begin alike and count on from a random number, as the RFC's "monotonic random" method does.
    """
    known, head, tails = _newest
    if known != now_us:
        head, tails = _begin(now_us)
    return head + next(tails).to_bytes(_TAIL_BYTES).hex()


def time_ordered_ids(now_us: int, number: int) -> list[str]:
    """Return as many ids as `time_ordered_id` gives, for the rows of a batch."""
    known, head, tails = _newest
    if known != now_us:
        head, tails = _begin(now_us)
    return [head + tail.to_bytes(_TAIL_BYTES).hex() for tail in islice(tails, number)]


def _begin(now_us: int) -> tuple[str, Iterator[int]]:
    global _newest  # noqa: PLW0603  (one reference, replaced whole)
    milliseconds, rest_us = divmod(now_us, 1000)
    # The 12 bits behind the milliseconds hold the fraction of the millisecond: ids of one worker sort finely.
    fraction = rest_us * 4096 // 1000
    variant = _VARIANT | _bits.getrandbits(_RANDOM_BITS)
    head = f"{milliseconds >> 16 & 0xFFFFFFFF:08x}-{milliseconds & 0xFFFF:04x}-7{fraction:03x}-{variant:04x}-"
    tails = count(_bits.getrandbits(_TAIL_BITS))  # one bit is left for counting on
    _newest = (now_us, head, tails)
    return head, tails
