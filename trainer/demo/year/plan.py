"""How much of the year is replayed, and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from trainer.demo.scale import MICROSECONDS, us_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is replayed.

    Attributes
    ----------
    start_us, end_us
        From when to when, multiples of the interval, in microseconds since the Unix epoch; what landed earlier may be
        learned from.
    every
        One departure in so many is asked about.
    rate_per_s, slow_per_s
        Requests a second, and while a trainer works on a check or a run: replayed time would run away from it.
    interval_h
        Hours between two refreshes of the online features; the policies' label rows ask for features as of then.
    clock_step_us
        How far replayed time goes before the gateway's clock is moved.
    trainers
        How many trainers work.
    """

    start_us: int = us_of(datetime(2013, 3, 1, 12, tzinfo=UTC))
    end_us: int = us_of(datetime(2014, 1, 1, tzinfo=UTC))
    every: int = 4
    rate_per_s: float = 400.0
    slow_per_s: float = 25.0
    interval_h: int = 12
    clock_step_us: int = 3600 * MICROSECONDS
    trainers: int = 2

    @property
    def interval_us(self) -> int:
        """Return the time between two refreshes in microseconds."""
        return self.interval_h * 3600 * MICROSECONDS


YEAR = Plan()
"""Ten months behind a winter to learn from: about 71 000 of 285 000 departures."""
