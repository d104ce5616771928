"""A planned number of looks that share alpha: group sequential tests by alpha spending."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from experiments.analysis.findings import Interval
from experiments.lazy_scipy import optimize, special
from experiments.plan import Spending

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from experiments.analysis.findings import Contrast

POWER_DEFAULT = 2.0
# Beyond it a normal deviate has less than 1e-32 in its tails: a boundary is out of reach.
_FAR = 12.0
_NODES_MIN, _NODES_MAX = 96, 768
_P_VALUE_MIN = 1e-12


def spent(fraction: float, *, alpha: float, spending: Spending = Spending.OBRIEN_FLEMING) -> float:
    r"""Return how much of alpha may be spent when that part of the planned information is there.

    Notes
    -----
    O'Brien-Fleming-like: :math:`4 (1 - \Phi(z_{1-\alpha/4} / \sqrt t))`, two-sided. Power family: :math:`\alpha t^2`.
    """
    if fraction <= 0:
        return 0.0
    if fraction >= 1:
        return alpha
    if spending is Spending.POWER:
        return float(alpha * fraction**POWER_DEFAULT)
    return float(4 * special.ndtr(special.ndtri(alpha / 4) / math.sqrt(fraction)))


def boundaries(
    fractions: Sequence[float], *, alpha: float, spending: Spending = Spending.OBRIEN_FLEMING
) -> tuple[float, ...]:
    r"""Return how many standard errors the difference must reach at each look.

    Parameters
    ----------
    fractions
        The part of the planned information at each look, ascending; those past 1 spend what is left.

    Notes
    -----
    The scores :math:`S_k = Z_k \sqrt{t_k}` have independent normal increments of variance :math:`t_k - t_{k-1}`. Their
    density where no boundary was crossed is carried from look to look by Gauss-Legendre quadrature, and each boundary
    is the root at which the probability of crossing it first is what the spending function grants. A look that is
    granted less than 1e-15 has an infinite boundary.

    References
    ----------
    K. K. G. Lan, D. L. DeMets, *Discrete sequential boundaries for clinical trials*, Biometrika 70 (1983).
    P. Armitage, C. K. McPherson, B. C. Rowe, *Repeated significance tests on accumulating data*, JRSS A 132 (1969).
    C. Jennison, B. W. Turnbull, *Group Sequential Methods*, chapter 19 (2000).
    """
    result: list[float] = []
    nodes, density = np.zeros(1), np.ones(1)  # all mass at 0, times its weight
    before, used = 0.0, 0.0
    for fraction in fractions:
        grant = spent(fraction, alpha=alpha, spending=spending) - used
        gained = fraction - before
        bound = _boundary(nodes, density, fraction=fraction, gained=gained, grant=grant)
        result.append(bound)
        used += max(grant, 0.0)
        nodes, density = _carry(nodes, density, fraction=fraction, gained=gained, bound=bound)
        before = fraction
    return tuple(result)


def sequential_p_value(
    fractions: Sequence[float], deviates: Sequence[float], *, spending: Spending = Spending.OBRIEN_FLEMING
) -> float:
    """Return the least alpha at which one of the looks has crossed its boundary; never below 1e-12."""

    def crossed(alpha: float) -> bool:
        bounds = boundaries(fractions, alpha=alpha, spending=spending)
        return any(abs(z) >= bound for z, bound in zip(deviates, bounds, strict=True))

    low, high = math.log(_P_VALUE_MIN), 0.0
    if crossed(_P_VALUE_MIN):
        return _P_VALUE_MIN
    if not crossed(1 - 1e-9):
        return 1.0
    while high - low > 1e-4:  # noqa: PLR2004  (a ten-thousandth of the p-value)
        middle = (low + high) / 2
        if crossed(math.exp(middle)):
            high = middle
        else:
            low = middle
    return math.exp(high)


def look_interval(
    found: Contrast,
    *,
    fractions: Sequence[float],
    deviates: Sequence[float],
    alpha: float,
    spending: Spending = Spending.OBRIEN_FLEMING,
) -> Interval:
    """Return the repeated confidence interval at the last of the looks, and the p-value that all of them leave.

    Parameters
    ----------
    fractions, deviates
        Of every look that alpha was spent on, the present one last.
    """
    critical = min(_FAR, boundaries(fractions, alpha=alpha, spending=spending)[-1])
    half = critical * found.standard_error
    p_value = sequential_p_value(fractions, deviates, spending=spending)
    return Interval(found.difference - half, found.difference + half, p_value, critical)


@functools.lru_cache(maxsize=8)
def _gauss_legendre(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the nodes and weights on [-1, 1]; their computation is the cube of their number."""
    return np.polynomial.legendre.leggauss(count)


def _boundary(
    nodes: NDArray[np.float64], density: NDArray[np.float64], *, fraction: float, gained: float, grant: float
) -> float:
    """Return the boundary whose first crossing has the granted probability."""
    if grant < 1e-15 or gained <= 0:  # noqa: PLR2004  (nothing that could be told from rounding)
        return math.inf
    root, step = math.sqrt(fraction), math.sqrt(gained)

    def excess(bound: float) -> float:
        edge = bound * root
        tails = special.ndtr((nodes - edge) / step) + special.ndtr((-edge - nodes) / step)
        return float(density @ tails) - grant

    if excess(_FAR) > 0:
        return math.inf
    if excess(0.0) < 0:
        return 0.0
    return float(optimize.brentq(excess, 0.0, _FAR, xtol=1e-11, rtol=1e-13))


def _carry(
    nodes: NDArray[np.float64], density: NDArray[np.float64], *, fraction: float, gained: float, bound: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the next look's nodes, and the density at them times their weights, where nothing was crossed."""
    if gained <= 0:
        return nodes, density
    edge = min(bound, 9.0) * math.sqrt(fraction)
    step = math.sqrt(gained)
    count = _NODES_MIN
    while count < min(_NODES_MAX, 12 * edge / step):
        count *= 2
    places, weights = _gauss_legendre(count)
    places, weights = places * edge, weights * edge
    kernel = np.exp(-0.5 * ((places[:, None] - nodes[None, :]) / step) ** 2) / (step * math.sqrt(2 * math.pi))
    return places, (kernel @ density) * weights
