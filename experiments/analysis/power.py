"""How many units an effect needs, what so many units can show, and how far a running experiment is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.analysis.findings import NotEnoughData
from experiments.analysis.group_sequential import boundaries
from experiments.analysis.sequence import mixing_variance, reach
from experiments.lazy_scipy import optimize, special
from experiments.plan import Method

if TYPE_CHECKING:
    from experiments.analysis.findings import Contrast

UNITS_MAX = 10**12
DEFAULT_POWER = 0.8


@dataclass(frozen=True, slots=True)
class Design:
    """What is to be found, and how it is looked for.

    Parameters
    ----------
    control_variance, treatment_variance
        Of one unit.
    treatment_share
        The treatment's part of the units of both arms.
    alpha, method, looks
        The two-sided error rate, how often one looks, and the planned number of looks of a group sequential test.
    """

    control_variance: float
    treatment_variance: float
    treatment_share: float = 0.5
    alpha: float = 0.05
    method: Method = Method.FIXED
    looks: int = 5

    def error(self, units: float) -> float:
        """Return the standard error of the difference with so many units in both arms together."""
        share = self.treatment_share
        return math.sqrt((self.control_variance / (1 - share) + self.treatment_variance / share) / units)

    def critical(self, units: float) -> float:
        """Return how many standard errors the difference must pass when so many units have come."""
        if self.method is Method.SEQUENCE:
            return reach(units, alpha=self.alpha, rho_squared=mixing_variance(alpha=self.alpha, tuned_units=units))
        if self.method is Method.GROUP_SEQUENTIAL:
            return boundaries([(look + 1) / self.looks for look in range(self.looks)], alpha=self.alpha)[-1]
        return -float(special.ndtri(self.alpha / 2))


def power(effect: float, units: float, design: Design) -> float:
    r"""Return the probability of a significant difference, of either sign, when the effect is that large.

    Notes
    -----
    :math:`\Phi(\delta/\sigma - q) + \Phi(-\delta/\sigma - q)`, where :math:`\sigma` is the standard error with that
    many units and *q* what the method asks for at the end. A sequence or a group sequential test may also stop earlier:
    their power is at least this.

    References
    ----------
    J. Cohen, *Statistical Power Analysis for the Behavioral Sciences* (1988).
    """
    moved, limit = abs(effect) / design.error(units), design.critical(units)
    return float(special.ndtr(moved - limit) + special.ndtr(-moved - limit))


def sample_size(effect: float, design: Design, *, target_power: float = DEFAULT_POWER) -> int | NotEnoughData:
    """Return the least units of both arms together that find an effect with the power, or why there is no number."""
    if not (math.isfinite(effect) and effect != 0):
        return NotEnoughData("no number of units finds an effect of nothing: say which effect matters")
    if not (design.control_variance + design.treatment_variance > 0):
        return NotEnoughData("no unit differs from another, so that no size can be computed")
    if not (math.isfinite(design.error(1.0)) and design.error(UNITS_MAX) > 0):
        return NotEnoughData("the variance is beyond what numbers can hold, so that no size can be computed")
    low, high = 2, 4
    while power(effect, high, design) < target_power:
        low, high = high, high * 2
        if high > UNITS_MAX:
            return NotEnoughData(f"the effect is so small that {UNITS_MAX:.0e} units would not find it")
    while high - low > 1:
        middle = (low + high) // 2
        if power(effect, middle, design) < target_power:
            low = middle
        else:
            high = middle
    return high


def minimum_effect(units: int, design: Design, *, target_power: float = DEFAULT_POWER) -> float | NotEnoughData:
    """Return the least effect that so many units find with the power, or why there is none."""
    if units < 2:  # noqa: PLR2004  (two arms)
        return NotEnoughData(f"{units} units are not one in each arm")
    error = design.error(units)
    if not (math.isfinite(error) and error > 0):
        return NotEnoughData("no unit differs from another, or their variance is no finite number")
    limit = design.critical(units)
    needed = optimize.brentq(
        lambda moved: special.ndtr(moved - limit) + special.ndtr(-moved - limit) - target_power, 0.0, limit + 40.0
    )
    effect = float(needed) * error
    return effect if math.isfinite(effect) else NotEnoughData("the least effect is beyond what numbers can hold")


def remaining_units(
    found: Contrast,
    effect: float,
    *,
    alpha: float,
    method: Method,
    looks: int = 5,
    target_power: float = DEFAULT_POWER,
) -> int | NotEnoughData:
    """Return how many more units a running experiment needs to find an effect, at the variances that it has seen."""
    if found.control_variance + found.treatment_variance <= 0:
        return NotEnoughData("no unit differs from another, so that no size can be computed")
    design = Design(
        control_variance=found.control_variance * found.control_units,
        treatment_variance=found.treatment_variance * found.treatment_units,
        treatment_share=found.treatment_units / found.units,
        alpha=alpha,
        method=method,
        looks=looks,
    )
    needed = sample_size(effect, design, target_power=target_power)
    return needed if isinstance(needed, NotEnoughData) else max(0, needed - found.units)
