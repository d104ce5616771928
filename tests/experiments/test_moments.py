from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.analysis.moments import Moments

VALUES = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), max_size=60)


def close(one: Moments, two: Moments) -> bool:
    spread = max(1.0, abs(one.mean) * abs(one.mean) * max(one.n, 1))
    return (
        one.n == two.n
        and math.isclose(one.mean, two.mean, rel_tol=1e-9, abs_tol=1e-9)
        and math.isclose(one.m2, two.m2, rel_tol=1e-9, abs_tol=1e-9 * spread)
    )


@settings(deadline=None)
@given(values=VALUES)
def test_moments_are_those_of_the_standard_library(values):
    moments = Moments.of(values)
    assert moments.n == len(values)
    if len(values) > 1:
        assert moments.mean == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-9)
        assert moments.variance == pytest.approx(statistics.variance(values), rel=1e-9, abs=1e-6)


@settings(deadline=None)
@given(one=VALUES, two=VALUES)
def test_merging_equals_the_batch(one, two):
    assert close(Moments.of(one).merge(Moments.of(two)), Moments.of(one + two))


@settings(deadline=None)
@given(parts=st.lists(VALUES, max_size=6))
def test_any_number_of_parts_equals_the_batch(parts):
    merged = Moments()
    for part in parts:
        merged = merged.merge(Moments.of(part))
    assert close(merged, Moments.of([value for part in parts for value in part]))


@settings(deadline=None)
@given(one=VALUES, two=VALUES, three=VALUES)
def test_merging_does_not_care_for_order_or_grouping(one, two, three):
    a, b, c = Moments.of(one), Moments.of(two), Moments.of(three)
    assert close(a.merge(b).merge(c), a.merge(b.merge(c)))
    assert close(a.merge(b), b.merge(a))


@settings(deadline=None)
@given(values=VALUES)
def test_no_values_are_the_neutral_element(values):
    moments = Moments.of(values)
    assert moments.merge(Moments()) == moments
    assert Moments().merge(moments) == moments


def test_a_small_spread_on_a_great_mean_keeps_its_digits():
    base = 1e9
    merged = Moments.of([base + 4, base + 7]).merge(Moments.of([base + 13, base + 16]))
    assert merged.variance == pytest.approx(30.0, rel=1e-12)


def test_fewer_than_two_values_have_no_variance():
    assert math.isnan(Moments.of([3.0]).variance)
    assert math.isnan(Moments().variance)
