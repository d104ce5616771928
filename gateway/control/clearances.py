"""What is known of a version beyond the registry, gathered for the gates before it becomes the champion."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from experiments.definition import State
from experiments.records import list_page
from features.records import get_set
from registry.clearance import Support
from registry.deployments import deployments_of
from registry.errors import ArtifactCorruptError, ArtifactMissingError
from registry.models import get_model
from registry.versions import get_version
from storage.errors import DomainError, InvalidError
from trainer.records.runs import judgement_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection

    from experiments.definition import Experiment
    from gateway.control.reducing.pairs import Shadowed
    from gateway.control.trial import Trial
    from registry.artifacts import ArtifactStore
    from registry.deployment import Deployment
    from registry.records import Version
    from storage.database import Database

_PAGE_MAX = 500


class Clearances:
    """Gathers what the gates of a promotion look at.

    It is done before the transaction that promotes: replaying probe rows and counting units take too long to hold the
    database meanwhile. What the registry itself knows is looked at inside.

    Parameters
    ----------
    database, artifacts, trial
        Where versions are kept, their bytes, and what replays probe rows.
    units_of
        How many units an experiment has analysed of a variant.
    shadowed
        What a version made, as a shadow, of the calls of its model.
    skew_of
        How many calls were replayed for skew with the features of a version, and what was wrong with them.
    """

    def __init__(
        self,
        *,
        database: Database,
        artifacts: ArtifactStore,
        trial: Trial,
        units_of: Callable[[Experiment, str], int],
        shadowed: Callable[[str, int], Shadowed],
        skew_of: Callable[[str, int], tuple[int, Sequence[str]]],
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._trial = trial
        self._units_of = units_of
        self._shadowed = shadowed
        self._skew_of = skew_of

    def gather(self, model: str, number: int, *, override_reason: str = "") -> Support:
        """Return what is known of a version that is to become the champion; raises as `get_version` does."""
        with self._database.read() as tx:
            version = get_version(tx, model, number)
            gates = get_model(tx, model).gates
            kinds = {str(gate["kind"]) for gate in gates}
            views = views_of(tx, version)
            fought = fought_in(tx, version) if "trial" in kinds else []
            evaluation = judgement_of(tx, model, number) if "evaluation" in kinds else None
            deployment = deployments_of(tx, model, (number,))[number]
        trials = [self._trial_of(experiment, variant) for experiment, variant in fought]
        if any(gate["kind"] == "trial" and gate.get("of") == "shadow" for gate in gates):
            trials += self._shadow_of(model, number)
        support = Support(
            views=views,
            trials=trials,
            evaluation=evaluation,
            override_reason=override_reason,
        )
        if "skew" in kinds and version.feature_set:
            support = replace(support, skew=self._skew_of(model, number))
        if "probe" not in kinds or not version.probe_sha256:
            return support
        passed, sentence = self._replayed(version, deployment)
        return replace(support, probe_passed=passed, probe_sentence=sentence)

    def _replayed(self, version: Version, deployment: Deployment) -> tuple[bool, str]:
        try:
            file, probe = (self._artifacts.verify(digest) for digest in (version.artifact_sha256, version.probe_sha256))
            self._trial.signature(file, probe, deployment)
        except (InvalidError, ArtifactMissingError, ArtifactCorruptError) as error:
            return False, error.message
        return True, f"its {version.probe_rows} probe rows give what they should on this runtime"

    def _trial_of(self, experiment: Experiment, variant: str) -> Mapping[str, object]:
        try:
            units = self._units_of(experiment, variant)
        except DomainError:  # its events are not there to be counted: then it has looked at nobody
            units = 0
        decision = "ship" if experiment.winner == variant else "keep" if experiment.winner else "open"
        return {"kind": "experiment", "name": experiment.id, "units": units, "decision": decision}

    def _shadow_of(self, model: str, number: int) -> list[Mapping[str, object]]:
        try:
            seen = self._shadowed(model, number)
        except DomainError:  # the events are not there to be counted: then it has seen no call
            return []
        if not seen.calls:
            return []
        return [{"kind": "shadow", "name": f"models/{model}/shadow", **asdict(seen)}]


def views_of(tx: Connection, version: Version) -> Sequence[str]:
    """Return the names of the feature views that the version's feature set reads."""
    if not version.feature_set:
        return ()
    return [name for name, _ in get_set(tx, version.feature_set, version.feature_set_digest).view_digests]


def fought_in(tx: Connection, version: Version) -> list[tuple[Experiment, str]]:
    """Return the experiments that the version is or was a treatment of, with its variant's name."""
    return [
        (experiment, variant)
        for experiment, variant, control in arms_of(tx, version)
        if not control and experiment.state is not State.DRAFT
    ]


def arms_of(tx: Connection, version: Version) -> list[tuple[Experiment, str, bool]]:
    """Return the experiments that the version is an arm of, with its variant's name and whether it is the control."""
    found = []
    after = ""
    while page := list_page(tx, after=after, limit_max=_PAGE_MAX):
        after = page[-1].id
        found += [
            (experiment, variant.variant, variant.control)
            for experiment in page
            if experiment.model == version.model
            for variant in experiment.variants
            if variant.version == version.number
        ]
    return found
