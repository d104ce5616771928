"""Comparisons of versions, with their predictions where asked for."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from registry.compare import compare_versions, feature_changes, other_inputs
from registry.spool import spooled
from registry.versions import get_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from gateway.control.trial import Trial
    from registry.artifacts import ArtifactStore
    from registry.compare import Comparison, FeatureChanges
    from registry.probe import Probe
    from registry.records import Version
    from storage.database import Database

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Compared:
    """In what two versions differ; `reason` says why their predictions were not compared, where they were to be."""

    facts: Comparison
    features: FeatureChanges
    predictions: Sequence[dict[str, Any]]
    reason: str


class FeaturesOf(Protocol):
    """Knows the definitions of feature sets."""

    def __call__(self, tx: Connection, set_id: str, digest: str) -> Mapping[str, str]:
        """Return the features of that definition in order, each with the digest of what makes it."""
        ...


class Comparing:
    """Compares versions.

    Parameters
    ----------
    database, artifacts
        Where versions and their bytes are kept.
    trial
        What runs graphs, away from the control plane.
    scratch
        A folder for the rows of callers.
    features_of
        Knows the feature sets that versions are bound to.
    """

    def __init__(
        self,
        *,
        database: Database,
        artifacts: ArtifactStore,
        trial: Trial,
        scratch: Path,
        features_of: FeaturesOf,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._trial = trial
        self._scratch = scratch
        self._features_of = features_of

    def compare(self, before: Key, after: Key, *, predictions: bool, rows: Probe | None = None) -> Compared:
        """Return in what the second version differs from the first.

        Parameters
        ----------
        predictions
            Whether both are run on the probe rows that either has, and on `rows`.

        Raises
        ------
        VersionMissingError
            There is no such version.
        ArtifactMissingError, ArtifactCorruptError
            Their bytes are not as they were published.
        """
        with self._database.read() as tx:
            first, second = get_version(tx, *before), get_version(tx, *after)
            features = feature_changes(self._features(tx, first), self._features(tx, second))
        facts = compare_versions(first, second)
        if not predictions:
            return Compared(facts, features, (), "")
        return Compared(facts, features, *self._predictions(first, second, rows))

    def _features(self, tx: Connection, version: Version) -> Mapping[str, str]:
        if not version.feature_set:
            return {}
        return self._features_of(tx, version.feature_set, version.feature_set_digest)

    def _predictions(self, first: Version, second: Version, rows: Probe | None) -> tuple[list[dict[str, Any]], str]:
        if reason := other_inputs(first.signature, second.signature):
            return [], reason
        with contextlib.ExitStack() as stack:
            files = [
                self._artifacts.verify(each)
                for each in dict.fromkeys((first.probe_sha256, second.probe_sha256))
                if each
            ]
            if rows is not None:
                data = rows.encode()
                digest = hashlib.sha256(data).hexdigest()
                files.append(stack.enter_context(spooled([data], folder=self._scratch, expected_sha256=digest)))
            if not files:
                return [], "neither has probe rows, and no rows were given"
            graph, other = (self._artifacts.verify(version.artifact_sha256) for version in (first, second))
            return self._trial.difference(graph, other, files)
