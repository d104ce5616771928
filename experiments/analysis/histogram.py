"""A mergeable sketch of a distribution, from which quantiles follow with a stated error."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

RELATIVE_ERROR = 0.005
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
# What is nearer to zero than this counts as zero.
SMALLEST = 1e-9


def bin_of(value: float) -> int:
    """Return the bin of a value: 0 for zero, positive above it, negative below it, ascending with the value."""
    if abs(value) < SMALLEST:
        return 0
    # Bins begin at 1 for the smallest value, so that the order of the bins is that of the values.
    place = math.ceil(math.log(abs(value) / SMALLEST) / math.log(GAMMA)) + 1
    return place if value > 0 else -place


def value_of(place: int) -> float:
    """Return the value that stands for a bin: within half a percent of each value in it."""
    if place == 0:
        return 0.0
    size = SMALLEST * 2 * GAMMA ** (abs(place) - 1) / (GAMMA + 1)
    return math.copysign(size, place)


@dataclass(frozen=True, slots=True)
class Histogram:
    r"""How many values fell into each logarithmic bin.

    A monoid under `merge`, with `Histogram()` as its neutral element: merging is exact, in any order.

    Parameters
    ----------
    counts
        By bin.

    Notes
    -----
    Bin *i* holds the values in :math:`(\gamma^{i-2}, \gamma^{i-1}]` times 1e-9, with
    :math:`\gamma = (1 + a)/(1 - a)` and *a* = 0.005, and stands for :math:`2\gamma^{i-1}/(\gamma + 1)`: so every
    quantile is within half a percent of an order statistic of the data.

    References
    ----------
    C. Masson, J. E. Rim, H. K. Lee, *DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error
    Guarantees*, VLDB 12 (2019).
    """

    counts: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Iterable[float]) -> Histogram:
        """Return the sketch of the values, all of them finite."""
        return cls(dict(Counter(bin_of(value) for value in values)))

    def merge(self, other: Histogram) -> Histogram:
        """Return the sketch of both sets of values together."""
        total = Counter(self.counts)
        total.update(other.counts)
        return Histogram(dict(total))

    @property
    def n(self) -> int:
        """How many values there are."""
        return sum(self.counts.values())

    def order_statistic(self, rank: int) -> float:
        """Return the value of that rank, from 1 to n, within half a percent."""
        places = sorted(self.counts)
        for place, below in zip(places, accumulate(self.counts[place] for place in places), strict=True):
            if below >= rank:
                return value_of(place)
        raise IndexError(rank)
