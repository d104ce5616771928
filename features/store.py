"""The online store port: blobs by key, read in one round trip, written by compare-and-set on the event time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from features.errors import StoreUrlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

READ_BUDGET_MS = 50
MAP_BYTES_MAX = 8 * 1024**3


class OnlineStore(Protocol):
    """Keeps the newest value of each key. Values are blobs of `features.codec`."""

    far: bool
    """Whether it is reached over a network: a read then takes a hundred times as long."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the blob of each key, in order, None where there is none, in one round trip.

        All blobs come from one snapshot. Raises StoreUnavailableError when the store does not answer in time.
        """
        ...

    def put_many(self, pairs: Iterable[tuple[bytes, bytes]]) -> int:
        """Write each blob unless the stored one has a later (event time, written time); return how many changed.

        Raises StoreUnavailableError, or StoreFullError when there is no room; pairs before the failing chunk stay.
        """
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
        ``lmdb:///absolute/folder``, or ``redis://host:port/db``, ``rediss://…``, ``unix:///path/of/socket?db=0``.
    writable
        Whether `put_many` will be used. An LMDB folder has one writing process and any number of reading ones;
        within one process it may be opened once.
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
    if scheme in {"redis", "rediss", "unix"}:
        from features.redis_store import RedisStore  # noqa: PLC0415

        return RedisStore(url, read_budget_ms=read_budget_ms)
    raise StoreUrlError(
        f"{url!r} is not the address of an online store: lmdb:///folder or redis://host:port/0", url=url
    )
