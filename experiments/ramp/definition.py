"""What a ramp is: the steps, what must be true before each is left, and what takes the candidate away."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from experiments.errors import RampInvalidError

HOUR_US = 3_600_000_000
STEPS_MAX = 50
GUARDRAILS_MAX = 16
TIME_US_MAX = 400 * 24 * HOUR_US
UNITS_MAX = 10**12
RATIO_MAX = 1_000.0
NAME_CHARS_MAX = 4096
OUTPUT_INDEX_MAX = 1_000_000

DEFAULT_ALPHA = 0.05
DEFAULT_STEP_US = HOUR_US
DEFAULT_STEP_UNITS = 100
DEFAULT_SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
EVEN = 0.5
"""Up to this share the control gets a slice as large as the candidate's; past it, what the candidate leaves."""


class GuardrailKind(enum.StrEnum):
    """What makes a call a bad one, seen as soon as it is journalled."""

    ERROR_RATE = "error_rate"
    LATENCY = "latency"
    FEATURE_DEFAULT_RATE = "feature_default_rate"
    OUTPUT_RANGE = "output_range"


# How much more of the candidate's units must be bad, in the data, before it is taken away.
DEFAULT_TOLERANCE = {
    GuardrailKind.ERROR_RATE: 0.002,
    GuardrailKind.LATENCY: 0.02,
    GuardrailKind.FEATURE_DEFAULT_RATE: 0.02,
    GuardrailKind.OUTPUT_RANGE: 0.002,
}
DEFAULT_QUANTILE = 0.95
DEFAULT_RATIO = 2.0


@dataclass(frozen=True, slots=True)
class Guardrail:
    """An operational guardrail: the candidate's units must not be bad more often than those of its matched control.

    Parameters
    ----------
    tolerance
        How much larger the part of bad units may be all the same.
    limit_us
        Of a latency: slower than this is bad; 0: slower than `ratio` times the control's `quantile`, or a slower run.
    quantile, ratio
        Of a latency without a limit.
    output, output_index, lower, upper
        Of an output's range: which element of which output, and what it must not leave; None: no bound there. A value
        that is not finite is bad.
    """

    kind: GuardrailKind
    tolerance: float = 0.0
    limit_us: int = 0
    quantile: float = DEFAULT_QUANTILE
    ratio: float = DEFAULT_RATIO
    output: str = ""
    output_index: int = 0
    lower: float | None = None
    upper: float | None = None

    @property
    def name(self) -> str:
        """What it is called in reasons: its kind, and which output."""
        return f"{self.kind} of {self.output}[{self.output_index}]" if self.output else self.kind.value


