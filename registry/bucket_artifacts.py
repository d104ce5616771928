"""Artifacts in a bucket of an S3-compatible store, with a folder of this machine before it."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError

from registry.artifacts import ArtifactStore, Kept, check_digest, check_found
from registry.errors import ArtifactCorruptError, ArtifactMissingError, ArtifactUrlError, StoreUnreachableError
from registry.spool import ARTIFACT_BYTES_MAX
from storage.bucket import BucketAddressError, open_bucket

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from obstore.store import S3Store

    from registry.artifacts import LocalArtifacts

PART_BYTES = 8 * 1024**2
"""What is longer is put in parts of this length; a store takes at most 10 000 of them."""
PARTS_AT_ONCE_MAX = 2
READ_BYTES = 1024**2


class BucketArtifacts(ArtifactStore):
    """Artifacts in a bucket: `<prefix>/sha256/ab/<digest>`.

    An object appears under its digest whole or not at all. Any number of machines put and read; what they read they
    keep in a folder, by digest too, that all processes of a machine share.

    Parameters
    ----------
    url
        ``s3://bucket/prefix?endpoint=…&region=…``. What it does not say, and the credentials, the environment does by
        the names that other clients of S3 know: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_REGION.
    cache
        Where the files are on this machine.

    Raises
    ------
    ArtifactUrlError
        The address is of another kind, or says what it cannot say.
    """

    __slots__ = ("_cache", "_store")

    def __init__(self, url: str, cache: LocalArtifacts) -> None:
        self._cache = cache
        self._store = _store_at(url)

    def put(self, chunks: Iterable[bytes], *, expected_sha256: str, bytes_max: int = ARTIFACT_BYTES_MAX) -> int:
        """Keep the bytes for good and return how many they are, as the port says."""
        length = self._cache.put(chunks, expected_sha256=expected_sha256, bytes_max=bytes_max)
        file = self._cache.path(expected_sha256)
        if not self._created(expected_sha256, file, in_parts=length > PART_BYTES):
            try:  # bytes that rotted are replaced by the good ones; good ones are left alone
                self._check_bucket(expected_sha256)
            except ArtifactCorruptError:
                self._upload(expected_sha256, file)
        return length

    def path(self, sha256: str) -> Path:
        """Return the file of this machine that holds the artifact, brought here when it is not."""
        with contextlib.suppress(ArtifactMissingError):
            return self._cache.path(sha256)
        self._fetch(sha256)
        return self._cache.path(sha256)

    def place(self, sha256: str) -> Path:
        """Return where the file of this machine is, or would be."""
        return self._cache.place(sha256)

    def verify(self, sha256: str) -> Path:
        """Return the file of this machine that holds the artifact, brought here anew when it is not as it was put."""
        with contextlib.suppress(ArtifactMissingError, ArtifactCorruptError):
            return self._cache.verify(sha256)
        self._fetch(sha256)
        return self._cache.verify(sha256)

    def check(self, sha256: str) -> None:
        """Read what is in the bucket, and raise as `verify` does; a copy here that changed is made anew."""
        self._check_bucket(sha256)
        if self._cache.holds(sha256):
            self.verify(sha256)

    def _created(self, sha256: str, file: Path, *, in_parts: bool) -> bool:
        """Put the file unless there is an object of its digest already, and return whether it was put.

        Parts cannot be put on the condition that there is nothing: where two machines put the same digest at once, the
        same bytes replace each other.
        """
        if in_parts:
            if self.holds(sha256):
                return False
            self._upload(sha256, file)
            return True
        try:
            with _answering(sha256):
                obstore.put(self._store, _key(sha256), file, mode="create")
        except AlreadyExistsError:
            return False
        return True

    def _check_bucket(self, sha256: str) -> None:
        digest = hashlib.sha256()
        for chunk in self._chunks(sha256):
            digest.update(chunk)
        check_found(sha256, digest.hexdigest())

    def holds(self, sha256: str) -> bool:
        """Return whether the artifact is in the bucket."""
        check_digest(sha256)
        try:
            with _answering(sha256):
                obstore.head(self._store, _key(sha256))
        except ArtifactMissingError:
            return False
        return True

    def listed(self) -> Iterator[Kept]:
        """Yield all that is in the bucket."""
        with _answering(""):
            for page in obstore.list(self._store, prefix="sha256/"):
                for each in page:
                    name = each["path"].rpartition("/")[2]
                    if each["path"] == _key(name):
                        yield Kept(name, each["size"], int(each["last_modified"].timestamp() * 1e6))

    def remove(self, sha256: str) -> None:
        """Remove an artifact from the bucket and from this machine."""
        check_digest(sha256)
        with _answering(sha256), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, _key(sha256))
        self._cache.remove(sha256)

    def _upload(self, sha256: str, file: Path) -> None:
        with _answering(sha256):
            obstore.put(self._store, _key(sha256), file, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE_MAX)

    def _fetch(self, sha256: str) -> None:
        """Bring an artifact here, or raise ArtifactMissingError or ArtifactCorruptError."""
        digest = hashlib.sha256()

        def passing() -> Iterator[bytes]:
            for chunk in self._chunks(sha256):
                digest.update(chunk)
                yield chunk
            check_found(sha256, digest.hexdigest())

        self._cache.put(passing(), expected_sha256=sha256)

    def _chunks(self, sha256: str) -> Iterator[bytes]:
        check_digest(sha256)
        with _answering(sha256):
            for chunk in obstore.get(self._store, _key(sha256)).stream(min_chunk_size=READ_BYTES):
                yield bytes(chunk)


@contextlib.contextmanager
def _answering(sha256: str) -> Iterator[None]:
    """Turn what the store says into our errors, but for AlreadyExistsError."""
    try:
        yield
    except FileNotFoundError as error:
        raise ArtifactMissingError(f"there is no artifact {sha256}", sha256=sha256) from error
    except AlreadyExistsError:
        raise
    except BaseError as error:
        said = str(error).partition("\n")[0][:300]
        raise StoreUnreachableError(f"the artifact store does not do what it is asked for: {said}") from error


def _key(sha256: str) -> str:
    return f"sha256/{sha256[:2]}/{sha256}"


def _store_at(url: str) -> S3Store:
    try:
        return open_bucket(url)
    except BucketAddressError as error:
        raise ArtifactUrlError(f"the artifact store: {error.message}") from error
