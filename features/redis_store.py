"""The online store in Redis: one MGET reads a wave, a script writes by compare-and-set."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from features.errors import StoreFullError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CHUNK_PAIRS_MAX = 1000
WRITE_BUDGET_MS = 5000

# One key a call, so that it runs on a cluster too. Times are compared as numbers: exact below 2^53 microseconds
# (the year 2255), which Lua's doubles hold.
_PUT = """
local stored = redis.call('GET', KEYS[1])
if stored then
    if stored == ARGV[1] then return 0 end
    local old_event, old_written = struct.unpack('<i8i8', stored, 5)
    local new_event, new_written = struct.unpack('<i8i8', ARGV[1], 5)
    if old_event > new_event or (old_event == new_event and old_written > new_written) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
"""


class RedisStore:
    """Blobs in a Redis server. Safe to share among threads.

    Parameters
    ----------
    url
        ``redis://host:port/db``, ``rediss://…`` or ``unix:///path/of/socket?db=0``.
    read_budget_ms
        How long connecting, and then each answer to a read, may take. Nothing is tried twice.
    """

    far = True
    __slots__ = ("_put", "_reader", "_writer")

    def __init__(self, url: str, *, read_budget_ms: int) -> None:
        self._reader = _client(url, budget_ms=read_budget_ms)
        self._writer = _client(url, budget_ms=WRITE_BUDGET_MS)
        self._put = self._writer.register_script(_PUT)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the blob of each key, None where there is none, by one MGET."""
        if not keys:
            return []
        try:
            return cast("list[bytes | None]", self._reader.mget(keys))
        except redis.RedisError as error:
            raise StoreUnavailableError(f"the online store does not answer: {error}") from error

    def put_many(self, pairs: Iterable[tuple[bytes, bytes]]) -> int:
        """Write what is not older than what is stored, in pipelined chunks; return how many changed."""
        changed = 0
        remaining = iter(pairs)
        try:
            while chunk := list(islice(remaining, CHUNK_PAIRS_MAX)):
                with self._writer.pipeline(transaction=False) as pipeline:
                    for key, blob in chunk:
                        self._put(keys=[key], args=[blob], client=pipeline)
                    changed += sum(pipeline.execute())
        except redis.OutOfMemoryError as error:
            raise StoreFullError("the online store has no memory left: raise its maxmemory") from error
        except redis.RedisError as error:
            raise StoreUnavailableError(f"the online store cannot be written: {error}") from error
        return changed

    def close(self) -> None:
        """Close the connections."""
        self._reader.close()
        self._writer.close()


def _client(url: str, *, budget_ms: int) -> redis.Redis:
    budget_s = budget_ms / 1000
    return redis.Redis.from_url(
        url,
        socket_timeout=budget_s,
        socket_connect_timeout=budget_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
