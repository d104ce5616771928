"""Objects in a bucket: put whole, put once, read, removed."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from storage.bucket import open_bucket
from storage.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READ_BYTES = 1024**2
PART_BYTES = 8 * 1024**2
PARTS_AT_ONCE_MAX = 2
_SAID_MAX = 300


class ObjectsUnreachableError(UnavailableError):
    """The bucket does not answer, or does not do what it is asked for."""

    reason = "OBJECTS_UNREACHABLE"


class Objects:
    """The objects below an address.

    Parameters
    ----------
    url
        As `storage.bucket.open_bucket` says.

    Raises
    ------
    BucketAddressError
        The address is of another kind, or says what it cannot say.
    ObjectsUnreachableError
        By every method: the bucket does not answer.
    """

    __slots__ = ("_store",)

    def __init__(self, url: str) -> None:
        self._store = open_bucket(url)

    def create(self, key: str, data: bytes) -> bool:
        """Put an object unless there is one of that key, and return whether it was put; of several, one is first."""
        try:
            with _answering():
                obstore.put(self._store, key, data, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def put_file(self, key: str, file: Path) -> None:
        """Put a file's bytes, in the place of what is there."""
        with _answering():
            obstore.put(self._store, key, file, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE_MAX)

    def get(self, key: str) -> bytes | None:
        """Return an object; None when there is none."""
        with _answering(), contextlib.suppress(FileNotFoundError):
            return bytes(obstore.get(self._store, key).bytes())
        return None

    def get_file(self, key: str, file: Path) -> str | None:
        """Write an object into a file and return its SHA-256; None, and no file, when there is none."""
        digest = hashlib.sha256()
        with _answering():
            try:
                found = obstore.get(self._store, key)
            except FileNotFoundError:
                return None
            with file.open("wb") as opened:
                for chunk in found.stream(min_chunk_size=READ_BYTES):
                    digest.update(chunk)
                    opened.write(chunk)
        return digest.hexdigest()

    def remove(self, key: str) -> None:
        """Remove an object; none is as well."""
        with _answering(), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, key)

    def folders(self, key: str) -> list[str]:
        """Return the names of what lies one level below a key that ends in `/`."""
        with _answering():
            found = obstore.list_with_delimiter(self._store, key)
        return sorted(prefix.rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"])


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (AlreadyExistsError, FileNotFoundError):
        raise
    except (BaseError, PermissionError) as error:
        said = str(error).partition("\n")[0][:_SAID_MAX]
        raise ObjectsUnreachableError(f"the bucket does not do what it is asked for: {said}") from error
