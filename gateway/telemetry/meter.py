"""Counting: the numbers of one process by family and labels, and sums of them over processes.

Numbers only grow, gauges apart. The hot path holds a `Series` and adds to it without a lock, from one thread at a time;
everything else goes through the meter's own lock. A reader that comes in between sees a count of a moment ago.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from gateway.telemetry.families import FAMILIES, OTHER, OVERFLOWED, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Labels = tuple[str, ...]
LABEL_SETS_MAX = 1000
"""Label sets a family has at the most, in one process and in the sum; further ones are counted as `other`."""


class Series:
    """The numbers of one label set.

    Attributes
    ----------
    total
        A counter's or gauge's value; a histogram's or summary's sum, in its family's integers.
    count
        How many values went into a summary's sum.
    counts
        How many values a histogram has in each bucket, the last one without a bound; empty for the others.
    """

    __slots__ = ("bounds", "count", "counts", "total")

    def __init__(self, bounds: tuple[int, ...] = ()) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1) if bounds else []
        self.total: float = 0
        self.count = 0

    def observe(self, value: int, count: int = 1) -> None:
        """Add a value, `count` times, to a histogram."""
        self.counts[bisect_left(self.bounds, value)] += count
        self.total += value * count

    def merge(self, other: Series) -> None:
        """Add another's numbers, of the same family."""
        self.total += other.total
        self.count += other.count
        for place, count in enumerate(other.counts):
            self.counts[place] += count


class Meter:
    """Series by family and labels.

    Parameters
    ----------
    label_sets_max
        How many label sets a family may have.
    """

    def __init__(self, label_sets_max: int = LABEL_SETS_MAX) -> None:
        self._label_sets_max = label_sets_max
        self._lock = threading.Lock()
        self._families: dict[str, dict[Labels, Series]] = {}

    def series(self, family: str, labels: Labels = ()) -> Series:
        """Return the series to add to: that of the labels, or that of `other` when there are too many."""
        with self._lock:
            return self._series(family, labels)

    def count(self, family: str, labels: Labels = (), by: float = 1) -> None:
        """Add to a counter."""
        with self._lock:
            self._series(family, labels).total += by

    def put(self, family: str, labels: Labels, value: float) -> None:
        """Set a gauge, or a counter that is counted elsewhere and is handed over whole."""
        with self._lock:
            self._series(family, labels).total = value

    def observe(self, family: str, labels: Labels, value: int) -> None:
        """Add a value to a histogram."""
        with self._lock:
            self._series(family, labels).observe(value)

    def merge(self, other: Meter, wanted: Callable[[Kind], bool] = lambda _: True) -> None:
        """Add all numbers of another meter, of the kinds that are wanted; of two gauges the greater stays."""
        with self._lock:
            for name, labels, series in other:
                if not wanted(kind := FAMILIES[name].kind):
                    continue
                mine = self._series(name, labels)
                if kind is Kind.GAUGE:
                    mine.total = max(mine.total, series.total)
                else:
                    mine.merge(series)

    def __iter__(self) -> Iterator[tuple[str, Labels, Series]]:
        """Give each family's name, labels and series."""
        for name, sets in list(self._families.items()):
            for labels, series in list(sets.items()):
                yield name, labels, series

    def family(self, name: str) -> dict[Labels, Series]:
        """Return the series of a family, by labels."""
        return dict(self._families.get(name, {}))

    def to_report(self) -> list[list[Any]]:
        """Return everything as JSON takes it; buckets without a value are left out."""
        return [
            [
                name,
                list(labels),
                series.total,
                series.count,
                [[place, count] for place, count in enumerate(series.counts) if count],
            ]
            for name, labels, series in self
        ]

    @classmethod
    def from_report(cls, report: list[list[Any]], label_sets_max: int = LABEL_SETS_MAX) -> Meter:
        """Return the meter of a report; families that are not known here are passed over."""
        meter = cls(label_sets_max)
        for name, labels, total, count, buckets in report:
            if name in FAMILIES:
                series = meter._series(name, tuple(labels))
                series.total = total
                series.count = count
                for place, bucket in buckets:
                    series.counts[place] = bucket
        return meter

    def _series(self, name: str, labels: Labels) -> Series:
        sets = self._families.setdefault(name, {})
        found = sets.get(labels)
        if found is None:
            if labels and len(sets) >= self._label_sets_max and name != OVERFLOWED:
                labels = (OTHER,) * len(labels)
                self._series(OVERFLOWED, (name,)).total += 1
                if labels in sets:
                    return sets[labels]
            found = sets[labels] = Series(FAMILIES[name].bounds)
        return found
