"""Request ids: UUIDs in the order of time (RFC 9562, version 7)."""

from __future__ import annotations

import random

_VARIANT = 1 << 63
_random = random.SystemRandom()
_bits = random.Random(_random.getrandbits(128))  # noqa: S311  (an identity, not a secret; seeded by the system)


_newest: tuple[int, str] = (-1, "")
"""The time of the last id, and the part that it gave the id: the calls of a wave share it."""


def time_ordered_id(now_us: int) -> str:
    """Return a version 7 UUID for a time in microseconds since the Unix epoch."""
    global _newest  # noqa: PLW0603  (one reference, replaced whole)
    known, head = _newest
    if known != now_us:
        milliseconds, rest_us = divmod(now_us, 1000)
        # The 12 bits behind the milliseconds hold the fraction of the millisecond: ids of one worker sort finely.
        head = f"{milliseconds >> 16 & 0xFFFFFFFF:08x}-{milliseconds & 0xFFFF:04x}-7{rest_us * 4096 // 1000:03x}-"
        _newest = (now_us, head)
    tail = f"{_VARIANT | _bits.getrandbits(62):016x}"
    return f"{head}{tail[:4]}-{tail[4:]}"
