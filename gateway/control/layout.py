"""The image layout of the Open Container Initiative as one tar file: blobs by their digest, an index, manifests.

https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from registry.errors import ArchiveInvalidError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
JSON_BYTES_MAX = 256 * 1024**2
_CHUNK_BYTES = 1024**2
_LAYOUT = {"imageLayoutVersion": "1.0.0"}
_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What an index or a manifest says of a blob."""

    media_type: str
    sha256: str
    size: int

    def document(self, **more: object) -> dict[str, Any]:
        """Return it as the layout writes it."""
        return {"mediaType": self.media_type, "digest": f"sha256:{self.sha256}", "size": self.size, **more}


def blob(media_type: str, content: bytes) -> Descriptor:
    """Return the descriptor of a blob."""
    return Descriptor(media_type, hashlib.sha256(content).hexdigest(), len(content))


def canonical(document: object) -> bytes:
    """Return a document as bytes, the same for the same document; names stay in their order, which some texts show."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Manifest:
    """What belongs together: a document, and the blobs that it needs, under a name and of a type."""

    artifact_type: str
    name: str
    config: Descriptor
    layers: list[Descriptor]

    def write(self, writer: LayoutWriter) -> Iterator[bytes]:
        """Yield its bytes, after those of its parts."""
        if not self.layers:
            yield from writer.blob(_NOTHING, [b"{}"])
        yield from writer.blob(blob(MANIFEST, self._content()), [self._content()])

    def entry(self) -> dict[str, Any]:
        """Return what the index says of it."""
        named = {"annotations": {"org.opencontainers.image.ref.name": self.name}, "artifactType": self.artifact_type}
        return blob(MANIFEST, self._content()).document(**named)

    def _content(self) -> bytes:
        return canonical(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": self.artifact_type,
                "config": self.config.document(),
                # The specification asks for one at least.
                "layers": [layer.document() for layer in self.layers or [_NOTHING]],
            }
        )


_NOTHING = blob(EMPTY, b"{}")


class LayoutWriter:
    """Makes the bytes of an archive, in order; the same blobs give the same bytes, at any time."""

    def __init__(self) -> None:
        self._written: set[str] = set()

    def begin(self) -> Iterator[bytes]:
        """Yield the mark of the layout."""
        content = canonical(_LAYOUT)
        yield from self._member("oci-layout", len(content), [content])

    def blob(self, descriptor: Descriptor, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield a blob, unless it was written before."""
        if descriptor.sha256 not in self._written:
            self._written.add(descriptor.sha256)
            yield from self._member(f"blobs/sha256/{descriptor.sha256}", descriptor.size, chunks)

    def end(self, manifests: list[dict[str, Any]]) -> Iterator[bytes]:
        """Yield the index, and the end of the file."""
        content = canonical({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
        yield from self._member("index.json", len(content), [content])
        yield b"\0" * (2 * tarfile.BLOCKSIZE)

    def _member(self, name: str, size: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
        head = tarfile.TarInfo(name)
        head.size, head.mode = size, 0o644
        yield head.tobuf(tarfile.PAX_FORMAT)
        yield from chunks
        if rest := size % tarfile.BLOCKSIZE:
            yield b"\0" * (tarfile.BLOCKSIZE - rest)


class LayoutReader:
    """Reads an archive. Nothing of it becomes a path, and nothing is believed before its digest was seen.

    Parameters
    ----------
    file
        The archive; it is read in place.

    Raises
    ------
    ArchiveInvalidError
        It is no tar file, or holds what no layout holds.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._blobs: dict[str, tuple[int, int]] = {}
        self._others: dict[str, tuple[int, int]] = {}
        file.seek(0)
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    self._note(member)
        except (tarfile.TarError, ValueError) as error:
            raise ArchiveInvalidError(f"the archive is no tar file: {error}") from error
        if json.loads(self._small("oci-layout") or "{}") != _LAYOUT:
            raise ArchiveInvalidError("the archive has not the image layout 1.0.0")

    def manifests(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the type and the content of each manifest that the index names."""
        try:
            index = json.loads(self._small("index.json"))
            found = [self.document(each["digest"]) for each in index["manifests"]]
            return [(str(each["artifactType"]), each) for each in found]
        except (KeyError, TypeError, ValueError) as error:
            raise ArchiveInvalidError(f"the archive's index cannot be read: {error}") from error

    def document(self, digest: str) -> Any:
        """Return the JSON in a blob, or raise ArchiveInvalidError."""
        sha256 = digest.removeprefix("sha256:")
        _, size = self._place(sha256)
        if size > JSON_BYTES_MAX:
            raise ArchiveInvalidError(f"the document {digest} is longer than {JSON_BYTES_MAX} bytes")
        content = b"".join(self.chunks(sha256))
        if hashlib.sha256(content).hexdigest() != sha256:
            raise ArchiveInvalidError(f"the archive is damaged: the blob {digest} has other bytes")
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ArchiveInvalidError(f"the blob {digest} is no JSON") from error

    def chunks(self, sha256: str) -> Iterator[bytes]:
        """Yield the bytes of a blob, whose digest is not looked at, or raise ArchiveInvalidError when there is none."""
        start, size = self._place(sha256)
        while size:
            self._file.seek(start)
            chunk = self._file.read(min(_CHUNK_BYTES, size))
            if not chunk:
                raise ArchiveInvalidError("the archive ends in the middle of a blob")
            yield chunk
            start, size = start + len(chunk), size - len(chunk)

    def holds(self, sha256: str) -> bool:
        """Return whether there is a blob of that digest."""
        return sha256 in self._blobs

    def _note(self, member: tarfile.TarInfo) -> None:
        if member.isdir() and member.name in {"blobs", "blobs/sha256", "."}:
            return
        found = _BLOB.fullmatch(member.name.removeprefix("./"))
        if not member.isreg() or not (found or member.name.removeprefix("./") in {"oci-layout", "index.json"}):
            raise ArchiveInvalidError(f"the archive holds {member.name[:120]!r}, which no layout holds")
        place = (member.offset_data, member.size)
        if found:
            self._blobs[found[1]] = place
        else:
            self._others[member.name.removeprefix("./")] = place

    def _place(self, sha256: str) -> tuple[int, int]:
        if sha256 not in self._blobs:
            raise ArchiveInvalidError(f"the archive lacks the blob {sha256[:64]}")
        return self._blobs[sha256]

    def _small(self, name: str) -> bytes:
        start, size = self._others.get(name, (0, 0))
        if size > JSON_BYTES_MAX:
            raise ArchiveInvalidError(f"{name} is longer than {JSON_BYTES_MAX} bytes")
        self._file.seek(start)
        return self._file.read(size)
