from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.models.pace import SCORE_MAX, Pace

LIMIT_S = 0.005


def test_a_version_becomes_slow_when_its_median_run_is_past_the_limit_and_not_at_one_slow_run():
    pace = Pace()
    for _ in range(SCORE_MAX - 1):
        pace.note(1.0, LIMIT_S)
    assert not pace.slow
    pace.note(1.0, LIMIT_S)
    assert pace.slow


def test_a_slow_version_becomes_quick_only_well_below_the_limit():
    pace = Pace()
    for _ in range(SCORE_MAX):
        pace.note(1.0, LIMIT_S)
    for _ in range(1000):
        pace.note(0.8 * LIMIT_S, LIMIT_S)
    assert pace.slow
    for _ in range(2 * SCORE_MAX):
        pace.note(0.3 * LIMIT_S, LIMIT_S)
    assert not pace.slow


@given(st.lists(st.booleans(), max_size=200))
def test_runs_of_which_no_stretch_is_mostly_slow_never_make_a_version_slow(slow):
    pace = Pace()
    for each in slow:
        # A quick run follows each slow one.
        pace.note(1.0 if each else 0.0, LIMIT_S)
        pace.note(0.0, LIMIT_S)
        assert not pace.slow
