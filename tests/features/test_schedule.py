"""When a view is due."""

from __future__ import annotations

import pytest

from features.schedule import due_us, refresh_is_valid

HOUR_US = 3_600_000_000
T0_US = 1_356_998_400_000_000  # 2013-01-01 00:00 UTC


@pytest.mark.parametrize("refresh", ["", "30s", "15m", "0 3 * * *", "*/5 * * * 1-5"])
def test_intervals_and_cron_expressions_are_schedules(refresh):
    assert refresh_is_valid(refresh)


@pytest.mark.parametrize(
    "refresh", ["0m", "15", "soon", "@reboot", "61 * * * *", "* * * * * *", "0 3 * * * " + " " * 200]
)
def test_other_texts_are_none(refresh):
    assert not refresh_is_valid(refresh)


def test_an_interval_is_counted_from_where_the_store_stands_with_a_share_of_a_tenth():
    dues = [due_us("1h", view=f"v{number}", last_us=T0_US) - T0_US - HOUR_US for number in range(50)]
    assert min(dues) >= 0
    assert max(dues) < 60_000_000
    assert len(set(dues)) > 25
    assert due_us("1h", view="v", last_us=None) == 0
    assert due_us("", view="v", last_us=None) is None


def test_cron_is_in_utc():
    due = due_us("30 3 * * *", view="v", last_us=T0_US + 4 * HOUR_US)
    assert 0 <= due - (T0_US + 27 * HOUR_US + HOUR_US // 2) < 60_000_000
