"""The online store in LMDB: a memory-mapped file, read by many processes, written by one."""

from __future__ import annotations

import contextlib
import math
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmdb

from features.codec import TIMES, TIMES_AT, times_of
from features.errors import StoreFullError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

READERS_MAX = 1024
SPARE_TRANSACTIONS_MAX = 8
CHUNK_PAIRS_MAX = 4096


class LmdbStore:
    """Blobs in the LMDB environment of a folder.

    Parameters
    ----------
    folder
        The environment's folder; made when there is none, by readers too, so that workers need not wait for a writer.
    writable
        Whether this process writes. Reading never blocks writing, nor writing reading.
    map_bytes_max
        How large the file may grow.
    """

    far = False
    __slots__ = ("_environment",)

    def __init__(self, folder: str, *, writable: bool, map_bytes_max: int) -> None:
        path = Path(folder)
        with _reported(folder):
            if not writable and not (path / "data.mdb").exists():
                path.mkdir(parents=True, exist_ok=True)
                _open(folder, readonly=False, map_bytes_max=map_bytes_max).close()
            elif writable:
                path.mkdir(parents=True, exist_ok=True)
            self._environment = _open(folder, readonly=not writable, map_bytes_max=map_bytes_max)

    def get_many(self, keys: Sequence[bytes], *, until: float = math.inf) -> list[bytes | None]:
        """Return the blob of each key, None where there is none, from one snapshot."""
        try:
            with self._environment.begin() as reading:
                return list(map(reading.get, keys))
        except lmdb.MapResizedError:
            self._environment.set_mapsize(0)  # another process was given a larger map: take over its size
            return self.get_many(keys, until=until)
        except lmdb.Error as error:
            raise StoreUnavailableError(f"the online store cannot be read: {error}") from error

    def tables(self) -> None:
        """Return nothing: it is asked by keys."""

    def put_many(self, pairs: Iterable[tuple[bytes, bytes]], *, kept_us: int = 0) -> int:
        """Write what is not older than what is stored, in chunks of one transaction each; return how many changed."""
        del kept_us  # it lets go of nothing by itself: see `forget`
        changed = 0
        remaining = iter(pairs)
        self._environment.reader_check()  # a reader that was killed in a transaction would keep old pages for ever
        while chunk := list(islice(remaining, CHUNK_PAIRS_MAX)):
            with _reported(self._environment.path()), self._environment.begin(write=True) as writing:
                changed += _put_chunk(writing, chunk)
        return changed

    def scan(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key with its blob, in the order of the keys; a transaction is open for a chunk at a time."""
        last: bytes | None = None
        while True:
            with _reported(self._environment.path()), self._environment.begin() as reading:
                chunk = list(islice(_from(reading, last), CHUNK_PAIRS_MAX))
            yield from chunk
            if len(chunk) < CHUNK_PAIRS_MAX:
                return
            last = chunk[-1][0]

    @contextlib.contextmanager
    def moment(self) -> Generator[Callable[[], Iterator[tuple[bytes, bytes]]]]:
        """Give a function that yields every key with its blob as they are now, as often as it is called."""
        with _reported(self._environment.path()), self._environment.begin() as reading:
            yield partial(_from, reading, None)

    def forget(self, prefix: bytes, before_us: int) -> int:
        """Remove the values of keys that begin so and that became true before a time; return how many there were."""
        removed = 0
        last: bytes | None = prefix
        while last is not None:
            with _reported(self._environment.path()), self._environment.begin(write=True) as writing:
                old, last = _old_keys(writing, prefix, last, before_us)
                for key in old:
                    writing.delete(key)
            removed += len(old)
        return removed

    def close(self) -> None:
        """Unmap the file."""
        self._environment.close()


def _put_chunk(writing: Any, chunk: list[tuple[bytes, bytes]]) -> int:
    changed = 0
    for key, blob in chunk:
        stored = writing.get(key)
        if stored is not None and (
            stored == blob or TIMES.unpack_from(stored, TIMES_AT) > TIMES.unpack_from(blob, TIMES_AT)
        ):
            continue
        writing.put(key, blob)
        changed += 1
    return changed


def _from(reading: Any, last: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    """Yield the pairs past a key."""
    with reading.cursor() as cursor:
        there = cursor.first() if last is None else cursor.set_range(last)
        if there and cursor.key() == last:
            there = cursor.next()
        if there:
            yield from cursor


def _old_keys(reading: Any, prefix: bytes, start: bytes, before_us: int) -> tuple[list[bytes], bytes | None]:
    """Return the keys of old values among some thousands from one on, and from where to go on; None at the end."""
    old: list[bytes] = []
    with reading.cursor() as cursor:
        if cursor.set_range(start):
            for count, (key, blob) in enumerate(cursor):
                if not key.startswith(prefix):
                    break
                if count == CHUNK_PAIRS_MAX:
                    return old, key
                if times_of(blob)[0] < before_us:
                    old.append(key)
    return old, None


def _open(folder: str, *, readonly: bool, map_bytes_max: int) -> Any:
    return lmdb.open(
        folder,
        map_size=map_bytes_max,
        readonly=readonly,
        create=not readonly,
        # A lost meta page costs the last transaction, never the file; values can be materialized again.
        metasync=False,
        readahead=False,
        max_readers=READERS_MAX,
        max_spare_txns=SPARE_TRANSACTIONS_MAX,
    )


@contextlib.contextmanager
def _reported(folder: str) -> Iterator[None]:
    try:
        yield
    except lmdb.MapFullError as error:
        raise StoreFullError("the online store is full: raise its map_bytes_max", folder=folder) from error
    except (lmdb.Error, OSError) as error:
        raise StoreUnavailableError(f"the online store at {folder} cannot be used: {error}", folder=folder) from error
