"""In what two versions differ, from what the registry knows of them; nothing is guessed from a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.fingerprints import code_of, data_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from registry.records import Signature, TensorSpec, Version


@dataclass(frozen=True, slots=True)
class ValueChange:
    """A value that differs; None where a side has none."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A metric of two versions.

    Parameters
    ----------
    change, percent
        The difference, and that in percent of the absolute first; None where there is none to give.
    direction
        `increase` or `decrease`, whichever is better, as declared by either; empty when nobody did, or they disagree.
    better
        Whether the second is better; None unless that is known and they differ.
    """

    name: str
    before: float | None
    after: float | None
    change: float | None
    percent: float | None
    direction: str
    better: bool | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """In what two versions differ."""

    same_artifact: bool
    parameters: tuple[ValueChange, ...]
    metrics: tuple[MetricChange, ...]
    signature: tuple[ValueChange, ...]
    facts: tuple[ValueChange, ...]
    data_changed: bool | None
    code_changed: bool | None
    time_between_us: int


def compare_versions(before: Version, after: Version) -> Comparison:
    """Return in what the second version differs from the first; they may be of two models."""
    first, second = before.facts, after.facts
    return Comparison(
        same_artifact=before.artifact_sha256 == after.artifact_sha256,
        parameters=_changes(first.parameters, second.parameters),
        metrics=tuple(_metric(name, before, after) for name in sorted({*first.metrics, *second.metrics})),
        signature=_changes(_ports(before.signature), _ports(after.signature)),
        facts=_changes(_told(before), _told(after)),
        data_changed=_differ(data_of(first.data_fingerprint), data_of(second.data_fingerprint)),
        code_changed=_differ(code_of(first.code_fingerprint), code_of(second.code_fingerprint)),
        time_between_us=after.created_us - before.created_us,
    )


@dataclass(frozen=True, slots=True)
class FeatureChanges:
    """The features that one version reads and the other does not, and those that both read but are made otherwise."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def feature_changes(before: Mapping[str, str], after: Mapping[str, str]) -> FeatureChanges:
    """Return in what two versions' features differ: each feature with the digest of what makes it."""
    return FeatureChanges(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(name for name in after if before.get(name, after[name]) != after[name]),
    )


def other_inputs(before: Signature, after: Signature) -> str:
    """Return the sentence that says why no row fits both, empty when one may."""
    first, second = ({spec.name: spec for spec in signature.inputs} for signature in (before, after))
    for name in sorted({*first, *second}):
        one, other = first.get(name), second.get(name)
        if one is None or other is None or not _fit(one, other):
            takes = " against ".join(
                "none" if each is None else f"{each.dtype}{list(each.shape)}" for each in (one, other)
            )
            return f"they take other inputs: {name!r} is {takes}"
    return ""


def _port(spec: TensorSpec | None) -> str:
    return "none" if spec is None else f"{spec.dtype}{list(spec.shape)}"


def _fit(one: TensorSpec, other: TensorSpec) -> bool:
    if one.dtype != other.dtype or len(one.shape) != len(other.shape):
        return False
    return all(size == wanted or min(size, wanted) < 0 for size, wanted in zip(one.shape, other.shape, strict=True))


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[ValueChange, ...]:
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return tuple(ValueChange(name, before.get(name), after.get(name)) for name in names)


def _metric(name: str, before: Version, after: Version) -> MetricChange:
    first, second = before.facts.metrics.get(name), after.facts.metrics.get(name)
    change = None if first is None or second is None else second - first
    percent = None if change is None or not first else 100 * change / abs(first)
    declared = {version.facts.metric_directions.get(name, "") for version in (before, after)} - {""}
    direction = declared.pop() if len(declared) == 1 else ""
    better = None
    if change and direction:
        better = (change > 0) == (direction == "increase")
    return MetricChange(name, first, second, change, percent, direction, better)


def _ports(signature: Signature) -> dict[str, str]:
    sides = (("input", signature.inputs), ("output", signature.outputs))
    return {f"{side} {spec.name}": _port(spec) for side, specs in sides for spec in specs}


def _told(version: Version) -> dict[str, str]:
    facts = version.facts
    told = {
        "algorithm": facts.algorithm,
        "framework": facts.framework,
        "dataset": facts.dataset,
        "feature set": f"{version.feature_set}@{version.feature_set_digest}" if version.feature_set else "",
    }
    return {name: value for name, value in told.items() if value}


def _differ(first: str, second: str) -> bool | None:
    return first != second if first and second else None
