"""What the first calls of units say of a candidate: the operational guardrails, as a pure value that grows.

A unit counts once in a window, with its first call: several calls of one unit are not several pieces of evidence, and
one unit that always fails must not look like many. A window is a step, or the part of it since the population of the
window before was used up, so that a fault that comes late is seen in units that were well before.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from experiments.ramp.definition import HOUR_US, GuardrailKind
from experiments.ramp.pairs import log_evidence
from experiments.ramp.usual import Limits, Usual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.ramp.definition import Guardrail, Ramp
    from experiments.ramp.usual import Took

UNITS_MAX = 500_000
"""Units that a window remembers; past it half of what is new is passed over, by the units' hashes, and again."""
SETTLED_CALLS = 50
"""For how many calls what is slow stays as it was settled before them."""
WINDOW_US_MIN = HOUR_US
WINDOW_PAIRS_MIN = 1_000
REPEATS_MIN = 9
"""A window whose units come back so many times for each new one has seen its population."""
EXPOSED_SHARE_MAX = 0.01
_HASHES = 1 << 64
_LATENCY = GuardrailKind.LATENCY


@dataclass(frozen=True, slots=True)
class Sighting:
    """One call of the experiment.

    Parameters
    ----------
    unit
        64 bits of a hash of what was assigned.
    candidate
        Whether it was the candidate's, not the control's.
    took
        How long it took.
    bad
        For each guardrail but latencies whether it was bad; None for a latency, which is judged here.
    """

    unit: int
    candidate: bool
    took: Took
    bad: tuple[bool | None, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one guardrail says.

    Parameters
    ----------
    name
        Of the guardrail.
    units, bad
        The control's and the candidate's in the window.
    evidence, bar
        Logarithms: the most evidence that there was against the candidate, and what is needed.
    limits
        What is slow now, for a latency with as many rows as the control's; nothing for others, and while the control
        has too few calls to tell.
    breached
        Whether the candidate is to be taken away.
    """

    name: str
    units: tuple[int, int]
    bad: tuple[int, int]
    evidence: float
    bar: float
    limits: Limits
    breached: bool

    @property
    def sentence(self) -> str:
        """All of it in words and numbers."""
        slow = f" (slow: above {self.limits.own_us / 1000:.3g} ms" if self.limits.own_us else ""
        slow += f", or a run above {self.limits.run_us / 1000:.3g} ms" if self.limits.run_us else ""
        slow += ")" if slow else ""
        return (
            f"{self.name}{slow}: {self.bad[1]} of {self.units[1]} units of the candidate are bad, {self.bad[0]} of "
            f"{self.units[0]} of the control; evidence {self.evidence:.2f} of {self.bar:.2f}"
        )


@dataclass(slots=True)
class _Track:
    """The pairs of one guardrail: those of one arm that wait for one of the other, and what came of pairs."""

    guardrail: Guardrail
    waiting: tuple[deque[bool], deque[bool]] = field(default_factory=lambda: (deque(), deque()))
    units: list[int] = field(default_factory=lambda: [0, 0])
    bad: list[int] = field(default_factory=lambda: [0, 0])
    against: list[int] = field(default_factory=lambda: [0, 0])
    evidence: float = 0.0

    def add(self, arm: int, *, bad: bool) -> None:
        """Take one unit of an arm, 0 the control and 1 the candidate."""
        self.units[arm] += 1
        self.bad[arm] += bad
        other = self.waiting[1 - arm]
        if not other:
            self.waiting[arm].append(bad)
            return
        if other.popleft() is bad:
            return
        self.against[arm if bad else 1 - arm] += 1
        self.evidence = max(self.evidence, log_evidence(self.against[1], self.against[0]))


class SafetyWatch:
    """One window of a ramp's step.

    Parameters
    ----------
    ramp
        Whose guardrails are watched.
    window
        The number of the window in its step, from 1: what earlier ones spent of alpha is not spent again.
    before
        The window before: what its control took tells what is slow, until there is enough of this one's.
    units_max
        How many units are remembered.
    """

    def __init__(
        self, ramp: Ramp, *, window: int = 1, before: SafetyWatch | None = None, units_max: int = UNITS_MAX
    ) -> None:
        self._units_max = units_max
        self.window = window
        self._bar = -math.log(alpha_of(ramp, window=window))
        self._tracks = [_Track(each) for each in ramp.guardrails]
        self._usual: Usual = Usual(None if before is None else before._usual)  # noqa: SLF001  (of its own class)
        self._units: dict[int, bool] = {}
        self._below = _HASHES
        self.units = [0, 0]
        self.repeats = 0
        self.exposed = 0

    def take(self, sightings: Sequence[Sighting]) -> None:
        """Take calls in the order of their coming.

        What is slow is settled by calls before: none is measured by a limit that it made itself.
        """
        for number, call in enumerate(sightings):
            if number % SETTLED_CALLS == 0:
                self._usual.settle()
            if not call.candidate:
                self._usual.add(call.took)
            known = self._units.get(call.unit)
            if known is not None:
                self.repeats += 1
                self.exposed += known is not call.candidate
                continue
            if call.unit >= self._below:
                continue
            self._units[call.unit] = call.candidate
            self._count(call)
        while len(self._units) > self._units_max:
            self._below //= 2
            self._units = {unit: arm for unit, arm in self._units.items() if unit < self._below}

    def readings(self) -> tuple[Reading, ...]:
        """Return what each guardrail says now."""
        found = []
        for track in self._tracks:
            control, candidate = (
                bad / units if units else 0.0 for bad, units in zip(track.bad, track.units, strict=True)
            )
            breached = track.evidence >= self._bar and candidate - control > track.guardrail.tolerance
            found.append(
                Reading(
                    name=track.guardrail.name,
                    units=(track.units[0], track.units[1]),
                    bad=(track.bad[0], track.bad[1]),
                    evidence=track.evidence,
                    bar=self._bar,
                    limits=Limits() if track.guardrail.kind is not _LATENCY else self._usual.limits(track.guardrail),
                    breached=breached,
                )
            )
        return tuple(found)

    def used_up(self, *, age_us: int) -> bool:
        """Whether a new window should begin, in which all units count once more."""
        if age_us < WINDOW_US_MIN:
            return False
        return min(self.units) >= WINDOW_PAIRS_MIN or self.repeats > REPEATS_MIN * sum(self.units)

    @property
    def exposed_share(self) -> float:
        """The part of the calls of units seen before that were the other arm's: no unit may be in both."""
        return self.exposed / self.repeats if self.repeats else 0.0

    def _count(self, call: Sighting) -> None:
        arm = int(call.candidate)
        self.units[arm] += 1
        for track, bad in zip(self._tracks, call.bad, strict=True):
            if bad is not None:
                track.add(arm, bad=bad)
            elif any(limits := self._usual.limits(track.guardrail, call.took.run_rows)):
                track.add(arm, bad=limits.passed_by(call.took))


def alpha_of(ramp: Ramp, *, window: int = 1) -> float:
    """Return the probability of a false alarm that one guardrail may spend in a window of a step.

    Half of alpha is the operational guardrails', the same for each of them and for each step that is compared. Of a
    step's part its windows spend 1/2, 1/6, 1/12 and so on, which never come to more than all of it.
    """
    tests = max(1, len(ramp.guardrails)) * max(1, ramp.compared)
    return ramp.alpha / 2 / tests / (window * (window + 1))
