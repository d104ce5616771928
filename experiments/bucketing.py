"""From a unit's id to its bucket: GrowthBook's hash, version 2, over UTF-8 bytes.

Loaded by every worker: nothing heavy is imported here.

References
----------
G. Fowler, L. C. Noll, K.-P. Vo, D. Eastlake, *The FNV Non-Cryptographic Hash Algorithm* (offset and prime of 32 bits).
GrowthBook, *Build your own SDK*, "hash" with version 2: ``fnv1a32(str(fnv1a32(seed + value))) % 10000``. Its kits hash
UTF-16 units or code points outside ASCII, and disagree there; here it is always the UTF-8 bytes.
"""

from __future__ import annotations

BUCKETS = 10_000
HASH_NAME = "growthbook-v2"

OFFSET = 0x811C9DC5
PRIME = 0x01000193
_MASK = 0xFFFFFFFF


def fnv1a32(data: bytes, *, state: int = OFFSET) -> int:
    """Return the 32-bit FNV-1a hash of the bytes, going on from `state` when the beginning was hashed already."""
    for byte in data:
        state = ((state ^ byte) * PRIME) & _MASK
    return state


def seed_state(seed: str) -> int:
    """Return the hash's state after the seed: what all units of one experiment have in common."""
    return fnv1a32(seed.encode())


_UNMASKED_BYTES_MAX = 16
TAIL = 10**6
HEADS = [OFFSET, *(fnv1a32(b"%d" % head) for head in range(1, (_MASK // TAIL) + 1))]
"""The state after the digits of a hash that stand before its last six: four of ten, mostly."""


def bucket_after(state: int, unit: str) -> int:
    """Return the bucket, 0 to 9 999, of a unit under the seed that left this state.

    Written out, since it runs once for every call that is served. The low 32 bits of a product do not depend on what is
    above them: short units are cut to 32 bits once, at their end.
    """
    data = unit.encode()
    if len(data) <= _UNMASKED_BYTES_MAX:
        for byte in data:
            state = (state ^ byte) * PRIME
        state &= _MASK
    else:
        for byte in data:
            state = ((state ^ byte) * PRIME) & _MASK
    head, tail = divmod(state, TAIL)
    second = HEADS[head]
    for byte in b"%06d" % tail if head else b"%d" % tail:
        second = (second ^ byte) * PRIME
    return (second & _MASK) % BUCKETS


def bucket_of(seed: str, unit: str) -> int:
    """Return the bucket, 0 to 9 999, of a unit under a seed."""
    return bucket_after(seed_state(seed), unit)
