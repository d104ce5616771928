"""A ratio of sums over units, which many requests of one unit cannot make look surer than it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from experiments.analysis.findings import NotEnoughData

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.analysis.joint import JointMoments
    from experiments.analysis.moments import Moments


# How many standard errors the denominator's mean must be away from zero.
_ERRORS_MIN = 3.0


def gradient(joint: JointMoments, theta: Sequence[float] = ()) -> tuple[float, ...] | NotEnoughData:
    r"""Return how the estimate of an arm moves with the means of its variables.

    Parameters
    ----------
    joint
        Of the numerator, the denominator, and then of covariates.
    theta
        The covariates' coefficients; none: no adjustment.

    Notes
    -----
    With :math:`R = \bar N / \bar D` the delta method linearises a unit to :math:`(N_i - R D_i)/\bar D`, whose variance
    over n is that of R: :math:`(s_N^2 - 2 R s_{ND} + R^2 s_D^2) / (n \bar D^2)`. When every unit has the denominator 1
    this is the plain mean. A covariate *x* with the coefficient θ takes :math:`\theta x_i` off.

    Assumptions: units are independent; there are so many of them that the denominator's mean is well away from zero.

    References
    ----------
    A. Deng, U. Knoblich, J. Lu, *Applying the Delta Method in Metric Analytics*, KDD 2018.
    """
    if joint.n == 0:
        return NotEnoughData("there is no unit")
    total, weight = joint.means[0], joint.means[1]
    if not (math.isfinite(total) and math.isfinite(weight)) or weight == 0:
        return NotEnoughData("the denominator is zero on average, or no finite number")
    count = joint.n
    spread = joint.products[1][1] / max(1, count - 1) / count
    if spread > 0 and abs(weight) < _ERRORS_MIN * math.sqrt(spread):
        return NotEnoughData("the denominator's mean cannot be told from zero, so that a ratio says nothing")
    slopes = [0.0] * len(joint.means)
    slopes[0], slopes[1] = 1 / weight, -total / weight / weight
    for position, coefficient in enumerate(theta):
        slopes[2 + position] = -coefficient
    return tuple(slopes)


def linearise(
    joint: JointMoments, theta: Sequence[float] = (), centre: Sequence[float] = ()
) -> Moments | NotEnoughData:
    """Return the moments whose mean is the arm's estimate and whose variance over n is that of the estimate.

    Parameters
    ----------
    theta, centre
        The covariates' coefficients, and the values that they are measured from: the same in both arms.
    """
    slopes = gradient(joint, theta)
    if isinstance(slopes, NotEnoughData):
        return slopes
    adjusted = sum(
        coefficient * (mean - middle) for coefficient, mean, middle in zip(theta, joint.means[2:], centre, strict=False)
    )
    return joint.project(slopes, joint.means[0] / joint.means[1] - adjusted)
