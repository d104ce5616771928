"""The winner's curse: what was picked for being far out is not as far out as it looks."""

from __future__ import annotations

import math

from experiments.lazy_scipy import optimize, special


def shrink(difference: float, *, error: float, critical: float) -> float:
    r"""Return the difference that is likely behind one that was picked for passing a threshold.

    Parameters
    ----------
    difference, error
        The estimate and its standard error.
    critical
        How many standard errors it had to pass. An estimate that did not pass is returned as it is: nobody picked it.

    Notes
    -----
    The maximum of the likelihood given that :math:`|D| > q \sigma`: the δ at which
    :math:`E[D \mid |D| > q\sigma; \delta] = d`. It lies between 0 and d, close to 0 at the threshold and close to d far
    beyond it.

    References
    ----------
    H. Zhong, R. L. Prentice, *Bias-reduced estimators and confidence intervals for odds ratios in genome-wide
    association studies*, Biostatistics 9 (2008).
    """
    seen = abs(difference) / error
    if not (math.isfinite(seen) and seen > critical):
        return difference

    def excess(true: float) -> float:
        above, below = special.ndtr(true - critical), special.ndtr(-true - critical)
        gained = _density(critical - true) - _density(critical + true)
        return float(true + gained / (above + below)) - seen

    if excess(0.0) >= 0:
        return 0.0
    return math.copysign(float(optimize.brentq(excess, 0.0, seen, xtol=1e-12)) * error, difference)


def _density(value: float) -> float:
    return math.exp(-0.5 * value * value) / math.sqrt(2 * math.pi)
