"""An interval that holds at every look at once, however often one looks: the asymptotic confidence sequence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.analysis.findings import Interval, NotEnoughData, Relative
from experiments.lazy_scipy import special

if TYPE_CHECKING:
    from experiments.analysis.findings import Contrast

TUNED_UNITS_DEFAULT = 5000


@dataclass(frozen=True, slots=True)
class Running:
    """What all looks so far leave: the intersection of their intervals, and their least p-value.

    Parameters
    ----------
    lower, upper, p_value
        Of the difference.
    lift_lower, lift_upper
        Of the difference as a part of the control's mean.
    looks
        How many there were.
    """

    lower: float = -math.inf
    upper: float = math.inf
    p_value: float = 1.0
    lift_lower: float = -math.inf
    lift_upper: float = math.inf
    looks: int = 0

    def then(self, interval: Interval, lift: Relative | NotEnoughData) -> Running:
        """Return what is left after one more look."""
        lift_lower, lift_upper = (lift.lower, lift.upper) if isinstance(lift, Relative) else (-math.inf, math.inf)
        return Running(
            max(self.lower, interval.lower),
            min(self.upper, interval.upper),
            min(self.p_value, interval.p_value),
            max(self.lift_lower, lift_lower),
            min(self.lift_upper, lift_upper),
            self.looks + 1,
        )


def mixing_variance(*, alpha: float, tuned_units: float) -> float:
    r"""Return ρ², for which the sequence is narrowest when that many units have come.

    Notes
    -----
    :math:`\rho^2 = (-W_{-1}(-\alpha^2/e) - 1) / N^*`, with the lower branch of Lambert's W: the exact minimum of the
    width at :math:`N^*`, where an approximation by logarithms is 3 % off in ρ².
    """
    return float(-special.lambertw(-alpha * alpha / math.e, -1).real - 1) / tuned_units


def reach(units: float, *, alpha: float, rho_squared: float) -> float:
    r"""Return how many standard errors the sequence reaches to each side after that many units.

    Notes
    -----
    :math:`\sqrt{\frac{2 (N\rho^2 + 1)}{N\rho^2} \ln\frac{\sqrt{N\rho^2 + 1}}{\alpha}}`
    """
    grown = units * rho_squared
    return math.sqrt(2 * (grown + 1) / grown * (0.5 * math.log1p(grown) - math.log(alpha)))


def sequence_interval(found: Contrast, *, alpha: float, tuned_units: int = TUNED_UNITS_DEFAULT) -> Interval:
    r"""Return the present interval of the sequence, with a p-value that is good at any number of looks.

    Parameters
    ----------
    tuned_units
        How many units of both arms the sequence is to be narrowest at: the number that is planned.

    Notes
    -----
    The normal mixture boundary of Robbins with the estimated variance: :math:`d \pm reach(N) \sqrt V`, and
    :math:`p = \min(1, \sqrt{N\rho^2 + 1} \exp(-z^2 N\rho^2 / (2 (N\rho^2 + 1))))`, which is at most alpha exactly when
    the interval leaves out zero.

    Assumptions: as Welch's test, but not that one looks once. The error rate is that of the limit of many units: it
    begins with `minimum_units` in an arm, not with the first. The effect is the same throughout; where it is not, the
    intersection of the looks runs empty, which is told.

    References
    ----------
    I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas, *Time-uniform central limit theory and asymptotic
    confidence sequences*, Annals of Statistics 52 (2024), arXiv:2103.06476.
    """
    rho_squared = mixing_variance(alpha=alpha, tuned_units=tuned_units)
    grown = found.units * rho_squared
    critical = reach(found.units, alpha=alpha, rho_squared=rho_squared)
    z_squared = found.difference * found.difference / found.variance
    p_value = math.exp(min(0.0, 0.5 * math.log1p(grown) - z_squared * grown / (2 * (grown + 1))))
    half = critical * found.standard_error
    return Interval(found.difference - half, found.difference + half, p_value, critical)


def intersection(running: Running, interval: Interval) -> Interval | NotEnoughData:
    """Return what all looks leave, the present one being the last of them, or that nothing is left."""
    if running.lower > running.upper:
        return NotEnoughData(
            f"the effect has changed while it was watched: the looks leave no common interval "
            f"(above {running.lower:.4g} and below {running.upper:.4g}); begin a new experiment"
        )
    return Interval(running.lower, running.upper, running.p_value, interval.critical)
