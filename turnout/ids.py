"""Request ids: UUIDs of version 7, which sort by the time they were made."""

from __future__ import annotations

import os
import time
import uuid


def uuid7(time_ms: int, random_bytes: bytes) -> str:
    """Return the UUID of version 7 of a time and 10 random bytes, in its 36-character form.

    Parameters
    ----------
    time_ms
        Milliseconds since the Unix epoch; its low 48 bits come first.
    random_bytes
        80 bits, of which 74 are used.

    References
    ----------
    RFC 9562, section 5.7: ``unix_ts_ms (48) | 0111 | rand_a (12) | 10 | rand_b (62)``.
    """
    rand = int.from_bytes(random_bytes[:10], "big")
    value = (time_ms & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | (rand >> 62 & 0xFFF) << 64 | 0b10 << 62
    return str(uuid.UUID(int=value | rand & 0x3FFF_FFFF_FFFF_FFFF))


def new_request_id() -> str:
    """Return a new request id: a UUID of version 7 of now."""
    return uuid7(time.time_ns() // 1_000_000, os.urandom(10))
