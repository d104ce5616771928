"""Whether a version is slow: measured by its runs, and not taken back at the first quick one."""

from __future__ import annotations

SCORE_MAX = 8
"""How far the runs beyond the limit may be ahead of the others, or behind them."""


class Pace:
    """Tells whether the median run of a version takes longer than a limit.

    Theory of operation
    -------------------
    Each run past the limit adds one to a score, each other takes one away, within bounds: the score climbs exactly when
    more than half of the runs are past the limit, that is when the median is. At the upper bound the version becomes
    slow, and then the limit is halved; at the lower bound it is quick again.

    Attributes
    ----------
    slow
        Whether the version is slow.
    """

    __slots__ = ("_score", "slow")

    def __init__(self) -> None:
        self._score = 0
        self.slow = False

    def note(self, run_s: float, limit_s: float) -> None:
        """Take a run into account; from one thread at a time."""
        if run_s > (limit_s / 2 if self.slow else limit_s):
            if self._score < SCORE_MAX:
                self._score += 1
            if self._score == SCORE_MAX:
                self.slow = True
        else:
            if self._score > -SCORE_MAX:
                self._score -= 1
            if self._score == -SCORE_MAX:
                self.slow = False
