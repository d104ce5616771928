"""What every trigger says, and what every trigger is."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.triggers.stored import Stored

Number = float | int | str | bool | None


class Verdict(StrEnum):
    """What a trigger says: train, there is no cause to, or there is too little to tell by."""

    FIRE = "FIRE"
    QUIET = "QUIET"
    INSUFFICIENT = "INSUFFICIENT"


@dataclass(frozen=True, slots=True)
class Finding:
    """One test of one subject.

    Attributes
    ----------
    subject
        What was looked at: a feature, an output, ``label``, a metric, a view.
    method
        How: ``ks``, ``psi``, ``null_rate`` and so on.
    flagged
        Whether it counts: significant, and larger than the floor.
    numbers
        What was found: ``statistic``, ``effect``, ``floor``, ``p_value``, ``p_adjusted`` where the method has them.
    """

    subject: str
    method: str
    flagged: bool
    numbers: Mapping[str, Number] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """Return it as JSON knows it."""
        return {
            "subject": self.subject, "method": self.method, "flagged": self.flagged, "numbers": _finite(self.numbers)
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evidence:
    """A verdict and what it rests on.

    Attributes
    ----------
    trigger
        The kind of trigger that says it.
    verdict, reason
        What it says, and why, as a sentence.
    numbers
        What was compared with what.
    findings
        The tests behind it, the flagged first.
    """

    trigger: str
    verdict: Verdict
    reason: str
    numbers: Mapping[str, Number] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def document(self) -> dict[str, object]:
        """Return it as JSON knows it: what is kept, sent and shown."""
        return {
            "trigger": self.trigger,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "numbers": _finite(self.numbers),
            "findings": [finding.document() for finding in self.findings],
        }


class Trigger(Protocol):
    """A pure function of stored evidence: the same evidence always gets the same verdict."""

    @property
    def kind(self) -> str:
        """The trigger's name: ``performance``, ``drift`` and so on."""
        ...

    def judge(self, stored: Stored) -> Evidence:
        """Return what the evidence says."""
        ...


def insufficient(trigger: str, reason: str, **numbers: Number) -> Evidence:
    """Return the evidence of a trigger that has too little to tell by."""
    return Evidence(trigger, Verdict.INSUFFICIENT, reason, numbers)


def _finite(numbers: Mapping[str, Number]) -> dict[str, Number]:
    """Return the numbers as JSON knows them: what is not finite is null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in numbers.items()
    }
