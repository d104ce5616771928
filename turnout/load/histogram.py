"""Counts of whole numbers in buckets whose width grows with the value: the layout of HdrHistogram.

A value below 2048 has a bucket of its own; above, a bucket is at most a thousandth of its values wide (three digits are
kept). Histograms of several processes are added bucket by bucket, and lose nothing more by it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray

_HALF_BITS = 10
_HALF = 1 << _HALF_BITS
VALUE_MAX = (1 << 40) - 1
"""Of microseconds that is twelve days; what is longer counts as this."""
_HALVES = VALUE_MAX.bit_length() - _HALF_BITS + 1
_TICKS_PER_HALF = 5
_JUST_BELOW = 1 - 1e-12
"""A rank that is whole but for its rounding is that whole."""


@dataclass(slots=True)
class Histogram:
    """How often each value was seen, to three digits; the least and the greatest exactly."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_HALVES * _HALF, np.int64))
    least: int = VALUE_MAX
    greatest: int = 0

    def record(self, values: ArrayLike) -> None:
        """Count values; one below zero counts as zero."""
        clipped = np.clip(np.asarray(values, np.int64), 0, VALUE_MAX)
        if clipped.size:
            self.counts += np.bincount(_indexes(clipped), minlength=len(self.counts))
            self.least = min(self.least, int(clipped.min()))
            self.greatest = max(self.greatest, int(clipped.max()))

    def add(self, other: Histogram) -> None:
        """Count all that another one has."""
        self.counts += other.counts
        self.least, self.greatest = min(self.least, other.least), max(self.greatest, other.greatest)

    @property
    def total(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    def percentile(self, percent: float) -> int:
        """Return the least value that at least so many percent of the values do not exceed; 0 of none.

        It is told to three digits, as the greatest value of its bucket.
        """
        total = self.total
        if not total:
            return 0
        wanted = min(total, max(1, math.ceil(percent / 100 * total * _JUST_BELOW)))
        place = int(np.searchsorted(np.cumsum(self.counts), wanted))
        return min(_greatest_of(place), self.greatest)

    def mean(self) -> float:
        """Return the mean of the values, each taken as the middle of its bucket; NaN of none."""
        total = self.total
        return float((self.counts * _middles()).sum() / total) if total else math.nan

    def deviation(self) -> float:
        """Return the standard deviation, likewise; NaN of none."""
        total = self.total
        if not total:
            return math.nan
        return math.sqrt(float((self.counts * (_middles() - self.mean()) ** 2).sum() / total))

    def above(self, value: int) -> int:
        """Return how many values are in buckets above a value's own."""
        return int(self.counts[int(_indexes(np.array([value]))[0]) + 1 :].sum())

    def spectrum(self) -> Iterator[tuple[int, float, int]]:
        """Yield values with the share that does not exceed them and their number, ever closer to the whole.

        Five steps halve the share that is left, as HdrHistogram's percentile files have it.
        """
        sums = np.cumsum(self.counts)
        total, share = int(sums[-1]), 0.0
        while total:
            place = int(np.searchsorted(sums, max(1, math.ceil(share * total))))
            seen = int(sums[place])
            if seen == total:
                yield self.greatest, 1.0, total
                return
            yield _greatest_of(place), share, seen
            halvings = int(math.log2(1 / (1 - share))) + 1
            share = max(share + 1 / (_TICKS_PER_HALF << halvings), math.nextafter(seen / total, 1))

    def document(self) -> dict[str, object]:
        """Return it as JSON's values: the buckets that have counts, by their places."""
        (places,) = np.nonzero(self.counts)
        counts = {str(place): int(self.counts[place]) for place in places}
        return {"least": self.least, "greatest": self.greatest, "counts": counts}

    @classmethod
    def of_document(cls, document: Mapping[str, object]) -> Self:
        """Return what `document` told."""
        made = cls(least=int(document["least"]), greatest=int(document["greatest"]))  # type: ignore[call-overload]
        for place, count in document["counts"].items():  # type: ignore[attr-defined]
            made.counts[int(place)] = count
        return made


def hgrm(histogram: Histogram, *, scale: float) -> str:
    """Return the text that HdrHistogram's tools plot; each value is divided by the scale."""
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
    for value, share, seen in histogram.spectrum():
        end = "" if share == 1 else f" {1 / (1 - share):14.2f}"
        lines.append(f"{value / scale:12.3f} {share:2.12f} {seen:10d}{end}")
    facts: Iterable[tuple[str, str, str, str]] = (
        ("Mean", f"{histogram.mean() / scale:12.3f}", "StdDeviation", f"{histogram.deviation() / scale:12.3f}"),
        ("Max", f"{histogram.greatest / scale:12.3f}", "Total count", f"{histogram.total:12d}"),
        ("Buckets", f"{_HALVES - 1:12d}", "SubBuckets", f"{2 * _HALF:12d}"),
    )
    lines += [f"#[{one:<7} = {first}, {other:<12} = {second}]" for one, first, other, second in facts]
    return "\n".join(lines) + "\n"


def _indexes(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the buckets of values: those below 2048 have their own, then 1024 for each doubling."""
    doublings = np.maximum(np.frexp(values.astype(np.float64))[1].astype(np.int64) - (_HALF_BITS + 1), 0)
    return (doublings << _HALF_BITS) + (values >> doublings)


def _greatest_of(place: int) -> int:
    """Return the greatest value of a bucket."""
    doublings = max((place >> _HALF_BITS) - 1, 0)
    return ((place - (doublings << _HALF_BITS) + 1) << doublings) - 1


def _middles() -> NDArray[np.float64]:
    places = np.arange(_HALVES * _HALF)
    doublings = np.maximum((places >> _HALF_BITS) - 1, 0)
    middles: NDArray[np.float64] = ((places - (doublings << _HALF_BITS)) << doublings) + (1 << doublings) // 2.0
    return middles
