"""Mergeable sufficient statistics of several variables of one unit together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.analysis.moments import Moments

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class JointMoments:
    """How many units there were, the means of their variables, and the sums of the products of their deviations.

    A monoid under `merge`, with `JointMoments()` as its neutral element.

    Parameters
    ----------
    n
        The number of units.
    means
        Of each variable.
    products
        The symmetric matrix of the sums of products of deviations, by rows.

    Notes
    -----
    ``merge`` adds to each entry ``(a_i - b_i) (a_j - b_j) n_a n_b / (n_a + n_b)``: the pairwise update of Chan, Golub
    and LeVeque for co-moments. Counting units by weights needs nothing else: a stratum's weight is put on its estimate.

    References
    ----------
    P. Pébay, *Formulas for Robust, One-Pass Parallel Computation of Covariances and Arbitrary-Order Statistical
    Moments*, Sandia report SAND2008-6212 (2008).

    Examples
    --------
    >>> JointMoments.of([(1.0, 2.0)]).merge(JointMoments.of([(3.0, 2.0)]))
    JointMoments(n=2, means=(2.0, 2.0), products=((2.0, 0.0), (0.0, 0.0)))
    """

    n: int = 0
    means: tuple[float, ...] = ()
    products: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def of(cls, rows: Iterable[Sequence[float]]) -> JointMoments:
        """Return the moments of the rows, a unit each."""
        table = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows), dtype=np.float64)
        if table.size == 0:
            return cls()
        with np.errstate(all="ignore"):
            means = table.mean(axis=0)
            apart = table - means
            products = apart.T @ apart
        return cls(len(table), _row(means), _rows(products))

    def merge(self, other: JointMoments) -> JointMoments:
        """Return the moments of both sets of units together."""
        if self.n == 0:
            return other
        if other.n == 0:
            return self
        n = self.n + other.n
        with np.errstate(all="ignore"):
            apart = np.asarray(other.means) - np.asarray(self.means)
            means = np.asarray(self.means) + apart * (other.n / n)
            products = (
                np.asarray(self.products)
                + np.asarray(other.products)
                + np.outer(apart, apart) * (self.n * (other.n / n))
            )
        return JointMoments(n, _row(means), _rows(products))

    def project(self, gradient: Sequence[float], value: float) -> Moments:
        """Return the moments of the linear combination of the variables, with its mean put at a value.

        By the delta method a smooth function of the means varies as the combination by its gradient does.
        """
        slope = np.asarray(gradient)
        with np.errstate(all="ignore"):
            spread = float(slope @ np.asarray(self.products) @ slope)
        return Moments(self.n, value, spread if math.isnan(spread) else max(0.0, spread))

    def pick(self, position: int) -> JointMoments:
        """Return the moments of one variable as a numerator over the denominator 1."""
        return JointMoments(self.n, (self.means[position], 1.0), ((self.products[position][position], 0.0), (0.0, 0.0)))

    def matrix(self) -> NDArray[np.float64]:
        """Return the products as an array."""
        return np.asarray(self.products, dtype=np.float64)


def _row(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _rows(values: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(_row(row) for row in values)
