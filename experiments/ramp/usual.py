"""What is slow: known by what the control's calls took lately, in runs of about as many rows.

Calls of one wave are answered together, so a latency alone would measure one version by the other's runs. Two times are
looked at instead: a call's own latency, which is its latency less the runs of other versions for the rest of its wave,
and the run of its version itself. Either of them may be slow.

A run of more rows takes longer, and the two versions rarely have as many. A run is held against those of the control
that had nearly as many rows and no fewer; where there are none, their times are taken times the ratio of the rows. No
version costs more than that by rows alone, if twice the rows take at most twice the time: so a candidate is never slow
because it had more calls, or fewer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from experiments.ramp.definition import Guardrail

CALLS_MAX = 1_000
"""Calls of the control that are remembered."""
CALLS_MIN = 50
"""Nothing is slow before there are so many."""
NEAR_MAX = 200
"""Of so many the quantile is taken: those with the most fitting rows, the newest first."""
SLACK_US = 1_000
"""What a time may always be above the control's quantile."""


class Took(NamedTuple):
    """What a call took: its own latency, the runs of its version in its wave, and the rows of those."""

    own_us: int
    run_us: int = 0
    run_rows: int = 0


class Limits(NamedTuple):
    """Above these a call is slow; 0 where that cannot be told, or is not asked."""

    own_us: int = 0
    run_us: int = 0

    def passed_by(self, took: Took) -> bool:
        """Whether a call is slow."""
        return bool(self.own_us and took.own_us > self.own_us) or bool(self.run_us and took.run_us > self.run_us)


class Usual:
    """What the control's calls took.

    Parameters
    ----------
    before
        That of the window before: what it knows is a beginning.
    """

    def __init__(self, before: Usual | None = None) -> None:
        self._took = np.zeros((CALLS_MAX, len(Took._fields)), np.int64)
        self._count = 0
        if before is not None:
            self._took[:], self._count = before._took, before._count  # noqa: SLF001  (of its own class)
        self._limits: dict[tuple[Guardrail, int], Limits] = {}
        self.settle()

    def add(self, took: Took) -> None:
        """Remember a call of the control; it counts from the next time on that the limits are settled."""
        self._took[self._count % CALLS_MAX] = took
        self._count += 1

    def settle(self) -> None:
        """Let the limits be made of all the calls until now."""
        newest_first = (self._count - 1 - np.arange(min(self._count, CALLS_MAX))) % CALLS_MAX
        took = self._took[newest_first]
        self._by_rows = took[np.argsort(took[:, 2], kind="stable")]
        self._limits.clear()

    def limits(self, guardrail: Guardrail, rows: int | None = None) -> Limits:
        """Return what is slow for a call whose run has so many rows, as it was settled; None: as the control's have."""
        if guardrail.limit_us:
            return Limits(guardrail.limit_us)
        if len(self._by_rows) < CALLS_MIN:
            return Limits()
        if rows is None:
            rows = int(self._by_rows[len(self._by_rows) // 2, 2])
        found = self._limits.get((guardrail, rows))
        if found is None:
            found = self._limits[guardrail, rows] = self._limits_for(guardrail, rows)
        return found

    def _limits_for(self, guardrail: Guardrail, rows: int) -> Limits:
        first = int(np.searchsorted(self._by_rows[:, 2], rows))
        first = max(0, min(first, len(self._by_rows) - NEAR_MAX))
        own_us, run_us, run_rows = self._by_rows[first : first + NEAR_MAX].T
        more = np.maximum(1.0, rows / np.maximum(run_rows, 1)) - 1
        times = (own_us + more * run_us, run_us + more * run_us)
        return Limits(*(_above(each, guardrail) for each in times))


def _above(times_us: np.ndarray, guardrail: Guardrail) -> int:
    """Return what is too slow where these are usual."""
    place = min(len(times_us) - 1, int(guardrail.quantile * len(times_us)))
    usual = float(np.partition(times_us, place)[place])
    return int(max(usual * guardrail.ratio, usual + SLACK_US))
