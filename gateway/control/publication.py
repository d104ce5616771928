"""What is published, what comes of it, and the feature set that it may bind to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from registry.errors import FeatureInputError
from registry.manifest import digest_of_probe, manifest

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from registry.probe import Probe
    from registry.records import Signature, Version, VersionFacts


@dataclass(frozen=True, slots=True)
class FeatureSetShape:
    """What a version binds to of a feature set: how many features, and the digest of its present definition."""

    feature_count: int
    digest: str


class FeatureSets(Protocol):
    """Knows the feature sets."""

    def __call__(self, set_id: str, tx: Connection, trained_on_digest: str) -> FeatureSetShape:
        """Return the shape of the feature set as this transaction sees it, or raise a MissingError.

        A version may be trained on the set without its transforms, since its graph computes them: it binds to that.
        """
        ...


@dataclass(frozen=True, slots=True)
class RunClaim:
    """A training run as whoever works on it names it: its policy, its number, and the fencing token of the claim."""

    policy: str
    number: int
    token: int


@dataclass(frozen=True, slots=True)
class Publication:
    """What is published, before its bytes.

    Parameters
    ----------
    artifact_sha256
        What the bytes that follow must have.
    probe
        Rows with known outputs; None when there are none.
    alias
        An alias to set to the new version; empty: none.
    finite_inputs
        The inputs that take finite numbers only.
    offset
        How many bytes of the file are here already, from an upload that broke off.
    signature
        The signature of the manifest; empty when there is none.
    trained_on_digest
        The definition of the feature set that the training table was made of; empty: it is not compared.
    run
        The training run that makes it, and the fencing token of its claim; None: nobody's run.
    """

    model: str
    artifact_sha256: str
    facts: VersionFacts
    probe: Probe | None = None
    alias: str = ""
    finite_inputs: tuple[str, ...] = ()
    offset: int = 0
    signature: bytes = b""
    trained_on_digest: str = ""
    run: RunClaim | None = None

    def manifest(self) -> bytes:
        """Return the manifest of the version that it makes."""
        return manifest(
            model=self.model,
            artifact_sha256=self.artifact_sha256,
            facts=self.facts,
            finite_inputs=self.finite_inputs,
            probe_digest=digest_of_probe(self.probe),
        )


@dataclass(frozen=True, slots=True)
class Published:
    """A version as it stands, the revision that holds it, and which versions have the very same bytes.

    Attributes
    ----------
    same_bytes_as
        The earlier versions of the model.
    same_bytes_elsewhere
        The versions of other models: (model, number).
    """

    version: Version
    revision: int
    same_bytes_as: tuple[int, ...]
    same_bytes_elsewhere: tuple[tuple[str, int], ...] = ()


def feature_input(set_id: str, feature_count: int, signature: Signature) -> str:
    """Return the name of the one input that takes any number of rows of so many features, or raise FeatureInputError.

    It is a float32 or float64 matrix of the shape [any, feature_count].
    """
    fitting = [
        spec.name
        for spec in signature.inputs
        if spec.dtype in ("float32", "float64") and spec.shape == (-1, feature_count)
    ]
    if len(fitting) != 1:
        takes = ", ".join(f"{spec.name!r} {spec.dtype}{list(spec.shape)}" for spec in signature.inputs)
        raise FeatureInputError(
            f"the feature set {set_id!r} has {feature_count} features, so the graph needs exactly one float32 or "
            f"float64 input of the shape [-1, {feature_count}]; it takes {takes}",
            feature_set=set_id,
            feature_count=feature_count,
        )
    return fitting[0]
