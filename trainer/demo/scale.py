"""How much of the year the demo replays, and how fast."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MICROSECONDS = 1_000_000
_DAY_US = 86_400 * MICROSECONDS


def us_of(moment: datetime) -> int:
    """Return the microseconds since the Unix epoch."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What is replayed.

    Attributes
    ----------
    name
        The word on the command line.
    start_us
        Where the replay begins, in microseconds since the Unix epoch; every earlier landing may be learned from.
    alone_days, experiment_days, after_days
        Replayed days on version 1 alone, in the experiment, and after its decision.
    rate_per_s
        Requests a second; replayed time runs as fast as that lets it.
    train_every
        One flight in so many is learned from.
    between_swaps_s
        Seconds of traffic before each change of the champion.
    """

    name: str
    start_us: int
    alone_days: int
    experiment_days: int
    after_days: int
    rate_per_s: float
    train_every: int
    between_swaps_s: float = 4.0

    @property
    def experiment_us(self) -> int:
        """Return where the experiment may begin."""
        return self.start_us + self.alone_days * _DAY_US

    @property
    def decision_us(self) -> int:
        """Return where the experiment is decided."""
        return self.experiment_us + self.experiment_days * _DAY_US

    @property
    def end_us(self) -> int:
        """Return where the replay ends."""
        return self.decision_us + self.after_days * _DAY_US


_JUNE = us_of(datetime(2013, 6, 1, 6, tzinfo=UTC))
_APRIL = us_of(datetime(2013, 4, 1, 6, tzinfo=UTC))

SCALES = {
    scale.name: scale
    for scale in (
        # About 23 500 departures: what is promised is 20 000, within four minutes on two cores.
        Scale(
            name="small",
            start_us=_JUNE,
            alone_days=5,
            experiment_days=13,
            after_days=7,
            rate_per_s=320.0,
            train_every=2,
        ),
        # A summer, about 87 000 departures.
        Scale(
            name="full",
            start_us=_JUNE,
            alone_days=10,
            experiment_days=60,
            after_days=20,
            rate_per_s=400.0,
            train_every=1,
        ),
        # All that is left of the year after a first quarter to learn from, about 250 000 departures.
        Scale(
            name="year-ish",
            start_us=_APRIL,
            alone_days=30,
            experiment_days=180,
            after_days=60,
            rate_per_s=400.0,
            train_every=1,
        ),
    )
}
