"""Two proportions by the score method, for units that each say yes or no."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from experiments.analysis.findings import Interval, NotEnoughData
from experiments.lazy_scipy import optimize, special

if TYPE_CHECKING:
    from experiments.analysis.findings import Contrast


def compare_proportions(
    control: tuple[int, int], treatment: tuple[int, int], *, alpha: float
) -> Interval | NotEnoughData:
    r"""Return the score interval of treatment minus control and its p-value, or why there is none.

    Parameters
    ----------
    control, treatment
        How many said yes, and how many units there are.

    Notes
    -----
    :math:`z(\Delta) = (\hat p_t - \hat p_c - \Delta) /
    \sqrt{\tilde p_t \tilde q_t / n_t + \tilde p_c \tilde q_c / n_c}`, where the tildes are the maximum of the
    likelihood under :math:`p_t - p_c = \Delta`, the root of a cubic. The interval holds each difference with
    :math:`|z| \le z_{1-\alpha/2}`, and the p-value is that of :math:`\Delta = 0`, where the tildes are the pooled
    proportion. So the two agree, which Wald's interval and the pooled test do not, and the interval stays within
    [-1, 1] and has a width at 0 of n.

    References
    ----------
    R. W. Mee, *Confidence bounds for the difference between two probabilities*, Biometrics 40 (1984). O. Miettinen,
    M. Nurminen, *Comparative analysis of two rates*, Statistics in Medicine 4 (1985), for the cubic.
    """
    if min(control[1], treatment[1]) < 1:
        return NotEnoughData("there is no unit in one of the arms")
    if any(not 0 <= yes <= units for yes, units in (control, treatment)):
        return NotEnoughData("more units say yes than there are")
    limit = -float(special.ndtri(alpha / 2))
    difference = treatment[0] / treatment[1] - control[0] / control[1]

    def beyond(delta: float) -> float:
        return abs(_score(control, treatment, delta)) - limit

    lower, upper = -1.0, 1.0
    if difference > -1 and beyond(-1.0 + 1e-12) > 0:
        lower = float(optimize.brentq(beyond, -1.0 + 1e-12, difference, xtol=1e-14))
    if difference < 1 and beyond(1.0 - 1e-12) > 0:
        upper = float(optimize.brentq(beyond, difference, 1.0 - 1e-12, xtol=1e-14))
    null = abs(_score(control, treatment, 0.0))
    return Interval(lower, upper, min(1.0, 2 * float(special.ndtr(-null))), limit)


def proportion_interval(found: Contrast, *, alpha: float) -> Interval | NotEnoughData:
    """Return the score interval of a contrast whose means are proportions of units."""
    arms = ((found.control_mean, found.control_units), (found.treatment_mean, found.treatment_units))
    control, treatment = ((round(mean * units), units) for mean, units in arms)
    return compare_proportions(control, treatment, alpha=alpha)


def _score(control: tuple[int, int], treatment: tuple[int, int], delta: float) -> float:
    """Return the score statistic of a difference of proportions."""
    apart = treatment[0] / treatment[1] - control[0] / control[1] - delta
    if apart == 0:
        return 0.0
    base = _restricted(control, treatment, delta)
    top = min(1.0, max(0.0, base + delta))
    variance = base * (1 - base) / control[1] + top * (1 - top) / treatment[1]
    return apart / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, apart)


def _restricted(control: tuple[int, int], treatment: tuple[int, int], delta: float) -> float:
    """Return the control's proportion that is likeliest when the treatment's is greater by delta."""
    (x0, n0), (x1, n1) = control, treatment
    n, x = n0 + n1, x0 + x1
    if delta == 0:
        return x / n
    l2 = (n1 + 2 * n0) * delta - n - x
    l1 = (n0 * delta - n - 2 * x0) * delta + x
    l0 = x0 * delta * (1 - delta)
    shift = l2 / (3 * n)
    q = shift**3 - l1 * l2 / (6 * n * n) + l0 / (2 * n)
    p = math.copysign(math.sqrt(max(0.0, shift * shift - l1 / (3 * n))), q)
    if p == 0:
        return min(1.0, max(0.0, -shift))
    angle = (math.pi + math.acos(max(-1.0, min(1.0, q / p**3)))) / 3
    return min(1.0, max(0.0, 2 * p * math.cos(angle) - shift))
