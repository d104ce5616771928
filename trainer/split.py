"""Parts of a table in the order of time: what is learned from, what calibrates and stops, what judges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainer.errors import TrainingTableError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Indexes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Parts:
    """Which rows are in which part, each in the order of time.

    Attributes
    ----------
    train, validation, test
        The rows' numbers [n]; those in the gaps are in none.
    """

    train: Indexes
    validation: Indexes
    test: Indexes


def split(event_time_us: Indexes, *, validation_share: float, test_share: float, gap_us: int) -> Parts:
    """Return the parts, or raise TrainingTableError when a gap leaves one without rows.

    A part ends so long before the next one begins that the label of its last row was known by then.

    Parameters
    ----------
    event_time_us
        The rows' times [n].
    validation_share, test_share
        The parts of the rows behind those that are learned from.
    gap_us
        The time between two parts.
    """
    order = np.argsort(event_time_us, kind="stable")
    times = event_time_us[order]
    count = len(times)
    # Parts begin between two times: rows of one moment stay together.
    starts = [
        int(np.searchsorted(times, times[min(int(count * share), count - 1)])) if count else 0
        for share in (1 - validation_share - test_share, 1 - test_share)
    ]
    validation_start, test_start = starts
    test = order[test_start:]
    validation = order[validation_start : _end(times, test_start, gap_us)] if validation_share else order[:0]
    train = order[: _end(times, validation_start if validation_share else test_start, gap_us)]
    parts = {"train": train, "test": test} | ({"validation": validation} if validation_share else {})
    for name, rows in parts.items():
        if not len(rows):
            raise TrainingTableError(
                f"the part {name!r} has no rows: the table has {count} and the gap is {gap_us / 1e6:g} s", part=name
            )
    return Parts(train, validation, test)


def walk(event_time_us: Indexes, parts: Parts, *, folds: int, validation_share: float, gap_us: int) -> list[Parts]:
    """Return the folds of a walk forward, the earliest first: the part that judges, cut, each with the rows before it.

    Parameters
    ----------
    event_time_us
        The rows' times [n].
    parts
        The whole; its `test` is cut into parts of equal rows, between two times.
    folds
        Into how many.
    validation_share
        The part of all rows before a fold that validates.
    gap_us
        The time between two parts.

    Raises
    ------
    TrainingTableError
        A fold has no rows.
    """
    times = event_time_us[parts.test]
    starts = [int(np.searchsorted(times, times[len(times) * at // folds])) for at in range(folds)]
    ends = [*starts[1:], len(times)]
    order = np.argsort(event_time_us, kind="stable")
    sorted_us = event_time_us[order]
    found = []
    for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1):
        if start == end:
            raise TrainingTableError(f"the fold {number} of {folds} has no rows", part="test")
        test = parts.test[start:end]
        first = int(np.searchsorted(sorted_us, event_time_us[test[0]]))
        validation_start = first - int(len(order) * validation_share)
        if validation_start > 0:
            validation_start = int(np.searchsorted(sorted_us, sorted_us[validation_start]))
        validation = order[validation_start : _end(sorted_us, first, gap_us)] if validation_share else order[:0]
        train = order[: _end(sorted_us, validation_start if validation_share else first, gap_us)]
        if not len(train) or (validation_share and not len(validation)):
            raise TrainingTableError(f"the fold {number} of {folds} has no rows to learn from", part="train")
        found.append(Parts(train, validation, test))
    return found


def _end(times: Indexes, start: int, gap_us: int) -> int:
    """Return how many rows come so long before the part that starts at a row."""
    if start >= len(times):
        return len(times)
    return min(start, int(np.searchsorted(times, times[start] - gap_us, side="left")) if gap_us else start)
