"""The version that serves, as a candidate's opponent: what it takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from turnout import resources
from turnout.errors import MissingError
from turnout.registry.v1 import registry_service_pb2 as registry_pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turnout.control import Control

CHAMPION = "champion"


@dataclass(frozen=True, slots=True)
class Champion:
    """The version that serves.

    Attributes
    ----------
    feature_set, feature_names
        The set's id, and its features in order; empty where callers send every input.
    run
        The run that made it; empty when no run did.
    generation
        Of the alias: what a promotion compares.
    """

    version: int
    feature_set: str
    published_us: int
    metrics: dict[str, float]
    run: str
    trained_on: str
    generation: int
    feature_names: tuple[str, ...] = ()

    def with_features(self, names: Sequence[str]) -> Champion:
        """Return it with the names of its features."""
        return replace(self, feature_names=tuple(names))

    def document(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return asdict(self)


def find_champion(control: Control, model: str) -> Champion | None:
    """Return the version that serves; None where there is none, or no such model."""
    try:
        found = control.registry.GetModel(registry_pb.GetModelRequest(name=resources.model_name(model))).model
    except MissingError:
        return None
    alias = next((each for each in found.aliases if each.alias == CHAMPION), None)
    if alias is None:
        return None
    name = resources.version_name(model, alias.version)
    version = control.registry.GetVersion(registry_pb.GetVersionRequest(name=name)).version
    return Champion(
        version=alias.version,
        feature_set=resources.set_id(version.facts.feature_set) if version.facts.feature_set else "",
        published_us=version.create_time_us,
        metrics=dict(version.facts.metrics),
        run=dict(version.facts.tags).get("run", ""),
        trained_on=version.feature_set_digest,
        generation=alias.generation,
    )
