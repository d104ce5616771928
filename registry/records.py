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
    expires_us: int = 0
    """When it ends by itself, in microseconds since the Unix epoch; 0: never."""


@dataclass(frozen=True, slots=True)
class Model:
    """A name under which versions are published.

    Parameters
    ----------
    latest_version
        The number of the newest version; 0 when there is none.
    aliases
        By name.
    properties
        What programs keep with the model, by name.
    gates
        What a version must pass before it becomes the champion, as documents of `registry.gates`.
    etag
        Another one after each update.
    deleted_us
        When it was deleted; 0 while it is not.
    """

    id: str
    description: str
    owner: str
    tags: Mapping[str, str]
    created_us: int
    created_by: str
    latest_version: int
    aliases: tuple[Alias, ...]
    properties: Mapping[str, str] = field(default_factory=dict)
    gates: tuple[Mapping[str, object], ...] = ()
    etag: str = ""
    deleted_us: int = 0


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """What a publisher says of a version.

    Parameters
    ----------
    description, tags
        What they are at first; the version's own may change.
    dataset
        What it was trained on, in the publisher's words or as an address.
    parents
        The versions of the same model that it was made from.
    parents_elsewhere
        The versions of other models that it was made from: (model, number).
    metric_directions
        `increase` or `decrease`, whichever is better, for the metrics of which that was declared.
    feature_set
        The id of the feature set that fills an input; empty when callers send every input.
    parity
        The parity certificate; empty when there is none.
    profile
        What the training table looked like, a document of `features.profile`; empty when there is none.
    importance
        How much each feature matters; empty when that was not measured.
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
    dataset: str = ""
    parents_elsewhere: tuple[tuple[str, int], ...] = ()
    metric_directions: Mapping[str, str] = field(default_factory=dict)
    profile: Mapping[str, object] = field(default_factory=dict)
    importance: Mapping[str, object] = field(default_factory=dict)


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
    signed_by: str = ""
    manifest_signature: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """An immutable publication of a model.

    Its substance never changes. What may: where it stands, and what people write about it.

    Parameters
    ----------
    deprecated
        Why nobody should use it any more; empty while one may.
    signed_by, manifest_signature
        The name of the key that signed its manifest, and the signature in hexadecimal; empty when nobody did.
    etag
        Another one after each update.
    deleted_us
        When it was deleted; 0 while it is not.
    """

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
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    deprecated: str = ""
    signed_by: str = ""
    etag: str = ""
    deleted_us: int = 0
    manifest_signature: str = ""

    @property
    def parents(self) -> tuple[tuple[str, int], ...]:
        """The versions that it was made from: (model, number)."""
        return (*((self.model, number) for number in self.facts.parents), *self.facts.parents_elsewhere)

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
    removed
        Whether the alias names nothing since; `to_version` is then the version that lost it.
    expires_us
        When the alias ends by itself; 0: never.
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
    removed: bool = False
    expires_us: int = 0

    @property
    def stands(self) -> Alias:
        """The alias as this move left it."""
        return Alias(self.alias, self.to_version, self.generation, self.expires_us)
