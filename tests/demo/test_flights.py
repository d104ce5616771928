from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from trainer.demo import flights

NEW_YORK = ZoneInfo("America/New_York")


def test_every_flight_is_a_unit_of_its_own(offline):
    counts = offline.execute("SELECT count(*), count(DISTINCT flight_id), count(late) FROM flights").fetchall()
    assert counts == [(336_776, 336_776, 327_346)]


def test_scheduled_times_are_utc_on_both_sides_of_summer_time(offline):
    rows = offline.execute(
        "SELECT scheduled_time, month, hour, flight_id FROM flights USING SAMPLE 2000 ROWS (reservoir, 7)"
    ).fetchall()
    assert {month for _, month, _, _ in rows} >= {1.0, 3.0, 7.0, 11.0}
    for scheduled, month, hour, flight_id in rows:
        local = scheduled.replace(tzinfo=UTC).astimezone(NEW_YORK)
        assert (local.month, local.day) == (int(month), int(flight_id[8:10]))
        assert abs(local.hour + local.minute / 60 - hour) < 1e-9


def test_a_delay_is_known_only_after_the_flight_has_been_in_the_air(offline):
    early = offline.execute(
        "SELECT count(*) FROM flights WHERE landed_time <= departed_time + INTERVAL 30 MINUTE"
    ).fetchall()
    unknown = offline.execute(
        "SELECT count(*) FROM flights WHERE (late IS NULL) <> (landed_time IS NULL) OR late <> (arr_delay > 15)::DOUBLE"
    ).fetchall()
    assert (early, unknown) == ([(0,)], [(0,)])


def test_a_landing_is_where_the_schedule_and_the_delay_put_it(offline):
    # UA 1545 left Newark at 05:17 and landed in Houston at 08:30 local time.
    landed = offline.execute(
        "SELECT landed_time FROM flights WHERE flight_id = '2013-01-01-UA-1545-EWR-IAH'"
    ).fetchall()[0][0]
    expected = datetime(2013, 1, 1, 8, 30, tzinfo=ZoneInfo("America/Chicago")).astimezone(UTC)
    assert landed.replace(tzinfo=UTC) == expected


def test_a_second_preparation_keeps_the_files(sources):
    before = (sources / "flights.parquet").stat().st_mtime_ns
    flights.prepare(sources)
    assert (sources / "flights.parquet").stat().st_mtime_ns == before
