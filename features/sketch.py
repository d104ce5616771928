"""A mergeable sketch of a distribution: the values that bear the most, with how many lie up to each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Counts = NDArray[np.int64]

POINTS_MAX = 256


@dataclass(frozen=True, slots=True)
class Sketch:
    r"""How many values lie in each cell :math:`(v_{i-1}, v_i]`.

    Attributes
    ----------
    values
        The upper ends of the cells, ascending; the first is the minimum, the last the maximum; float64 [points].
    counts
        How many values lie in each; int64 [points].
    error
        By how many values the distribution function may be wrong, between the points and at them: 0 while every
        distinct value has its own point.

    Notes
    -----
    A sketch of at most `POINTS_MAX` distinct values is exact. A larger one keeps the points at the ranks
    :math:`\lceil n j / k \rceil`, so that its cells bear about n / k values each. `error` is kept along: what lies
    inside a cell is not known any more, and the errors of what is merged add up. Merging does not depend on the order
    of the two, nor on anything random.

    References
    ----------
    G. S. Manku, S. Rajagopalan, B. G. Lindsay, *Approximate Medians and other Quantiles in One Pass and with Limited
    Memory*, SIGMOD (1998).
    """

    values: Floats
    counts: Counts
    error: int = 0

    @classmethod
    def of(cls, values: Floats) -> Sketch:
        """Return the exact sketch of finite values, in any order."""
        distinct, counts = np.unique(values, return_counts=True)
        return cls(distinct.astype(np.float64), counts.astype(np.int64))

    @property
    def n(self) -> int:
        """How many values there are."""
        return int(self.counts.sum())

    def compressed(self, points_max: int = POINTS_MAX) -> Sketch:
        """Return a sketch of at most so many points, at least two."""
        if len(self.values) <= points_max:
            return self
        upto = np.cumsum(self.counts)
        ranks = -(-upto[-1] * np.arange(1, points_max) // (points_max - 1))
        kept = np.unique(np.concatenate([[0], np.searchsorted(upto, ranks)]))
        counts = np.diff(upto[kept], prepend=0)
        inside = int(np.max(counts - self.counts[kept]))
        return Sketch(self.values[kept], counts, self.error + inside)

    def merged(self, *others: Sketch) -> Sketch:
        """Return the sketch of all the values together, not compressed."""
        every = (self, *others)
        values, places = np.unique(np.concatenate([one.values for one in every]), return_inverse=True)
        counts = np.zeros(len(values), np.int64)
        np.add.at(counts, places, np.concatenate([one.counts for one in every]))
        return Sketch(values, counts, sum(one.error for one in every))

    def cdf(self, at: Floats) -> Floats:
        """Return the part of the values that are at most each of these; NaN for an empty sketch."""
        upto = np.concatenate([[0], np.cumsum(self.counts)])
        with np.errstate(invalid="ignore"):
            return upto[np.searchsorted(self.values, at, side="right")] / np.float64(upto[-1])

    def quantile(self, part: float) -> float:
        """Return the least point up to which at least this part of the values lies; NaN for an empty sketch."""
        if not len(self.values):
            return float("nan")
        rank = max(1, int(np.ceil(part * self.n)))
        return float(self.values[np.searchsorted(np.cumsum(self.counts), rank)])

    def document(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {"values": self.values.tolist(), "counts": self.counts.tolist(), "error": self.error}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Sketch:
        """Return what `document` was made of, or raise ValueError."""
        values, counts = np.asarray(document["values"], np.float64), np.asarray(document["counts"], np.int64)
        if values.ndim != 1 or values.shape != counts.shape or np.any(np.diff(values) <= 0) or np.any(counts < 1):
            raise ValueError("a sketch has ascending values, and a count for each")
        return cls(values, counts, int(document["error"]))


@dataclass(frozen=True, slots=True)
class TopValues:
    """The most frequent values, with lower bounds of their counts that are short by at most `error`.

    Notes
    -----
    The summary of Misra and Gries: past `TOP_MAX` distinct values each count loses that of the next one. What is more
    frequent than `error` is always there.

    References
    ----------
    P. K. Agarwal et al., *Mergeable Summaries*, PODS (2012).
    """

    counts: Mapping[float, int]
    error: int = 0

    @classmethod
    def of(cls, values: Floats) -> TopValues:
        """Return the summary of finite values, in any order."""
        distinct, counts = np.unique(values, return_counts=True)
        return cls._cut(distinct, counts, 0)

    @classmethod
    def merged(cls, every: Iterable[TopValues]) -> TopValues:
        """Return the summary of all the values together."""
        total: dict[float, int] = {}
        error = 0
        for one in every:
            error += one.error
            for value, count in one.counts.items():
                total[value] = total.get(value, 0) + count
        return cls._cut(np.array(list(total), np.float64), np.array(list(total.values()), np.int64), error)

    @classmethod
    def _cut(cls, values: Floats, counts: Counts, error: int) -> TopValues:
        order = np.lexsort((values, -counts))
        values, counts = values[order], counts[order]
        lost = int(counts[TOP_MAX]) if len(counts) > TOP_MAX else 0
        kept = counts[:TOP_MAX] > lost
        pairs = zip(values[:TOP_MAX][kept].tolist(), (counts[:TOP_MAX][kept] - lost).tolist(), strict=True)
        return cls(dict(pairs), error + lost)

    def document(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        return {"counts": [[value, count] for value, count in self.counts.items()], "error": self.error}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> TopValues:
        """Return what `document` was made of."""
        return cls({float(value): int(count) for value, count in document["counts"]}, int(document["error"]))


TOP_MAX = 32
"""How many of the most frequent values are kept."""
