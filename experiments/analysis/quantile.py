"""A quantile of the units' values, with the variance that order statistics give it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from experiments.analysis.findings import NotEnoughData
from experiments.analysis.moments import Moments
from experiments.lazy_scipy import special

if TYPE_CHECKING:
    from experiments.analysis.histogram import Histogram

_ALPHA = 0.05


def quantile_interval(histogram: Histogram, quantile: float, *, alpha: float) -> tuple[float, float] | NotEnoughData:
    r"""Return the order statistics between which the quantile lies at a confidence of one minus alpha.

    Notes
    -----
    The number of values below the quantile is binomial(n, q), whatever the distribution. The ranks are the greatest *l*
    with :math:`P(B \le l - 1) \le \alpha/2` and the least *u* with :math:`P(B \ge u) \le \alpha/2`: exact, without a
    density, and so at least as sure as they say. Where there is no such rank among the n, nothing is claimed. The
    sketch adds half a percent.

    References
    ----------
    W. J. Conover, *Practical Nonparametric Statistics* (1999), section 3.2.
    """
    n = histogram.n
    if n == 0:
        return NotEnoughData("there is no unit")
    lower = _least_rank(n, quantile, alpha / 2)
    upper = _least_rank(n, quantile, 1 - alpha / 2) + 1
    if lower < 1 or upper > n:
        return NotEnoughData(
            f"{n} units are too few to put both ends around the quantile {quantile:g} at {1 - alpha:.0%}"
        )
    return histogram.order_statistic(lower), histogram.order_statistic(upper)


def quantile_moments(histogram: Histogram, quantile: float) -> Moments | NotEnoughData:
    r"""Return the moments whose mean is the sample's quantile and whose variance over n is that of the quantile.

    Notes
    -----
    The variance is :math:`((u - l) / (2 z_{0.975}))^2`, from the 95 % interval of the order statistics. With it two
    quantiles are compared as two means are. The quantile is that of the units' values, one a unit, so that many
    requests of one unit are one observation.

    Assumptions: the distribution has a density around the quantile; where many units have the same value there, the
    interval has no width and nothing is claimed.
    """
    ends = quantile_interval(histogram, quantile, alpha=_ALPHA)
    if isinstance(ends, NotEnoughData):
        return ends
    n = histogram.n
    middle = histogram.order_statistic(max(1, math.ceil(n * quantile)))
    deviation = (ends[1] - ends[0]) / (2 * -float(special.ndtri(_ALPHA / 2)))
    return Moments(n, middle, deviation * deviation * n * (n - 1))


def _least_rank(n: int, quantile: float, probability: float) -> int:
    """Return the least k at which the binomial's distribution function reaches the probability."""
    low, high = -1, n
    while high - low > 1:
        middle = (low + high) // 2
        if special.bdtr(middle, n, quantile) < probability:
            low = middle
        else:
            high = middle
    return high
