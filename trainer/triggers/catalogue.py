"""The triggers by kind, and what each may be told."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from trainer.triggers.change_point import ChangePoint
from trainer.triggers.drift import Drift
from trainer.triggers.estimated import EstimatedPerformance
from trainer.triggers.joint import JointDrift
from trainer.triggers.missing import Missing
from trainer.triggers.performance import Performance
from trainer.triggers.plain import Age, Definition, Manual, Skew, Volume

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.triggers.verdict import Trigger

KINDS: dict[str, type[Any]] = {
    "performance": Performance,
    "estimated_performance": EstimatedPerformance,
    "drift": Drift,
    "joint_drift": JointDrift,
    "skew": Skew,
    "missing": Missing,
    "volume": Volume,
    "time": Age,
    "definition": Definition,
    "change_point": ChangePoint,
    "manual": Manual,
}
OF_THE_GATHERER = frozenset({"window_us"})
"""Settings that say what is gathered for a trigger, and that it does not see itself."""


def trigger_of(kind: str, settings: Mapping[str, Any]) -> Trigger:
    """Return the trigger of a kind with these settings, or raise ValueError for what it does not know."""
    if kind not in KINDS:
        raise ValueError(f"there is no trigger {kind!r}; there are {', '.join(KINDS)}")
    known = {each.name for each in fields(KINDS[kind])}
    given = {name: value for name, value in settings.items() if name not in OF_THE_GATHERER}
    if unknown := sorted(given.keys() - known):
        raise ValueError(f"{kind} knows no {', '.join(unknown)}; it knows {', '.join(sorted(known))}")
    made: Trigger = KINDS[kind](
        **{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    )
    return made
