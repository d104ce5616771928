"""The online store port: blobs by key, read in one round trip, written by compare-and-set on the event time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from features.errors import StoreUrlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from features.decode import Column

READ_BUDGET_MS = 50
MAP_BYTES_MAX = 8 * 1024**3


class Tables(Protocol):
    """The values of a store as columns, at one moment."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the blob of each key, in order, None where there is none."""
        ...

    def places(self, entities: Iterable[str | None], count: int) -> NDArray[np.intp]:
        """Return where the values of so many entities are; None is an entity that is not named."""
        ...

    def column(self, prefix: str, size: int, places: NDArray[np.intp]) -> Column:
        """Return the values of the keys that begin so, of so many bytes, for the entities at these places."""
        ...


class OnlineStore(Protocol):
    """Keeps the newest value of each key. Values are blobs of `features.codec`."""

    far: bool
    """Whether it is reached over a network: a read then takes a hundred times as long."""

    def get_many(self, keys: Sequence[bytes], *, until: float = math.inf) -> list[bytes | None]:
        """Return the blob of each key, in order, None where there is none, in one round trip.

        A store that is far has until that time of the monotonic clock, and no longer than its own budget. Raises
        StoreUnavailableError when it does not answer in time.
        """
        ...

    def tables(self) -> Tables | None:
        """Return the values as columns where the store keeps them so; None where it is asked by keys."""
        ...

    def put_many(self, pairs: Iterable[tuple[bytes, bytes]], *, kept_us: int = 0) -> int:
        """Write each blob unless the stored one has a later (event time, written time); return how many changed.

        A store that can let go of values by itself does so `kept_us` after their event time; 0: never. Raises
        StoreUnavailableError, or StoreFullError when there is no room; pairs before the failing chunk stay.
        """
        ...

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its blob, while others may write; raises what `get_many` raises."""
        ...

    def forget(self, prefix: bytes, before_us: int) -> int:
        """Remove the values of keys that begin so and that became true before a time; return how many there were."""
        ...

    def close(self) -> None:
        """Let go of the store; nothing may be asked of it afterwards."""
        ...


def open_store(
    url: str, *, writable: bool, read_budget_ms: int = READ_BUDGET_MS, map_bytes_max: int = MAP_BYTES_MAX
) -> OnlineStore:
    """Return the store at `url`, or raise StoreUrlError when it is of no known kind.

    Parameters
    ----------
    url
        ``lmdb:///absolute/folder``; ``snapshot:///absolute/folder``; ``redis://host:port/db``, ``rediss://…``,
        ``unix:///path/of/socket?db=0``, ``redis+sentinel://host:port,host:port/name/db`` or
        ``redis+cluster://host:port,host:port``, as `features.redis_address` says.
    writable
        Whether `put_many` will be used. An LMDB or snapshot folder has one writing process and any number of reading
        ones; within one process it may be opened once.
    read_budget_ms
        How long a read may take on a store that is reached over a network.
    map_bytes_max
        How large an LMDB file may grow; address space, not memory or disk.
    """
    scheme = urlsplit(url).scheme
    # Each store's library is loaded only where that store is used: a worker starts small.
    if scheme == "lmdb":
        from features.lmdb_store import LmdbStore  # noqa: PLC0415

        return LmdbStore(unquote(urlsplit(url).path), writable=writable, map_bytes_max=map_bytes_max)
    if scheme == "snapshot":
        from features.snapshot_store import open_snapshots  # noqa: PLC0415

        return open_snapshots(unquote(urlsplit(url).path), writable=writable, map_bytes_max=map_bytes_max)
    if scheme in {"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}:
        from features.redis_store import RedisStore  # noqa: PLC0415

        return RedisStore(url, read_budget_ms=read_budget_ms)
    # The address is not repeated: it may hold a password.
    raise StoreUrlError(
        f"{scheme!r} is no kind of online store: lmdb:///folder, snapshot:///folder or redis://host:port/0",
        scheme=scheme,
    )
