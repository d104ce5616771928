"""The difference as a part of the control's mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from experiments.analysis.findings import NotEnoughData, Relative

if TYPE_CHECKING:
    from experiments.analysis.findings import Contrast, Interval


def relative_lift(found: Contrast, interval: Interval) -> Relative | NotEnoughData:
    r"""Return the lift with Fieller's interval, or why there is none.

    Parameters
    ----------
    found, interval
        The difference, and its interval by any method: its reach in standard errors is what is used.

    Notes
    -----
    The interval holds each ratio :math:`\rho` that the data do not refute:
    :math:`|\bar t - \rho \bar c| \le q \sqrt{V_t - 2 \rho C + \rho^2 V_c}`, a quadratic. At :math:`\rho = 1` that is
    the test of the difference with the same *q*, so that the two can never disagree, as they do when the variance of
    the quotient is linearised. C, the covariance of the two means, is not zero where units changed arms.

    The lift is :math:`(\bar t - \bar c)/|\bar c|`. There is none where the control's mean cannot be told from zero.

    References
    ----------
    E. C. Fieller, *Some Problems in Interval Estimation*, Journal of the Royal Statistical Society B 16 (1954).
    """
    control, treatment = abs(found.control_mean), found.treatment_mean * math.copysign(1.0, found.control_mean)
    reach = interval.critical * interval.critical
    if not math.isfinite(reach) or control * control <= reach * found.control_variance:
        return NotEnoughData("the control's mean cannot be told from zero, so that no difference is a part of it")
    covariance = (found.control_variance + found.treatment_variance - found.variance) / 2
    a = control * control - reach * found.control_variance
    b = control * treatment - reach * covariance
    c = treatment * treatment - reach * found.treatment_variance
    inside = b * b - a * c
    if not inside >= 0:
        return NotEnoughData("the variances of the two means do not fit the variance of their difference")
    half = math.sqrt(inside) / a
    up = math.copysign(1.0, found.control_mean)
    lower, upper = sorted(up * (b / a + side * half - 1) for side in (-1.0, 1.0))
    return Relative(up * (treatment / control - 1), lower, upper)
