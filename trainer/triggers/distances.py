"""How far two distributions lie apart: plain formulas over counts, one row of them or many.

`reference` and `window` hold how many values fell into each cell; the last axis is the cells. Each function returns one
number a row. All of them are 0 for equal distributions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

PSI_LEAST = 1e-4
"""What stands for an empty cell's part in the population stability index, which would be infinite."""


def parts(counts: Counts) -> Floats:
    """Return each cell's part of its row."""
    found: Floats = counts / counts.sum(axis=-1, keepdims=True)
    return found


def kolmogorov_smirnov(reference: Counts, window: Counts) -> Floats:
    r"""Return :math:`\max_x |F(x) - G(x)|`; cells are in the order of their values.

    Assumptions: none. Where a cell holds several values it is the largest difference at the cells' ends, which is at
    most that of the values.

    References
    ----------
    N. Smirnov, *Table for Estimating the Goodness of Fit of Empirical Distributions*, Ann. Math. Stat. 19 (1948).
    """
    gap: Floats = np.abs(np.cumsum(parts(reference), axis=-1) - np.cumsum(parts(window), axis=-1)).max(axis=-1)
    return gap


def wasserstein(reference: Counts, window: Counts, values: Floats) -> Floats:
    r"""Return :math:`\int |F(x) - G(x)|\,dx`, the least mean distance that mass must be moved, in the column's unit.

    Assumptions: a cell's mass lies at its value.

    References
    ----------
    L. N. Vaserstein, *Markov Processes over Denumerable Products of Spaces*, Probl. Inf. Transm. 5 (1969).
    """
    gap = np.abs(np.cumsum(parts(reference), axis=-1) - np.cumsum(parts(window), axis=-1))
    moved: Floats = np.sum(gap[..., :-1] * np.diff(values), axis=-1)
    return moved


def jensen_shannon(reference: Counts, window: Counts) -> Floats:
    r"""Return the square root of the divergence of Jensen and Shannon in bits: 0 to 1.

    :math:`\sqrt{\frac12 KL(p \| m) + \frac12 KL(q \| m)}` with :math:`m = (p + q) / 2`.

    Assumptions: none, but with few values in a cell it is biased upwards, which its significance makes up for.

    References
    ----------
    D. M. Endres, J. E. Schindelin, *A New Metric for Probability Distributions*, IEEE Trans. Inf. Theory 49 (2003).
    """
    p, q = parts(reference), parts(window)
    middle = (p + q) / 2
    return np.sqrt(np.maximum(0.0, (_relative(p, middle) + _relative(q, middle)) / 2))


def population_stability(reference: Counts, window: Counts, *, least: float = PSI_LEAST) -> Floats:
    r"""Return :math:`\sum (q - p) \ln (q / p)`, a part below `least` taken for `least`.

    Assumptions: none. Under no drift it is about :math:`\chi^2_{k-1} (1/n + 1/m)`: the customary 0.1 and 0.2 say
    nothing without the sizes.

    References
    ----------
    B. Yurdakul, J. Naranjo, *Statistical Properties of the Population Stability Index*, J. Risk Model Valid. 14 (2020).
    """
    p, q = parts(reference), parts(window)
    p, q = np.where(p == 0, least, p), np.where(q == 0, least, q)
    index: Floats = np.sum((q - p) * np.log(q / p), axis=-1)
    return index


def chi_squared(reference: Counts, window: Counts) -> Floats:
    r"""Return Pearson's :math:`\sum (o - e)^2 / e` over both rows of the table, empty cells left out.

    Assumptions: of its :math:`\chi^2_{k-1}` distribution, not of the number: at least five expected in each cell.

    References
    ----------
    K. Pearson, *On the Criterion …*, Philosophical Magazine 50 (1900).
    """
    both = reference + window
    total = both.sum(axis=-1, keepdims=True)
    found = np.zeros(both.shape[:-1])
    for side in (reference, window):
        expected = both * (side.sum(axis=-1, keepdims=True) / total)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = found + np.sum(np.where(expected > 0, (side - expected) ** 2 / expected, 0.0), axis=-1)
    return found


def l_infinity(reference: Counts, window: Counts) -> Floats:
    r"""Return :math:`\max_i |p_i - q_i|`, the largest change of a category's part.

    Assumptions: none. It sees one category at a time.
    """
    change: Floats = np.abs(parts(reference) - parts(window)).max(axis=-1)
    return change


def _relative(p: Floats, q: Floats) -> Floats:
    """Return the divergence of Kullback and Leibler in bits."""
    with np.errstate(invalid="ignore", divide="ignore"):
        total: Floats = np.sum(np.where(p > 0, p * np.log2(p / q), 0.0), axis=-1)
    return total
