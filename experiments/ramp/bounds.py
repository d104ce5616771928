"""How many units a fault may reach before it is seen: what a guardrail promises before the ramp begins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.analysis.sequence import TUNED_UNITS_DEFAULT, mixing_variance, reach
from experiments.lazy_scipy import special, stats
from experiments.ramp.pairs import needed

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_RISE = 0.05
DEFAULT_BASELINE = 0.01
DEFAULT_CONFIDENCE = 0.99
PAIRS_MAX = 10_000_000
_DISCORDANT_MAX = 3_000


@dataclass(frozen=True, slots=True)
class Bound:
    """At most so much happens before a fault is seen, with the confidence that was asked for.

    Parameters
    ----------
    pairs
        Units of the control, each with one of the candidate.
    units
        Units of the candidate: a few more, since arms do not come one by one.
    bad_units
        How many of them are bad.
    """

    pairs: int
    units: int
    bad_units: int


def detection_bound(
    *,
    baseline: float,
    rise: float,
    tolerance: float,
    alpha: float,
    confidence: float = DEFAULT_CONFIDENCE,
    control_per_candidate: float = 1.0,
    passed_over: int = 0,
) -> Bound | None:
    """Return the bound for a candidate whose units are bad so much more often than the control's; None: never seen.

    Parameters
    ----------
    baseline, rise
        The part of the control's units that is bad, and how much larger the candidate's is.
    tolerance, alpha
        Of the guardrail: what must be exceeded in the data, and the probability of a false alarm.
    control_per_candidate
        Units of the control for one of the candidate: 1 while the slices are matched.
    passed_over
        Units of the control that come before anything is counted.

    Notes
    -----
    The number of discordant pairs until the evidence suffices is a first passage, computed exactly; so many come among
    N pairs by a binomial law. What may fail is added up: the evidence, the tolerance, the arms coming unevenly, and the
    number of bad ones, a quarter of the risk each.
    """
    bad = baseline + rise
    if rise <= tolerance or bad > 1 or not control_per_candidate:
        return None
    risk = (1 - confidence) / 4
    discordant = bad * (1 - baseline) + baseline * (1 - bad)
    seen = _first_passage(bad * (1 - baseline) / discordant, alpha=alpha)
    if seen[-1] < 1 - risk:
        return None
    pairs = _least(lambda n: _detected(n, discordant, seen) >= 1 - risk)
    if pairs is None:
        return None
    spread = math.sqrt(bad * (1 - bad) + baseline * (1 - baseline))
    for_tolerance = math.ceil((float(special.ndtri(1 - risk)) * spread / (rise - tolerance)) ** 2)
    pairs = max(pairs, for_tolerance)
    units = _units_for(pairs + passed_over, control_per_candidate, risk)
    return Bound(pairs, units, int(stats.binom.ppf(1 - risk, units, bad)))


def outcome_bound(
    *,
    effect: float,
    variance: float,
    alpha: float,
    minimum_units: int,
    tuned_units: int = TUNED_UNITS_DEFAULT,
    confidence: float = DEFAULT_CONFIDENCE,
) -> int | None:
    """Return how many units of the candidate have an outcome at most before a worse metric is seen; None: never.

    Parameters
    ----------
    effect, variance
        How much worse the metric's mean is, and the variance of one unit.
    alpha, minimum_units, tuned_units
        Of the metric and the experiment: the confidence sequence begins with so many units in an arm, and is narrowest
        at `tuned_units` of both arms.

    Notes
    -----
    The sequence reaches *reach* standard errors to each side, and the estimate is further than *z* of them below the
    effect with the risk that is taken: it is seen as soon as the effect is larger than both together.
    """
    rho_squared = mixing_variance(alpha=alpha, tuned_units=tuned_units)
    z = float(special.ndtri(confidence))

    def seen(units: int) -> bool:
        error = math.sqrt(2 * variance / units)
        return units >= minimum_units and effect >= (reach(2 * units, alpha=alpha, rho_squared=rho_squared) + z) * error

    return _least(seen)


def _first_passage(theta: float, *, alpha: float) -> np.ndarray:
    """Return, for each number of discordant pairs, the probability that the evidence has sufficed by then.

    Stops when that is certain but for a millionth.
    """
    # Not crossed yet, by the number of pairs against the candidate.
    alive = np.zeros(_DISCORDANT_MAX + 2)
    alive[0] = 1.0
    crossed = [0.0]
    bars: list[int] = []
    first = 0
    for n in range(1, _DISCORDANT_MAX + 1):
        bars.append(needed(len(bars), alpha=alpha, start=bars[-1] if bars else 0))
        after = alive * (1 - theta)
        after[1:] += alive[:-1] * theta
        # Against the candidate k, against the control n - k: it is over from the k on that reaches that many's bar.
        while first <= n and (n - first >= len(bars) or first < bars[n - first]):
            first += 1
        gone = float(after[first:].sum())
        after[first:] = 0.0
        alive = after
        crossed.append(crossed[-1] + gone)
        if crossed[-1] > 1 - 1e-6:
            break
    return np.array(crossed)


def _detected(pairs: int, discordant: float, seen: np.ndarray) -> float:
    """Return the probability that so many pairs suffice."""
    counts = np.arange(len(seen))
    chances = stats.binom.pmf(counts, pairs, discordant)
    beyond = float(stats.binom.sf(len(seen) - 1, pairs, discordant))
    return float((chances * seen).sum()) + beyond * float(seen[-1])


def _units_for(pairs: int, control_per_candidate: float, risk: float) -> int:
    """Return of how many units of the candidate there are so many pairs, whichever arm is late."""
    z = float(special.ndtri(1 - risk))
    ratio = control_per_candidate

    def late(units: int) -> bool:
        spread = math.sqrt(units * ratio * (1 + ratio))
        return units >= pairs and units * ratio - z * spread >= pairs

    found = _least(late)
    return PAIRS_MAX if found is None else found


def _least(holds: Callable[[int], bool]) -> int | None:
    """Return the least number that a rising condition holds for; None when it is past the most that is looked at."""
    high = 1
    while not holds(high):
        high *= 2
        if high > PAIRS_MAX:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
