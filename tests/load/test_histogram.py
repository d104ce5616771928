"""The histogram of latencies: what it keeps of numbers, and what it tells of them."""

from __future__ import annotations

import json
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from turnout.load.histogram import VALUE_MAX, Histogram, hgrm

values = st.lists(st.one_of(st.integers(0, 5000), st.integers(0, VALUE_MAX)), min_size=1, max_size=60)


def histogram_of(numbers):
    made = Histogram()
    made.record(numbers)
    return made


@settings(max_examples=40, deadline=None)
@given(values, st.integers(0, 10_000))
def test_a_percentile_is_the_nearest_rank_to_three_digits(numbers, hundredths):
    exact = sorted(numbers)[max(1, -(-hundredths * len(numbers) // 10_000)) - 1]
    told = histogram_of(numbers).percentile(hundredths / 100)
    assert exact <= told <= exact + exact // 1024
    assert told == exact or exact >= 2048


@settings(max_examples=15, deadline=None)
@given(values, values)
def test_histograms_add_up_as_their_values_do_and_travel_as_json(first, second):
    both = histogram_of(first)
    both.add(Histogram.of_document(json.loads(json.dumps(histogram_of(second).document()))))
    whole = histogram_of(first + second)
    assert np.array_equal(both.counts, whole.counts)
    assert (both.least, both.greatest, both.total) == (min(first + second), max(first + second), len(first + second))


@settings(max_examples=15, deadline=None)
@given(values)
def test_the_percentile_file_rises_to_the_whole_and_agrees_with_the_percentiles(numbers):
    histogram = histogram_of(numbers)
    rows = list(histogram.spectrum())
    assert rows[-1] == (max(numbers), 1.0, len(numbers))
    assert rows == sorted(rows, key=lambda row: row[1:])
    for value, share, seen in rows:
        assert value == histogram.percentile(100 * seen / len(numbers))
        assert share <= seen / len(numbers) + 1e-12
        assert seen == sum(number <= value for number in numbers)
    text = hgrm(histogram, scale=1000.0).splitlines()
    assert len([line for line in text if line and line[0] != "#" and "Value" not in line]) == len(rows)


def test_mean_and_deviation_are_those_of_the_values():
    numbers = np.random.default_rng(3).lognormal(8, 1, 4000).astype(int)
    histogram = histogram_of(numbers)
    assert math.isclose(histogram.mean(), numbers.mean(), rel_tol=1e-3)
    assert math.isclose(histogram.deviation(), numbers.std(), rel_tol=1e-3)
    assert math.isclose(histogram.above(5000), (numbers > 5000).sum(), abs_tol=5)


def test_nothing_is_told_of_no_values():
    assert (Histogram().total, Histogram().percentile(50), list(Histogram().spectrum())) == (0, 0, [])
