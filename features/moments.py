"""Moments of a column up to the fourth, mergeable."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ShapeMoments:
    r"""The mean and the sums of powers of the differences from it.

    Attributes
    ----------
    n, mean
        How many values, and their mean; 0 where there is none.
    m2, m3, m4
        :math:`\sum (x - \bar x)^k`.

    Notes
    -----
    Sums that leave float64 are kept as its largest number.

    References
    ----------
    P. Pébay, *Formulas for Robust, One-Pass Parallel Computation of Covariances and Arbitrary-Order Statistical
    Moments*, Sandia (2008).
    """

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0
    m3: float = 0.0
    m4: float = 0.0

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> ShapeMoments:
        """Return the moments of finite values."""
        if not len(values):
            return cls()
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float(np.mean(values / 2)) * 2
            off = values - mean
            sums = [float(np.sum(off**power)) for power in (2, 3, 4)]
        return cls(len(values), _kept(mean), *map(_kept, sums))

    @classmethod
    def merged(cls, every: Iterable[ShapeMoments]) -> ShapeMoments:
        """Return the moments of all the values together."""
        total = cls()
        for one in every:
            total = total._with(one)
        return total

    def _with(self, other: ShapeMoments) -> ShapeMoments:
        if not self.n or not other.n:
            return self if self.n else other
        a, b, n = float(self.n), float(other.n), float(self.n + other.n)
        d = other.mean - self.mean
        with np.errstate(over="ignore", invalid="ignore"):
            step = np.float64(d) / n
            m2 = self.m2 + other.m2 + step * d * a * b
            m3 = self.m3 + other.m3 + step * step * d * a * b * (a - b) + 3 * step * (a * other.m2 - b * self.m2)
            m4 = (
                self.m4 + other.m4
                + step**3 * d * a * b * (a * a - a * b + b * b)
                + 6 * step * step * (a * a * other.m2 + b * b * self.m2)
                + 4 * step * (a * other.m3 - b * self.m3)
            )  # fmt: skip
        return ShapeMoments(
            self.n + other.n, _kept(self.mean + step * b), _kept(float(m2)), _kept(float(m3)), _kept(float(m4))
        )

    @property
    def deviation(self) -> float:
        """The standard deviation, of one value less than there are; NaN below two."""
        return math.sqrt(self.m2 / (self.n - 1)) if self.n > 1 else math.nan

    @property
    def skewness(self) -> float:
        """The third standardized moment; NaN where all values are equal."""
        return math.sqrt(self.n) * self.m3 / self.m2**1.5 if self.m2 > 0 and self.m2**1.5 > 0 else math.nan

    @property
    def kurtosis(self) -> float:
        """The fourth standardized moment less 3; NaN where all values are equal."""
        return self.n * self.m4 / (self.m2 * self.m2) - 3 if self.m2 * self.m2 > 0 else math.nan

    def document(self) -> dict[str, float]:
        """Return it as JSON knows it."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, float]) -> ShapeMoments:
        """Return what `document` was made of."""
        return cls(int(document["n"]), *(float(document[name]) for name in ("mean", "m2", "m3", "m4")))


def _kept(value: float) -> float:
    """Return the number as JSON can keep it."""
    if math.isfinite(value):
        return value
    return 0.0 if math.isnan(value) else math.copysign(np.finfo(np.float64).max, value)
