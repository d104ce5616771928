"""Request ids: UUIDs in the order of time (RFC 9562, version 7)."""

from __future__ import annotations

import random

_random = random.SystemRandom()
_bits = random.Random(_random.getrandbits(128))  # noqa: S311  (an identity, not a secret; seeded by the system)


def time_ordered_id(now_us: int) -> str:
    """Return a version 7 UUID for a time in microseconds since the Unix epoch."""
    milliseconds, rest_us = divmod(now_us, 1000)
    # The 12 bits behind the milliseconds hold the fraction of the millisecond, so that ids of one worker sort finely.
    fraction = rest_us * 4096 // 1000
    tail = _bits.getrandbits(62)
    text = f"{milliseconds:012x}7{fraction:03x}{0x8000000000000000 | tail:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
