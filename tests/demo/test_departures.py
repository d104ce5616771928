from __future__ import annotations

from datetime import UTC, datetime

from trainer.demo.departures import by_interval, read_departures
from trainer.demo.landings import Landings
from trainer.demo.replay import INTERVAL_US
from trainer.demo.scale import SCALES, us_of

DAY_US = 86_400_000_000
JUNE_US = us_of(datetime(2013, 6, 1, 6, tzinfo=UTC))


def test_departures_come_in_time_order_with_all_that_is_known_then(sources):
    departures = read_departures(sources, start_us=JUNE_US, end_us=JUNE_US + DAY_US)
    times = [departure.scheduled_us for departure in departures]
    assert times == sorted(times)
    assert all(JUNE_US <= time_us < JUNE_US + DAY_US for time_us in times)
    assert {frozenset(departure.entities) for departure in departures} == {
        frozenset({"carrier", "route", "tailnum", "origin"})
    }
    assert all(departure.landed_us is None or departure.landed_us > JUNE_US for departure in departures)


def test_intervals_hold_each_departure_once_and_begin_where_features_are_refreshed(sources):
    departures = read_departures(sources, start_us=JUNE_US, end_us=JUNE_US + DAY_US)
    intervals = list(by_interval(departures, interval_us=INTERVAL_US))
    assert [one for _, some in intervals for one in some] == departures
    for begin_us, some in intervals:
        assert begin_us % INTERVAL_US == 0
        assert all(begin_us <= one.scheduled_us < begin_us + INTERVAL_US for one in some)


def test_the_default_scale_replays_what_is_promised(sources):
    scale = SCALES["small"]
    departures = read_departures(sources, start_us=scale.start_us, end_us=scale.end_us)
    assert len(departures) >= 20_000
    assert len(departures) / scale.rate_per_s < 150
    assert scale.start_us % INTERVAL_US == scale.experiment_us % INTERVAL_US == scale.decision_us % INTERVAL_US == 0


class Recorder:
    """Takes outcomes, refusing the first batch for now."""

    def __init__(self):
        self.batches = []

    def record_outcomes(self, outcomes):
        from turnout.outcome import OutcomeResult  # noqa: PLC0415

        status = "RECORDED" if self.batches else "UNAVAILABLE"
        self.batches.append(list(outcomes))
        return [OutcomeResult(status, "", "") for _ in self.batches[-1]]


def test_outcomes_are_recorded_when_flights_have_landed_and_not_before(sources, monkeypatch):
    monkeypatch.setattr("trainer.demo.landings._PAUSE_S", 0.0)
    recorder = Recorder()
    landings = Landings(recorder)
    departures = read_departures(sources, start_us=JUNE_US, end_us=JUNE_US + DAY_US)
    for number, departure in enumerate(departures):
        landings.expect(departure, f"r{number}")
    noon_us = JUNE_US + DAY_US // 2
    landings.record(noon_us)
    landed = [departure for departure in departures if departure.landed_us is not None]
    early = sum(departure.landed_us <= noon_us for departure in landed)
    assert landings.acknowledged == early
    assert recorder.batches[0] == recorder.batches[1]
    landings.record(landings.last_us)
    assert landings.acknowledged == len(landed) < len(departures)
    subjects = [bool(outcome.unit_id) for batch in recorder.batches[1:] for outcome in batch]
    assert set(subjects) == {True, False}
