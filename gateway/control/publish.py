"""The publication of a version: everything is checked before anything is kept."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.control.clearances import views_of
from gateway.control.publication import Publication, Published, feature_input
from gateway.errors import DeadlineSpentError
from registry.aliases import set_alias
from registry.artifacts import chunks_of
from registry.clearance import Support
from registry.deployments import OF_MODEL, deployments_of
from registry.errors import ArtifactMissingError
from registry.keys import TrustedKeys
from registry.models import ensure_model
from registry.names import check_alias, check_model_id
from registry.records import VersionDraft
from registry.spool import ARTIFACT_BYTES_MAX, spooled
from registry.uploads import Uploads
from registry.versions import add_version, get_version, same_bytes, same_bytes_elsewhere
from storage.leases import shared_now_us
from storage.revision import current_revision
from trainer.records.claims import note_version, published_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from sqlalchemy import Connection

    from gateway.control.publication import FeatureSets, FeatureSetShape
    from gateway.control.trial import Trial
    from registry.artifacts import ArtifactStore
    from registry.deployment import Deployment
    from registry.records import Signature
    from storage.clock import Clock
    from storage.database import Database


def _always() -> bool:
    return True


class Publisher:
    """Publishes versions.

    Parameters
    ----------
    database, artifacts, clock
        Where versions and their bytes are kept, and the time they are dated by.
    trial
        What tries the file.
    feature_sets
        Knows the feature sets that versions bind to.
    scratch
        A folder of its own for what is being received, on a disk with room for it.
    artifact_bytes_max
        The longest file that is taken.
    keys
        Whose signatures are taken, and whether there must be one.
    check_unchanged
        Raises, with the difference, unless a digest is that of a feature set's current definition.

    Attributes
    ----------
    uploads
        What is being received, and what broke off and may go on.
    """

    __slots__ = (
        "_artifact_bytes_max",
        "_artifacts",
        "_check_unchanged",
        "_clock",
        "_database",
        "_feature_sets",
        "_keys",
        "_scratch",
        "_trial",
        "uploads",
    )

    def __init__(
        self,
        *,
        database: Database,
        artifacts: ArtifactStore,
        clock: Clock,
        trial: Trial,
        feature_sets: FeatureSets,
        scratch: Path,
        artifact_bytes_max: int = ARTIFACT_BYTES_MAX,
        keys: TrustedKeys | None = None,
        check_unchanged: Callable[[Connection, str, str], None] | None = None,
    ) -> None:
        self._database = database
        self._check_unchanged = check_unchanged
        self._artifacts = artifacts
        self._clock = clock
        self._trial = trial
        self._feature_sets = feature_sets
        self._scratch = scratch
        self._artifact_bytes_max = artifact_bytes_max
        self._keys = keys or TrustedKeys()
        self.uploads = Uploads(scratch)

    def publish(
        self, publication: Publication, chunks: Iterable[bytes], *, actor: str, wanted: Callable[[], bool] = _always
    ) -> Published:
        """Receive the bytes, check them, keep them and return the new version, or raise and keep nothing.

        Parameters
        ----------
        publication, chunks
            What is published, and the bytes of its file.
        actor
            Who publishes.
        wanted
            Whether the caller still waits; asked before the version is added, so that nobody finds one that he gave up.

        Raises
        ------
        ArtifactDigestError, ArtifactTooLargeError, StoreFullError
            The bytes are others than announced, too many, or find no room.
        DomainError
            What `Trial.signature` raises for a file that is refused.
        FeatureInputError
            The graph has not exactly one input that the feature set could fill.
        FiniteInputError
            An input that should take finite numbers only is no floating-point input.
        SetChangedError
            The feature set is not any more what the version was trained on.
        MissingError
            There is no such feature set, or a parent is no version of the model.
        SignatureMissingError, SignatureInvalidError
            No trusted key signed the manifest.
        DeadlineSpentError
            The caller no longer waits.
        LeaseLostError, RunStateError
            The training run that it is of is another trainer's, or another model's.
        """
        check_model_id(publication.model)
        if publication.run is not None:
            with self._database.write() as tx:
                present = self._made_before(tx, publication)
            if present is not None:
                return present
        if publication.alias:
            check_alias(publication.alias)
        if publication.facts.feature_set:
            with self._database.read() as tx:  # a set that is missing, or another one, is said before the upload
                self._shape_of(publication, tx)
        probe = b"" if publication.probe is None else publication.probe.checked().encode()
        signer = self._keys.signer_of(publication.manifest(), publication.signature)
        draft = replace(
            self._receive(publication, chunks, probe, wanted),
            signed_by=signer,
            manifest_signature=publication.signature.hex(),
        )
        return self._add(publication, draft, actor=actor)

    def _deployment(self, model: str) -> Deployment:
        """Return the settings that the model's next version will be run under."""
        with self._database.read() as tx:
            return deployments_of(tx, model, (OF_MODEL,))[OF_MODEL]

    def _receive(
        self, publication: Publication, chunks: Iterable[bytes], probe: bytes, wanted: Callable[[], bool]
    ) -> VersionDraft:
        """Return the draft of a version whose bytes were tried and are kept."""
        sha256, probe_sha256 = publication.artifact_sha256, hashlib.sha256(probe).hexdigest() if probe else ""
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(
                self.uploads.receiving(
                    chunks, expected_sha256=sha256, offset=publication.offset, bytes_max=self._artifact_bytes_max
                )
            )
            probe_file = None
            if probe:
                probe_file = stack.enter_context(spooled([probe], folder=self._scratch, expected_sha256=probe_sha256))
            signature = self._trial.signature(file, probe_file, self._deployment(publication.model))
            signature = signature.with_finite(publication.finite_inputs)
            with self._database.read() as tx:  # what cannot be bound is refused before anything is kept
                self._bind(publication, signature, tx)
            if not wanted():
                raise DeadlineSpentError("the caller gave up before the publication was checked; nothing was kept")
            length = self._artifacts.put(chunks_of(file), expected_sha256=sha256, bytes_max=self._artifact_bytes_max)
            if probe:
                self._artifacts.put([probe], expected_sha256=probe_sha256)
        return VersionDraft(
            model=publication.model,
            artifact_sha256=sha256,
            artifact_bytes=length,
            signature=signature,
            facts=publication.facts,
            probe_sha256=probe_sha256,
            probe_rows=0 if publication.probe is None else publication.probe.rows,
        )

    def _add(self, publication: Publication, draft: VersionDraft, *, actor: str) -> Published:
        """Give the draft its number and its alias in one transaction."""
        with self._database.write() as tx:
            now_us = shared_now_us(tx, self._clock)
            digest, feature_input = self._bind(publication, draft.signature, tx)
            draft = replace(draft, feature_set_digest=digest, feature_input=feature_input)
            for sha256 in filter(None, (draft.artifact_sha256, draft.probe_sha256)):
                if not self._artifacts.holds(sha256):  # bytes that nobody needed until now, collected in this moment
                    raise ArtifactMissingError(f"the artifact {sha256} is gone from the store: publish again")
            present = self._made_before(tx, publication)
            if present is not None:
                return present
            ensure_model(tx, draft.model, actor=actor, now_us=now_us)
            version, revision = add_version(tx, draft, actor=actor, now_us=now_us)
            if publication.run is not None:
                note_version(tx, publication.run.policy, publication.run.number, version.number, now_us=now_us)
            if publication.alias:
                move = set_alias(
                    tx,
                    version.model,
                    version.number,
                    alias=publication.alias,
                    reason="set at publication",
                    support=Support(
                        probe_passed=True if publication.probe is not None else None,
                        probe_sentence="its probe rows were replayed at publication",
                        views=views_of(tx, version),
                    ),
                    actor=actor,
                    now_us=now_us,
                )
                revision = move.revision
                version = get_version(tx, version.model, version.number)  # its stage may have moved
            return Published(
                version,
                revision,
                same_bytes_as=tuple(same_bytes(tx, version)),
                same_bytes_elsewhere=tuple(same_bytes_elsewhere(tx, version)),
            )

    def _made_before(self, tx: Connection, publication: Publication) -> Published | None:
        """Return what a run has published already, or raise LeaseLostError when it is no longer its trainer's."""
        run = publication.run
        number = 0 if run is None else published_by(tx, run.policy, run.number, run.token, model=publication.model)
        if not number:
            return None
        version = get_version(tx, publication.model, number)
        return Published(version, current_revision(tx), same_bytes_as=tuple(same_bytes(tx, version)))

    def _shape_of(self, publication: Publication, tx: Connection) -> FeatureSetShape:
        """Return what the version binds to, or raise what says that there is none, or not the one it was trained on."""
        shape = self._feature_sets(publication.facts.feature_set, tx, publication.trained_on_digest)
        if publication.trained_on_digest and self._check_unchanged is not None:
            self._check_unchanged(tx, publication.facts.feature_set, publication.trained_on_digest)
        return shape

    def _bind(self, publication: Publication, signature: Signature, tx: Connection) -> tuple[str, str]:
        """Return the digest of the feature set and the input that it fills; empty for no feature set."""
        set_id = publication.facts.feature_set
        if not set_id:
            return "", ""
        shape = self._shape_of(publication, tx)
        return shape.digest, feature_input(set_id, shape.feature_count, signature)
