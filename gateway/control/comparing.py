"""Comparisons of versions, with their predictions where asked for."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from registry.compare import compare_versions
from registry.spool import spooled
from registry.versions import get_version

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.control.trial import Trial
    from registry.artifacts import ArtifactStore
    from registry.compare import Comparison
    from registry.probe import Probe
    from registry.records import Version
    from storage.database import Database

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Compared:
    """In what two versions differ; `reason` says why their predictions were not compared, where they were to be."""

    facts: Comparison
    predictions: Sequence[dict[str, Any]]
    reason: str


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
    """

    def __init__(self, *, database: Database, artifacts: ArtifactStore, trial: Trial, scratch: Path) -> None:
        self._database = database
        self._artifacts = artifacts
        self._trial = trial
        self._scratch = scratch

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
        facts = compare_versions(first, second)
        if not predictions:
            return Compared(facts, (), "")
        return Compared(facts, *self._predictions(first, second, rows))

    def _predictions(self, first: Version, second: Version, rows: Probe | None) -> tuple[list[dict[str, Any]], str]:
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
