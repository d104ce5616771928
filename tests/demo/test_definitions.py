from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from trainer.demo.furnish import DEFINITIONS

FIRST, LAST = datetime(2, 1, 1), datetime(9998, 12, 31)  # noqa: DTZ001  # DuckDB's timestamps are UTC without saying so
VIEWS = ("carrier", "route", "aircraft", "departures", "weather")


def rows_of(offline, view, since, until):
    sql = (DEFINITIONS / f"{view}.sql").read_text()
    bounds = {"since": since, "until": until}
    query = f"SELECT * FROM (\n{sql}\n) WHERE event_time > $since AND event_time <= $until ORDER BY ALL"
    return offline.execute(query, bounds).fetchall()


@pytest.mark.parametrize("view", VIEWS)
def test_a_part_of_a_view_is_what_the_whole_says_of_it(offline, view):
    since = datetime(2013, 3, 30, 12)  # noqa: DTZ001
    until = since + timedelta(hours=6)
    whole = [row for row in rows_of(offline, view, FIRST, LAST) if since < row[1] <= until]
    part = rows_of(offline, view, since, until)
    assert part
    assert len(part) == len(whole)
    for one, other in zip(part, whole, strict=True):
        assert one[:3] == other[:3]
        assert one[3:] == pytest.approx(other[3:], nan_ok=True)


def test_a_rate_counts_the_landings_of_its_window_and_no_later_one(offline):
    moment = datetime(2013, 4, 2, 18)  # noqa: DTZ001
    newest = [row for row in rows_of(offline, "carrier", FIRST, moment) if row[0] == "UA"][-1]
    event_time, late_rate_7d = newest[1], newest[4]
    by_hand = offline.execute(
        "SELECT avg(late) FROM flights "
        "WHERE carrier = 'UA' AND landed_time >= $1 - INTERVAL 7 DAY AND landed_time <= $1",
        [event_time],
    ).fetchall()
    assert event_time <= moment
    assert late_rate_7d == pytest.approx(by_hand[0][0])


@pytest.mark.parametrize("view", VIEWS)
def test_an_entity_has_one_row_at_a_time(offline, view):
    rows = rows_of(offline, view, datetime(2013, 5, 1), datetime(2013, 5, 20))  # noqa: DTZ001
    assert len({row[:2] for row in rows}) == len(rows)


def test_the_definitions_are_one_file_and_the_views_it_names():
    assert {path.name for path in DEFINITIONS.iterdir()} == {"flights.toml", *(f"{view}.sql" for view in VIEWS)}
