"""The registry's values. Light to import: what serves predictions reads them too."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from registry.errors import FiniteInputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CHAMPION = "champion"


class Stage(enum.StrEnum):
    """Where a version stands in its life."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    # Holds the alias `champion`.
    PRODUCTION = "production"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a graph declares of one input or output.

    Parameters
    ----------
    name
        The name in the graph.
    dtype
        The name of the numpy dtype, such as `float32`; `string` for text.
    shape
        The declared extents; -1 where any extent is taken.
    finite
        Whether callers may give finite numbers only.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    finite: bool = False


@dataclass(frozen=True, slots=True)
class Signature:
    """What a graph takes and gives, in its own order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def with_finite(self, names: Sequence[str]) -> Signature:
        """Return the signature with these inputs marked as finite, or raise FiniteInputError."""
        fitting = [spec.name for spec in self.inputs if spec.dtype.startswith("float")]
        for name in names:
            if name not in fitting:
                raise FiniteInputError(
                    f"{name!r} is no floating-point input of the graph; those are {', '.join(fitting) or 'none'}",
                    input=name,
                )
        inputs = tuple(replace(spec, finite=True) if spec.name in names else spec for spec in self.inputs)
        return replace(self, inputs=inputs)


@dataclass(frozen=True, slots=True)
class Alias:
    """A movable name for one version of a model, and how often it has been set."""

    alias: str
    version: int
    generation: int


@dataclass(frozen=True, slots=True)
class Model:
    """A name under which versions are published.

    Parameters
    ----------
    latest_version
        The number of the newest version; 0 when there is none.
    aliases
        By name.
    """

    id: str
    description: str
    owner: str
    tags: Mapping[str, str]
    created_us: int
    created_by: str
    latest_version: int
    aliases: tuple[Alias, ...]


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What a publisher says of a version.

    Parameters
    ----------
    parents
        The versions of the same model that it was made from.
    feature_set
        The id of the feature set that fills an input; empty when callers send every input.
    parity
        The parity certificate; empty when there is none.
    """

    description: str = ""
    algorithm: str = ""
    framework: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    data_fingerprint: str = ""
    code_fingerprint: str = ""
    parents: tuple[int, ...] = ()
    feature_set: str = ""
    parity: Mapping[str, object] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class VersionDraft:
    """A version that has passed every check and has no number yet.

    Parameters
    ----------
    feature_set_digest
        The digest that the feature set had; empty when there is none.
    feature_input
        The graph's input that the feature set fills; empty when there is none.
    probe_sha256
        The artifact that holds the probe rows; empty when there are none.
    """

    model: str
    artifact_sha256: str
    artifact_bytes: int
    signature: Signature
    facts: VersionFacts
    feature_set_digest: str = ""
    feature_input: str = ""
    probe_sha256: str = ""
    probe_rows: int = 0


@dataclass(frozen=True, slots=True)
class Version:
    """An immutable publication of a model; only its stage moves."""

    model: str
    number: int
    artifact_sha256: str
    artifact_bytes: int
    signature: Signature
    facts: VersionFacts
    feature_set_digest: str
    feature_input: str
    probe_sha256: str
    probe_rows: int
    stage: Stage
    created_us: int
    created_by: str

    @property
    def feature_set(self) -> str:
        """The id of the feature set that fills an input; empty when there is none."""
        return self.facts.feature_set


@dataclass(frozen=True, slots=True)
class AliasMove:
    """One move of an alias.

    Parameters
    ----------
    generation
        The generation that it made.
    from_version
        The version that held the alias before; 0 when none did.
    rollback
        Whether it went back to an earlier champion.
    revision
        The revision of the metadata that holds it.
    """

    model: str
    alias: str
    generation: int
    from_version: int
    to_version: int
    time_us: int
    actor: str
    reason: str
    evidence: Mapping[str, object]
    rollback: bool
    revision: int

    @property
    def stands(self) -> Alias:
        """The alias as this move left it."""
        return Alias(self.alias, self.to_version, self.generation)