DEFAULT_GUARDRAILS = tuple(
    Guardrail(kind, tolerance=DEFAULT_TOLERANCE[kind])
    for kind in (GuardrailKind.ERROR_RATE, GuardrailKind.LATENCY, GuardrailKind.FEATURE_DEFAULT_RATE)
)


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Parameters
    ----------
    share
        The part of the experiment's units that the candidate gets, in (0, 1].
    minimum_time_us
        How long it lasts at the least.
    minimum_units
        How many units of each arm must have an outcome in it at the least.
    approval
        Whether somebody must approve before it is left.
    proven
        Whether the guardrail metrics must be shown to hold within their margins before it is left; else it is enough
        that none is shown to be worse.
    """

    share: float
    minimum_time_us: int = DEFAULT_STEP_US
    minimum_units: int = DEFAULT_STEP_UNITS
    approval: bool = False
    proven: bool = False


@dataclass(frozen=True, slots=True)
class Ramp:
    """A schedule of shares with guardrails between the steps.

    Parameters
    ----------
    steps
        Their shares rise.
    guardrails
        The operational ones; the experiment's metrics are guardrails by their roles.
    alpha
        The probability at most with which a candidate that is no worse is taken away, over the whole ramp.
    promote
        Whether the candidate becomes the champion at the end of a ramp to 1, if the registry's gates let it.
    """

    steps: tuple[Step, ...]
    guardrails: tuple[Guardrail, ...] = DEFAULT_GUARDRAILS
    alpha: float = DEFAULT_ALPHA
    promote: bool = False

    @property
    def compared(self) -> int:
        """How many steps have a control to compare with."""
        return sum(each.share < 1 for each in self.steps)


def default_steps(
    *, duration_us: int = DEFAULT_STEP_US * len(DEFAULT_SHARES), minimum_units: int = DEFAULT_STEP_UNITS
) -> tuple[Step, ...]:
    """Return 1 -> 5 -> 10 -> 25 -> 50 -> 100 %, each as long as the others."""
    each_us = duration_us // len(DEFAULT_SHARES)
    return tuple(
        Step(share, minimum_time_us=each_us, minimum_units=minimum_units, proven=share == EVEN)
        for share in DEFAULT_SHARES
    )


def split_of(share: float) -> tuple[float, float, float]:
    """Return the coverage and the two shares, the control's first, that give the candidate this part of the units.

    The control's slice is as large up to a half; who is in neither gets the champion and is not compared.
    """
    if share <= EVEN:
        return 2 * share, EVEN, EVEN
    return 1.0, 1 - share, share


def validate_ramp(ramp: Ramp) -> None:
    """Raise RampInvalidError unless the ramp keeps every rule; nothing is repaired."""
    _require(1 <= len(ramp.steps) <= STEPS_MAX, f"a ramp has 1 to {STEPS_MAX} steps, not {len(ramp.steps)}")
    before = 0.0
    for number, step in enumerate(ramp.steps, 1):
        what = f"step {number}"
        _require(before < step.share <= 1, f"{what} has the share {step.share}; shares rise, from above 0 to 1")
        _require(0 <= step.minimum_time_us <= TIME_US_MAX, f"{what}: a minimum time is from 0 to 400 days")
        _require(0 <= step.minimum_units <= UNITS_MAX, f"{what}: minimum_units is from 0 to {UNITS_MAX}")
        _require(not step.proven or step.share < 1, f"{what} has no control left: what must be proven is proven before")
        before = step.share
    _require(0 < ramp.alpha < EVEN, f"the ramp's alpha is {ramp.alpha}, not above 0 and below 0.5")
    _require(len(ramp.guardrails) <= GUARDRAILS_MAX, f"a ramp has at most {GUARDRAILS_MAX} operational guardrails")
    names = [each.name for each in ramp.guardrails]
    for each in ramp.guardrails:
        _require(names.count(each.name) == 1, f"the guardrail {each.name} is there more than once")
        _validate_guardrail(each)
    _require(not ramp.promote or ramp.steps[-1].share == 1, "a ramp that ends below 1 has no winner to promote")


def _validate_guardrail(guardrail: Guardrail) -> None:
    what = f"the guardrail {guardrail.name}"
    _require(0 <= guardrail.tolerance < 1, f"{what} has the tolerance {guardrail.tolerance}, not in [0, 1)")
    if guardrail.kind is GuardrailKind.LATENCY:
        _require(0 <= guardrail.limit_us <= TIME_US_MAX, f"{what} has a limit that is no time")
        _require(0 < guardrail.quantile < 1, f"{what} has the quantile {guardrail.quantile}, not in (0, 1)")
        _require(1 <= guardrail.ratio <= RATIO_MAX, f"{what} has the ratio {guardrail.ratio}, not from 1 to 1000")
    else:
        _require(not guardrail.limit_us, f"{what} takes no limit: it is no latency")
    if guardrail.kind is not GuardrailKind.OUTPUT_RANGE:
        _require(not guardrail.output, f"{what} takes no output")
        return
    _require(1 <= len(guardrail.output) <= NAME_CHARS_MAX, f"{what} names no output")
    _require(0 <= guardrail.output_index <= OUTPUT_INDEX_MAX, f"{what} has an output_index that is none")
    ends = [end for end in (guardrail.lower, guardrail.upper) if end is not None]
    _require(all(math.isfinite(end) for end in ends) and ends == sorted(ends), f"{what} has ends that are no range")


def _require(holds: bool, sentence: str) -> None:  # noqa: FBT001  (a condition and what is wrong when it fails)
    if not holds:
        raise RampInvalidError(sentence)
