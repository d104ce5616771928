from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from features.profile import Profile, ProfileBuilder
from features.sketch import POINTS_MAX, TOP_MAX, Sketch, TopValues

NUMBERS = st.lists(
    st.one_of(st.integers(-5, 5).map(float), st.floats(-1e6, 1e6), st.just(float("nan")), st.just(float("inf"))),
    max_size=60,
)


def profile_of(parts, names=("a",)):
    builder = ProfileBuilder("training", names)
    for part in parts:
        builder.add(np.asarray(part, np.float64).reshape(-1, len(names)))
    return builder.profile()


@given(st.lists(NUMBERS, max_size=5))
@settings(max_examples=150, deadline=None)
def test_a_merged_profile_is_that_of_all_the_rows(parts):
    whole = np.array([value for part in parts for value in part], np.float64)
    column = profile_of(parts).columns["a"]
    finite = whole[np.isfinite(whole)]
    assert (column.rows, column.nulls, column.infinite) == (
        len(whole),
        np.isnan(whole).sum(),
        np.isinf(whole).sum(),
    )
    values, counts = np.unique(finite, return_counts=True)
    assert column.sketch.values.tolist() == values.tolist()
    assert column.sketch.counts.tolist() == counts.tolist()
    assert column.sketch.error == 0
    if len(finite):
        assert column.moments.mean == pytest.approx(finite.mean(), rel=1e-9, abs=1e-6)
        assert column.moments.m2 == pytest.approx(((finite - finite.mean()) ** 2).sum(), rel=1e-6, abs=1e-4)


def test_moments_are_those_of_scipy_whatever_the_parts():
    values = np.random.default_rng(1).gamma(2.0, size=20_000)
    moments = profile_of(np.array_split(values, 70)).columns["a"].moments
    assert moments.mean == pytest.approx(values.mean())
    assert moments.deviation == pytest.approx(values.std(ddof=1))
    assert moments.skewness == pytest.approx(stats.skew(values))
    assert moments.kurtosis == pytest.approx(stats.kurtosis(values))


@pytest.mark.parametrize("parts", [1, 7, 90])
def test_quantiles_are_within_the_error_that_the_sketch_states(parts):
    rng = np.random.default_rng(parts)
    values = np.concatenate([rng.lognormal(1.0, 2.0, 40_000), np.repeat(3.0, 8_000), rng.integers(0, 9, 5_000)])
    rng.shuffle(values)
    sketch = profile_of(np.array_split(values, parts)).columns["a"].sketch
    assert len(sketch.values) <= POINTS_MAX
    assert sketch.n == len(values)
    assert sketch.error / sketch.n < 0.02
    at = np.quantile(values, np.linspace(0, 1, 300))
    true = np.searchsorted(np.sort(values), at, side="right") / len(values)
    assert np.abs(sketch.cdf(at) - true).max() <= sketch.error / sketch.n
    assert sketch.quantile(0) == values.min()
    assert sketch.quantile(1) == values.max()


def test_a_sketch_of_one_pass_is_exact_at_its_points():
    values = np.random.default_rng(3).normal(size=30_000)
    sketch = Sketch.of(values).compressed()
    true = np.searchsorted(np.sort(values), sketch.values, side="right") / len(values)
    assert np.array_equal(sketch.cdf(sketch.values), true)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=3_000), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_the_most_frequent_values_are_there_with_counts_short_by_at_most_the_error(numbers, parts):
    values = np.array(numbers, np.float64)
    top = TopValues.merged(TopValues.of(part) for part in np.array_split(values, parts))
    assert len(top.counts) <= TOP_MAX
    true = dict(zip(*(each.tolist() for each in np.unique(values, return_counts=True)), strict=True))
    for value, count in true.items():
        assert count - top.error <= top.counts.get(value, 0) <= count
    assert top.error <= len(values) / (TOP_MAX + 1) * parts


def test_a_profile_is_the_same_text_each_time_and_read_back_whole():
    rng = np.random.default_rng(5)
    rows = np.column_stack([rng.normal(size=3_000), rng.integers(0, 3, 3_000), np.full(3_000, np.nan)])
    rows[5, 0] = 1e308
    texts = set()
    for _ in range(2):
        builder = ProfileBuilder("serving", ["x", "y", "z"])
        for start in range(0, 3_000, 1_000):
            builder.add(
                rows[start : start + 1_000],
                event_time_us=np.arange(start, start + 1_000),
                statuses={"view": {"PRESENT": 900, "NULL": 100}},
            )
        texts.add(builder.profile().to_json())
    [text] = texts
    profile = Profile.from_document(json.loads(text))
    assert profile.to_json() == text
    assert (profile.rows, profile.start_us, profile.end_us) == (3_000, 0, 2_999)
    assert profile.statuses == {"view": {"PRESENT": 2_700, "NULL": 300}}
    assert profile.columns["z"].null_rate == 1
    assert dict(profile.columns["y"].top.counts).keys() == {0.0, 1.0, 2.0}


def test_a_profile_of_another_format_is_refused():
    with pytest.raises(ValueError, match="format 99"):
        Profile.from_document({"format": 99})
