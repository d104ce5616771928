"""Archives of the registry: one file that holds models, their versions, their history and all their bytes."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from typing import IO, TYPE_CHECKING, Protocol

from gateway.control import layout
from registry import archive
from registry.artifacts import chunks_of
from registry.errors import ArchiveConflictError, ArchiveInvalidError, ProbeInvalidError, StoreFullError
from registry.manifest import digest_of_probe, manifest_of
from registry.models import list_models
from registry.probe import decode

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from gateway.control.layout import Descriptor
    from registry.archive import Document, TakenIn
    from registry.artifacts import ArtifactStore
    from registry.keys import TrustedKeys
    from registry.records import Version
    from storage.clock import Clock
    from storage.database import Database

MODEL_TYPE = "application/vnd.turnout.model.v1+json"
TAINTS_TYPE = "application/vnd.turnout.taints.v1+json"
_LAYERS = {"artifact": "application/vnd.turnout.graph.v1+onnx", "probe": "application/vnd.turnout.probe.v1+npz"}
_PAGE = 200


class KnowsSet(Protocol):
    """Knows which definitions of feature sets there are."""

    def __call__(self, tx: Connection, set_id: str, digest: str) -> bool:
        """Return whether there is that definition of a feature set."""
        ...


class Archives:
    """Makes archives and takes them in.

    Parameters
    ----------
    database, artifacts, clock
        Where versions and their bytes are kept, and the time that an import is dated by.
    scratch
        A folder on a disk with room for an archive.
    keys
        Whose signatures are taken.
    knows_set
        Knows the feature sets that versions bind to.
    """

    def __init__(
        self,
        *,
        database: Database,
        artifacts: ArtifactStore,
        clock: Clock,
        scratch: Path,
        keys: TrustedKeys,
        knows_set: KnowsSet,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._clock = clock
        self._scratch = scratch
        self._keys = keys
        self._knows_set = knows_set

    def export(self, models: Sequence[str]) -> Generator[bytes]:
        """Yield the bytes of an archive of these models, or of all, as they stand at one revision.

        Raises
        ------
        ModelMissingError
            There is no such model.
        ArtifactMissingError, ArtifactCorruptError
            Bytes are not as they were put: what is damaged is not passed on.
        """
        writer = layout.LayoutWriter()
        manifests = []
        with tempfile.TemporaryFile(dir=self._scratch) as file:
            with self._database.read() as tx:
                parts = [self._kept(file, tx, model) for model in (models or _all_models(tx))]
                taints = archive.taint_documents(tx, models or None)
            yield from writer.begin()
            for model, (config, start), needed in parts:
                layers = []
                for sha256, role in needed.items():
                    path = self._artifacts.verify(sha256)
                    layers.append(layout.Descriptor(_LAYERS[role], sha256, path.stat().st_size))
                    yield from writer.blob(layers[-1], chunks_of(path))
                file.seek(start)
                yield from writer.blob(config, [file.read(config.size)])
                manifest = layout.Manifest(MODEL_TYPE, f"models/{model}", config, layers)
                yield from manifest.write(writer)
                manifests.append(manifest.entry())
            if taints:
                content = layout.canonical(taints)
                config = layout.blob(TAINTS_TYPE, content)
                yield from writer.blob(config, [content])
                manifest = layout.Manifest(TAINTS_TYPE, "taints", config, [])
                yield from manifest.write(writer)
                manifests.append(manifest.entry())
            yield from writer.end(manifests)

    def take_in(self, chunks: Iterable[bytes], *, actor: str) -> TakenIn:
        """Take an archive in, all of it or nothing, and return what was done; what is here already is left alone.

        Its bytes are put first; where nothing comes of them they are collected as what nobody needs.

        Raises
        ------
        ArchiveInvalidError
            It is no archive of a registry, or is damaged.
        ArchiveConflictError
            It contradicts what is here, or needs what is not here.
        SignatureInvalidError
            This gateway trusts keys, and none of them made a version's signature.
        """
        with tempfile.TemporaryFile(dir=self._scratch) as file:
            _spool(chunks, file)
            reader = layout.LayoutReader(file)
            documents, taints = _read(reader)
            for document in documents:
                for sha256 in archive.needed_by(document):
                    if reader.holds(sha256):
                        self._artifacts.put(reader.chunks(sha256), expected_sha256=sha256)
                    elif not self._artifacts.holds(sha256):
                        raise ArchiveInvalidError(f"the archive lacks the artifact {sha256}")
                for version, row in zip(archive.versions_in(document), document["versions"], strict=True):
                    row["signed_by"] = self._signer(version)
            with self._database.write() as tx:
                for document in documents:
                    self._check_needs(tx, document)
                return archive.take_in(tx, documents, taints, actor=actor, now_us=self._clock.now_us())

    def _kept(self, file: IO[bytes], tx: Connection, model: str) -> tuple[str, tuple[Descriptor, int], dict[str, str]]:
        """Write a model's document aside, so that the transaction need not wait for who downloads."""
        document = archive.model_document(tx, model)
        content = layout.canonical(document)
        start = file.tell()
        file.write(content)
        return model, (layout.blob(MODEL_TYPE, content), start), archive.needed_by(document)

    def _signer(self, version: Version) -> str:
        """Return who signed a version: whom this gateway knows by the key, nobody where it trusts no keys.

        What the archive says of it is not asked: whoever wrote it could have said anything.
        """
        if not version.manifest_signature or not self._keys.known:
            return ""
        try:
            probe = decode(self._artifacts.path(version.probe_sha256).read_bytes()) if version.probe_sha256 else None
            signature = bytes.fromhex(version.manifest_signature)
        except (ProbeInvalidError, ValueError) as error:
            raise ArchiveInvalidError(f"models/{version.model}/versions/{version.number}: {error}") from error
        return self._keys.signer_of(manifest_of(version, digest_of_probe(probe)), signature)

    def _check_needs(self, tx: Connection, document: Document) -> None:
        """Raise ArchiveConflictError unless every feature set that a version is bound to is here."""
        for row in document["versions"]:
            if row["feature_set"] and not self._knows_set(tx, row["feature_set"], row["feature_set_digest"]):
                raise ArchiveConflictError(
                    f"models/{row['model']}/versions/{row['number']} is bound to the feature set "
                    f"{row['feature_set']!r} of the digest {row['feature_set_digest'][:12]}…, which is not here: apply "
                    "its definition first",
                    feature_set=row["feature_set"],
                )
        for sha256 in archive.needed_by(document):
            if not self._artifacts.holds(sha256):  # collected in this moment, as what nobody needed
                raise ArchiveConflictError(f"the artifact {sha256} is gone from the store: import again")


