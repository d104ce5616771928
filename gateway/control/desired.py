"""The desired set: everything that the data plane should serve, as one document.

The control plane alone reads the database. It writes the whole set into an immutable file for each revision, so that
workers need no database and survive its loss. Omitting a version means to let it go.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from experiments.assignment import assignment_document
from experiments.records import list_running
from experiments.shadows import list_page as list_shadows
from features.records import plan_document_for
from gateway.control.shadows import running_version
from registry.deployments import deployments_of
from registry.desired import DesiredModel, desired_versions
from registry.manifest import manifest_of
from storage.revision import current_revision

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sqlalchemy import Connection

    from experiments.definition import Experiment
    from registry.artifacts import ArtifactStore
    from registry.records import Version

KEPT_TABLES_MAX = 8
"""How many desired sets are kept; workers read the newest."""


def desired_document(tx: Connection, artifacts: ArtifactStore, *, previous_max: int) -> dict[str, Any]:
    """Return the desired set as the database says it is, at one revision, with so many champions before the present."""
    running = _running(tx)
    shadows = _shadows(tx)
    models = _desired_models(tx, running, shadows, previous_max)
    return {
        "revision": current_revision(tx),
        "models": {
            desired.model: _model(desired, running[desired.model], shadows.get(desired.model)) for desired in models
        },
        "versions": {desired.model: _versions(tx, desired, artifacts) for desired in models},
    }


def bound_sets(tx: Connection, *, previous_max: int) -> set[tuple[str, str]]:
    """Return the feature sets, with their digests, that versions of the desired set are bound to."""
    return {
        (version.feature_set, version.feature_set_digest)
        for desired in _desired_models(tx, _running(tx), _shadows(tx), previous_max)
        for version in desired.versions
        if version.feature_set
    }


def _running(tx: Connection) -> defaultdict[str, list[Experiment]]:
    """Return the experiments that assign units, by model."""
    running: defaultdict[str, list[Experiment]] = defaultdict(list)
    for experiment in list_running(tx):
        running[experiment.model].append(experiment)
    return running


def _shadows(tx: Connection) -> dict[str, dict[str, Any]]:
    """Return what runs in the shadow, by model."""
    return {
        shadow.model: {"version": version, "places": shadow.places, "share": shadow.share}
        for shadow in list_shadows(tx)
        if (version := running_version(tx, shadow))
    }


def _desired_models(
    tx: Connection,
    running: Mapping[str, list[Experiment]],
    shadows: Mapping[str, dict[str, Any]],
    previous_max: int,
) -> list[DesiredModel]:
    pinned: defaultdict[str, set[int]] = defaultdict(set)
    for model, found in running.items():
        pinned[model] |= {variant.version for experiment in found for variant in experiment.variants}
    for model, shadow in shadows.items():
        pinned[model].add(shadow["version"])
    return desired_versions(tx, pinned=pinned, previous_max=previous_max)


def _model(desired: DesiredModel, experiments: list[Experiment], shadow: dict[str, Any] | None) -> dict[str, Any]:
    """Return a model's part: who answers, and what is resident, the most urgent first."""
    arms = [variant.version for experiment in experiments for variant in experiment.variants]
    order = [desired.champion, *arms, *desired.aliases.values(), *desired.previous_champions]
    if shadow is not None:
        order.append(shadow["version"])
    there = {version.number for version in desired.versions}
    resident = list(dict.fromkeys(number for number in order if number is not None and number in there))
    return {
        "champion": desired.champion or 0,
        "previous": next(iter(desired.previous_champions), 0),
        "aliases": dict(desired.aliases),
        "resident": resident,
        "assignments": [assignment_document(experiment) for experiment in experiments],
        "shadow": shadow,
    }


def _versions(tx: Connection, desired: DesiredModel, artifacts: ArtifactStore) -> dict[str, Any]:
    deployments = deployments_of(tx, desired.model, [version.number for version in desired.versions])
    return {
        str(version.number): {
            **_version(tx, version, artifacts),
            "session": deployments[version.number].to_document(),
        }
        for version in desired.versions
    }


def _version(tx: Connection, version: Version, artifacts: ArtifactStore) -> dict[str, Any]:
    bound = version.feature_set
    return {
        "digest": version.artifact_sha256,
        # Whether they are there is the worker's to find out: one that is gone may come back before the next try.
        "path": str(artifacts.place(version.artifact_sha256)),
        "bytes": version.artifact_bytes,
        "probe_sha256": version.probe_sha256,
        "probe_path": str(artifacts.place(version.probe_sha256)) if version.probe_sha256 else None,
        "signature": version.manifest_signature,
        # The worker puts in what it loads: the model, the artifact and the probe rows.
        "manifest": manifest_of(version, "").decode() if version.manifest_signature else "",
        "feature_set": f"{bound}@{version.feature_set_digest}" if bound else "",
        "feature_input": version.feature_input,
        "finite": [spec.name for spec in version.signature.inputs if spec.finite],
        "plan": plan_document_for(tx, bound, version.feature_set_digest) if bound else None,
    }


def table_path(folder: Path, revision: int) -> Path:
    """Return where the desired set of a revision is kept."""
    return folder / f"table-{revision:012d}.json"


def newest_table(folder: Path) -> tuple[int, Path | None]:
    """Return the newest desired set that is kept, with its revision; -1 and None when there is none."""
    path = max(folder.glob("table-*.json"), default=None)
    return (-1, None) if path is None else (int(path.stem.partition("-")[2]), path)


def write_table(folder: Path, document: dict[str, Any]) -> Path:
    """Write a desired set under its revision, whole or not at all, and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = table_path(folder, document["revision"])
    aside = path.with_suffix(".tmp")
    with aside.open("w") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(path)
    for old in sorted(folder.glob("table-*.json"))[:-KEPT_TABLES_MAX]:
        old.unlink(missing_ok=True)
    return path
