"""Looking after the artifacts: verification of the whole store, and collection of what no version needs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.errors import ArtifactMissingError, ProbeInvalidError, SignatureInvalidError
from registry.manifest import digest_of_probe, manifest_of
from registry.probe import decode
from registry.upkeep import GRACE_S, collect_artifacts, needed_artifacts, problem_of, unneeded
from registry.versions import get_version, signed_versions

if TYPE_CHECKING:
    from collections.abc import Generator

    from registry.artifacts import ArtifactStore
    from registry.keys import TrustedKeys
    from registry.records import Version
    from registry.upkeep import Collected, Needed
    from storage.database import Database

CHUNK_BYTES = 1024**2
PROGRESS_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Attributes
    ----------
    problem
        `missing`, `corrupt` or `signature`.
    versions
        The versions that it touches, by resource name.
    """

    problem: str
    sha256: str
    message: str
    versions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a verification is; what nobody needs is counted at its end."""

    checked: int
    total: int
    checked_bytes: int
    total_bytes: int
    unreferenced: int = 0
    unreferenced_bytes: int = 0
    done: bool = False


class Upkeep:
    """Looks after the artifacts.

    Parameters
    ----------
    database, artifacts
        Where versions and their bytes are kept.
    keys
        Whose signatures are taken.
    """

    def __init__(self, *, database: Database, artifacts: ArtifactStore, keys: TrustedKeys) -> None:
        self._database = database
        self._artifacts = artifacts
        self._keys = keys

    def verify(self) -> Generator[Finding | Progress]:
        """Read every artifact that a version needs and yield what is wrong, how far it is, and at last all counts."""
        with self._database.read() as tx:
            needed = needed_artifacts(tx)
            signed = signed_versions(tx)
        checked_bytes, total_bytes = 0, sum(each.length_bytes for each in needed)
        told_at = 0.0
        for place, each in enumerate(needed):
            if time.monotonic() - told_at > PROGRESS_INTERVAL_S:
                told_at = time.monotonic()
                yield Progress(checked=place, total=len(needed), checked_bytes=checked_bytes, total_bytes=total_bytes)
            if (finding := self._finding(each)) is not None:
                yield finding
            checked_bytes += each.length_bytes
        for version in signed:
            if (finding := self._forgery(version)) is not None:
                yield finding
        left = list(unneeded(self._artifacts, needed))
        yield Progress(
            checked=len(needed),
            total=len(needed),
            checked_bytes=checked_bytes,
            total_bytes=total_bytes,
            unreferenced=len(left),
            unreferenced_bytes=sum(kept.length_bytes for kept in left),
            done=True,
        )

    def collect(self, *, grace_s: float | None, dry_run: bool) -> Collected:
        """Remove what no version needs and is older than the grace time, or with `dry_run` only say what that is."""
        grace_us = int((GRACE_S if grace_s is None else grace_s) * 1e6)
        # Files and objects are dated by the machines that keep them, whatever time a replay is at.
        before_us = time.time_ns() // 1000 - grace_us
        return collect_artifacts(self._database, self._artifacts, before_us=before_us, dry_run=dry_run)

    def holds(self, sha256: str) -> bool:
        """Return whether the store keeps an artifact of that digest."""
        return self._artifacts.holds(sha256)

    def version(self, model: str, number: int) -> Version:
        """Return a version, or raise VersionMissingError."""
        with self._database.read() as tx:
            return get_version(tx, model, number)

    def chunks(self, version: Version, offset: int) -> Generator[bytes]:
        """Yield the bytes of a version's file from an offset on, or raise ArtifactMissingError."""
        with self._artifacts.path(version.artifact_sha256).open("rb") as file:
            file.seek(offset)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    def _finding(self, needed: Needed) -> Finding | None:
        problem = problem_of(self._artifacts, needed.sha256)
        if problem is None:
            return None
        kind = "missing" if isinstance(problem, ArtifactMissingError) else "corrupt"
        return Finding(kind, needed.sha256, problem.message, needed.versions)

    def _forgery(self, version: Version) -> Finding | None:
        """Return what is wrong with a version's signature; nothing where no key is trusted, so none can be asked."""
        if not self._keys.known:
            return None
        try:
            probe = decode(self._artifacts.path(version.probe_sha256).read_bytes()) if version.probe_sha256 else None
            text = manifest_of(version, digest_of_probe(probe))
            self._keys.signer_of(text, bytes.fromhex(version.manifest_signature))
        except (ArtifactMissingError, ProbeInvalidError):
            return None  # found already, as an artifact that is not as it was put
        except SignatureInvalidError as error:
            name = f"models/{version.model}/versions/{version.number}"
            return Finding("signature", version.artifact_sha256, f"{name}: {error.message}", (name,))
        return None
