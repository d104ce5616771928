"""Whether a difference is more than chance: p-values, and what many of them together allow to say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from experiments.lazy_scipy import stats
from trainer.triggers import distances

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from trainer.triggers.cells import Cells

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

EXACT_ROWS_MAX = 10_000
EXPECTED_MIN = 5
EXCEEDANCES = 20
DRAWS_MIN, DRAWS_MAX = 999, 99_999
_DRAWS_FIRST, _DRAWS_AT_ONCE = 64, 4_096


def kolmogorov_smirnov_p(cells: Cells) -> float:
    r"""Return the probability of a difference of the distribution functions at least as large, if there is no drift.

    Exact for exact cells of at most 10 000 values a side, as scipy counts it; else the distribution of Kolmogorov's
    one-sample statistic at :math:`nm / (n + m)` values.

    Assumptions: independent values. Ties and cells make it too large, never too small.

    References
    ----------
    J. L. Hodges, *The Significance Probability of the Smirnov Two-Sample Test*, Ark. Mat. 3 (1958).
    """
    n, m = int(cells.reference.sum()), int(cells.window.sum())
    if cells.exact and max(n, m) <= EXACT_ROWS_MAX:
        first, second = np.repeat(cells.values, cells.reference), np.repeat(cells.values, cells.window)
        return float(stats.ks_2samp(first, second).pvalue)
    statistic = float(distances.kolmogorov_smirnov(cells.reference, cells.window))
    return float(stats.kstwo.sf(statistic, max(1, round(n * m / (n + m)))))


def chi_squared_p(cells: Cells, *, draws_max: int, seed: Sequence[int]) -> float:
    r"""Return the probability of a :math:`\chi^2` at least as large, if there is no drift.

    By :math:`\chi^2_{k-1}` where at least five are expected in each cell, else by `permutation_p`.

    Assumptions: independent values.
    """
    n, m = cells.reference.sum(), cells.window.sum()
    both = cells.reference + cells.window
    if both.min() * min(n, m) >= EXPECTED_MIN * (n + m):
        return float(stats.chi2.sf(distances.chi_squared(cells.reference, cells.window), len(both) - 1))
    return permutation_p(distances.chi_squared, cells, draws_max=draws_max, seed=seed)


def permutation_p(
    statistic: Callable[[Counts, Counts], Floats], cells: Cells, *, draws_max: int, seed: Sequence[int]
) -> float:
    r"""Return the probability of a statistic at least as large, if reference and window are one heap divided by chance.

    Parameters
    ----------
    statistic
        Of counts of the reference and of the window, of many rows at once.
    cells
        The counts.
    draws_max, seed
        How many divisions are drawn at most, and from which seed.

    Notes
    -----
    How a division falls into cells is multivariate hypergeometric, so no value is moved. It ends when *h* = 20 draws
    were at least as large: then p = h / draws, else (exceedances + 1) / (draws + 1). Both are valid p-values.

    Assumptions: the rows are exchangeable if there is no drift: independent, or at least without order.

    References
    ----------
    J. Besag, P. Clifford, *Sequential Monte Carlo p-Values*, Biometrika 78 (1991).
    """
    generator = np.random.default_rng(list(seed))
    both, size = cells.reference + cells.window, int(cells.window.sum())
    least = float(statistic(cells.reference, cells.window)) * (1 - 1e-12)
    exceeded = drawn = 0
    at_once = _DRAWS_FIRST
    while drawn < draws_max:
        count = min(at_once, draws_max - drawn)
        windows = generator.multivariate_hypergeometric(both, size, size=count, method="marginals")
        larger = np.cumsum(statistic(both - windows, windows) >= least) + exceeded
        if larger[-1] >= EXCEEDANCES:
            return EXCEEDANCES / (drawn + int(np.searchsorted(larger, EXCEEDANCES)) + 1)
        exceeded, drawn = int(larger[-1]), drawn + count
        at_once = min(2 * at_once, _DRAWS_AT_ONCE)
    return (exceeded + 1) / (drawn + 1)


def draws_for(tests: int, alpha: float) -> int:
    """Return how many draws let the smallest p-value be found by `benjamini_hochberg` among so many tests."""
    return min(DRAWS_MAX, max(DRAWS_MIN, math.ceil(4 * tests / alpha)))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    r"""Return adjusted p-values: those at most alpha may be flagged with a false discovery rate of at most alpha.

    :math:`\min_{j \ge i} m p_{(j)} / j`. If there is no drift anywhere the rate is the probability of any flag at all.

    Assumptions: independent tests, or positively dependent ones.

    References
    ----------
    Y. Benjamini, Y. Hochberg, *Controlling the False Discovery Rate*, JRSS B 57 (1995).
    """
    given = np.asarray(p_values, np.float64)
    if not len(given):
        return []
    order = np.argsort(-given, kind="stable")
    ranks = len(given) - np.arange(len(given))
    adjusted = np.empty(len(given))
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(given[order] * len(given) / ranks))
    return [float(value) for value in adjusted]
