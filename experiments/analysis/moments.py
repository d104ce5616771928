"""Mergeable sufficient statistics of one variable."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Moments:
    """How many values there were, their mean, and the sum of their squared deviations from it.

    A monoid under `merge`, with `Moments()` as its neutral element.

    Notes
    -----
    ``merge`` is the pairwise update of Chan, Golub and LeVeque, *Algorithms for Computing the Sample Variance* (The
    American Statistician 37, 1983), which does not lose digits when the mean is large against the spread, as sums of
    squares do.

    Examples
    --------
    >>> Moments.of([1.0, 2.0]).merge(Moments.of([3.0]))
    Moments(n=3, mean=2.0, m2=2.0)
    """

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0

    @classmethod
    def of(cls, values: Iterable[float]) -> Moments:
        """Return the moments of the values, from exact sums."""
        kept = list(values)
        if not kept:
            return cls()
        mean = math.fsum(kept) / len(kept)
        return cls(len(kept), mean, math.fsum((value - mean) ** 2 for value in kept))

    def merge(self, other: Moments) -> Moments:
        """Return the moments of both sets of values together."""
        if self.n == 0:
            return other
        if other.n == 0:
            return self
        n = self.n + other.n
        apart = other.mean - self.mean
        return Moments(n, self.mean + apart * other.n / n, self.m2 + other.m2 + apart * apart * self.n * other.n / n)

    @property
    def variance(self) -> float:
        """The unbiased sample variance; NaN for fewer than two values."""
        return self.m2 / (self.n - 1) if self.n > 1 else math.nan