def _all_models(tx: Connection) -> list[str]:
    found: list[str] = []
    after = ""
    while page := list_models(tx, after=after, limit_max=_PAGE, deleted=True):
        found += [model.id for model in page]
        after = page[-1].id
    return found


def _spool(chunks: Iterable[bytes], file: IO[bytes]) -> None:
    try:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StoreFullError("the disk has no room for the archive") from error
        raise


def _read(reader: layout.LayoutReader) -> tuple[list[Document], list[Document]]:
    """Return the models' documents and the taints of an archive."""
    documents: list[Document] = []
    taints: list[Document] = []
    with _invalid():
        for kind, manifest in reader.manifests():
            content = reader.document(manifest["config"]["digest"])
            if kind == MODEL_TYPE:
                archive.versions_in(content)
                documents.append(content)
            elif kind == TAINTS_TYPE:
                taints += content
            else:
                raise ArchiveInvalidError(f"the archive holds {kind[:120]!r}, which is nothing of a registry's")
        if len({document["model"]["id"] for document in documents}) != len(documents):
            raise ArchiveInvalidError("the archive holds a model twice")
    return documents, taints


@contextlib.contextmanager
def _invalid() -> Iterator[None]:
    """Raise ArchiveInvalidError for what a malformed document runs into."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise ArchiveInvalidError(f"the archive cannot be read: {error!r}"[:200]) from error
