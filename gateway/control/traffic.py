"""How the gateway fares of late: rates and latencies of the last minute, from the reports of the workers."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.telemetry.families import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.telemetry.meter import Meter

WINDOW_S = 60.0
REPORTS_MAX = 600
"""How many reports of a worker are kept; they come once a second and at each change."""

_BOUNDS_US = FAMILIES["turnout_prediction_seconds"].bounds


@dataclass(frozen=True, slots=True)
class Totals:
    """What a worker had counted at one time of the monotonic clock."""

    at: float
    predictions: float = 0
    failures: float = 0
    shed: float = 0
    waves: float = 0
    cpu_s: float = 0
    latencies: tuple[int, ...] = (0,) * (len(_BOUNDS_US) + 1)

    def since(self, before: Totals) -> Totals:
        """Return what was counted between two times, `at` being the time that passed."""
        return Totals(
            self.at - before.at,
            self.predictions - before.predictions,
            self.failures - before.failures,
            self.shed - before.shed,
            self.waves - before.waves,
            self.cpu_s - before.cpu_s,
            tuple(now - then for now, then in zip(self.latencies, before.latencies, strict=True)),
        )

    def plus(self, other: Totals) -> Totals:
        """Return the sum of what two workers counted in windows that end now."""
        return Totals(
            max(self.at, other.at),
            self.predictions + other.predictions,
            self.failures + other.failures,
            self.shed + other.shed,
            self.waves + other.waves,
            self.cpu_s + other.cpu_s,
            tuple(one + two for one, two in zip(self.latencies, other.latencies, strict=True)),
        )


def totals_of(counts: Meter, at: float) -> Totals:
    """Return the totals of a worker's numbers."""
    predictions = failures = 0.0
    code = FAMILIES["turnout_predictions_total"].labels.index("code")
    for labels, series in counts.family("turnout_predictions_total").items():
        predictions += series.total
        failures += series.total if labels[code] != "OK" else 0
    latencies = [0] * (len(_BOUNDS_US) + 1)
    for series in counts.family("turnout_prediction_seconds").values():
        for place, count in enumerate(series.counts):
            latencies[place] += count
    return Totals(
        at,
        predictions,
        failures,
        sum(series.total for series in counts.family("turnout_calls_shed_total").values()),
        sum(sum(series.counts) for series in counts.family("turnout_wave_calls").values()),
        sum(series.total for series in counts.family("turnout_process_cpu_seconds_total").values()),
        tuple(latencies),
    )


class History:
    """The reports of one worker in the last minute, from the start of its process on."""

    def __init__(self) -> None:
        self._past: deque[Totals] = deque(maxlen=REPORTS_MAX)

    def begin(self) -> None:
        """Say that the worker's process starts now."""
        self._past.clear()
        self._past.append(Totals(time.monotonic()))

    def add(self, counts: Meter) -> None:
        """Take over a report."""
        now = time.monotonic()
        self._past.append(totals_of(counts, now))
        while len(self._past) > 2 and self._past[1].at < now - WINDOW_S:  # noqa: PLR2004  (the ends of the window)
            self._past.popleft()

    def recent(self) -> Totals | None:
        """Return what was counted in the last minute, or since the start; None where nothing is known yet."""
        past = list(self._past)
        return past[-1].since(past[0]) if len(past) > 1 else None


def quantile_us(latencies: Sequence[int], share: float) -> int:
    """Return the latency that a share of the calls does not pass, between its bucket's bounds; 0 for no calls."""
    wanted = share * sum(latencies)
    if not wanted:
        return 0
    below = 0
    for place, count in enumerate(latencies):
        if count and below + count >= wanted:
            lower = _BOUNDS_US[place - 1] if place else 0
            upper = _BOUNDS_US[min(place, len(_BOUNDS_US) - 1)]
            return round(lower + (upper - lower) * (wanted - below) / count)
        below += count
    return _BOUNDS_US[-1]
