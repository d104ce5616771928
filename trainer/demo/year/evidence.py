"""What triggers said over the year: numbers out of the evidence of checks, as points over replayed time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from turnout import plain
from turnout.trainer.v1 import policy_pb2, run_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_VALUE = {"performance": "value", "estimated_performance": "estimate"}
"""What triggers call the number that they judge."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric as a check found it.

    Attributes
    ----------
    time_us
        When the check was made, by the gateway's clock.
    value, low, high, threshold
        The metric with its interval, and past what it is too bad.
    fires
        Whether the trigger fired.
    """

    time_us: int
    value: float
    low: float
    high: float
    threshold: float
    fires: bool


@dataclass(frozen=True, slots=True)
class Moved:
    """How far a column had moved from the training table at a check.

    Attributes
    ----------
    time_us
        When the check was made, by the gateway's clock.
    effect, floor
        How far, and from where on it counts.
    flagged
        Whether it counted: significant, too.
    """

    time_us: int
    effect: float
    floor: float
    flagged: bool


def kind_of(evidence: run_pb2.TriggerEvidence) -> str:
    """Return what a trigger looked at, for example `drift`."""
    return plain.short_name(policy_pb2.TriggerKind.DESCRIPTOR, evidence.kind)


def verdict_of(evidence: run_pb2.TriggerEvidence) -> str:
    """Return what a trigger said: FIRE, QUIET or INSUFFICIENT."""
    return run_pb2.TriggerVerdict.Name(evidence.verdict).removeprefix("TRIGGER_VERDICT_")


def measured(checks: Iterable[run_pb2.Check], kind: str) -> list[Measured]:
    """Return what the triggers of a kind measured."""
    points = []
    for check, evidence, said in _of(checks, kind):
        numbers = said["numbers"]
        value, low, high, threshold = (numbers.get(name) for name in (_VALUE[kind], "low", "high", "threshold"))
        if value is not None and low is not None and high is not None:
            fires = evidence.verdict == run_pb2.TRIGGER_VERDICT_FIRE
            points.append(Measured(check.create_time_us, value, low, high, threshold, fires=fires))
    return points


def moved(checks: Iterable[run_pb2.Check], column: str) -> list[Moved]:
    """Return how far the triggers of drift found a column to have moved."""
    points = []
    for check, _, said in _of(checks, "drift"):
        for finding in said["findings"]:
            if finding["subject"] == column:
                numbers = finding["numbers"]
                points.append(Moved(check.create_time_us, numbers["effect"], numbers["floor"], finding["flagged"]))
    return points


def most_flagged(checks: Iterable[run_pb2.Check], count: int) -> list[str]:
    """Return the columns that drift flagged most often, the first first."""
    times: dict[str, int] = {}
    for _, _, said in _of(checks, "drift"):
        for finding in said["findings"]:
            times[finding["subject"]] = times.get(finding["subject"], 0) + bool(finding["flagged"])
    flagged = sorted((name for name, number in times.items() if number), key=lambda name: (-times[name], name))
    return flagged[:count]


def _of(
    checks: Iterable[run_pb2.Check], kind: str
) -> Iterator[tuple[run_pb2.Check, run_pb2.TriggerEvidence, dict[str, Any]]]:
    for check in checks:
        for evidence in check.evidence:
            if kind_of(evidence) == kind:
                yield check, evidence, json.loads(evidence.evidence_json or '{"numbers": {}, "findings": []}')
