from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from experiments.analysis.histogram import RELATIVE_ERROR, Histogram
from experiments.analysis.joint import JointMoments
from experiments.analysis.quantile import quantile_interval

VALUES = st.floats(-1e6, 1e6)
TABLES = hnp.arrays(np.float64, st.tuples(st.integers(1, 40), st.just(3)), elements=VALUES)


def merged(parts):
    return functools.reduce(JointMoments.merge, parts, JointMoments())


@settings(deadline=None)
@given(table=TABLES, cuts=st.lists(st.integers(0, 40), max_size=6), seed=st.integers(0, 2**32 - 1))
def test_joint_moments_merged_in_any_order_equal_the_batch(table, cuts, seed):
    parts = [JointMoments.of(part) for part in np.split(table, sorted(min(cut, len(table)) for cut in cuts))]
    np.random.default_rng(seed).shuffle(parts)
    batch, found = JointMoments.of(table), merged(parts)
    scale = float(np.abs(table).max()) + 1.0
    assert found.n == batch.n == len(table)
    np.testing.assert_allclose(found.means, table.mean(axis=0), rtol=1e-9, atol=1e-9 * scale)
    apart = table - table.mean(axis=0)
    np.testing.assert_allclose(found.products, apart.T @ apart, rtol=1e-9, atol=1e-9 * scale * scale * len(table))


@settings(deadline=None)
@given(table=TABLES, one=st.integers(0, 40), other=st.integers(0, 40))
def test_merging_joint_moments_does_not_care_for_grouping(table, one, other):
    low, high = sorted((min(one, len(table)), min(other, len(table))))
    a, b, c = (JointMoments.of(part) for part in (table[:low], table[low:high], table[high:]))
    scale = (float(np.abs(table).max()) + 1.0) ** 2 * len(table)
    left, right = a.merge(b).merge(c), a.merge(b.merge(c))
    np.testing.assert_allclose(left.products, right.products, rtol=1e-9, atol=1e-9 * scale)
    assert a.merge(JointMoments()) == a == JointMoments().merge(a)


def test_a_projection_is_the_moments_of_the_combination():
    rows = np.random.default_rng(1).normal(5, 2, (300, 3))
    gradient = np.array([1.0, -2.0, 0.5])
    found = JointMoments.of(rows).project(tuple(gradient), 7.0)
    assert (found.n, found.mean) == (300, 7.0)
    assert found.variance == pytest.approx((rows @ gradient).var(ddof=1), rel=1e-12)


@settings(deadline=None)
@given(values=st.lists(VALUES, min_size=1, max_size=60), cut=st.integers(0, 60))
def test_histograms_merge_exactly_and_know_every_order_statistic(values, cut):
    whole = Histogram.of(values)
    assert Histogram.of(values[cut:]).merge(Histogram.of(values[:cut])) == whole
    for rank, value in enumerate(sorted(values), start=1):
        assert whole.order_statistic(rank) == pytest.approx(value, rel=RELATIVE_ERROR * 1.0001, abs=2e-9)


def test_the_quantile_interval_covers_as_often_as_it_says():
    generator = np.random.default_rng(2)
    trials, covered = 600, 0
    truth = np.quantile(generator.lognormal(3, 1, 2_000_000), 0.95)
    for row in generator.lognormal(3, 1, (trials, 400)):
        low, high = quantile_interval(Histogram.of(row.tolist()), 0.95, alpha=0.05)
        covered += low * (1 - RELATIVE_ERROR) <= truth <= high * (1 + RELATIVE_ERROR)
    assert covered >= 0.93 * trials


def test_too_few_units_have_no_quantile_interval():
    refused = quantile_interval(Histogram.of(range(1, 60)), 0.99, alpha=0.05)
    assert "too few" in refused.reason
    # The 0.05/2 tail of a binomial with 1/2: 6 values are the fewest that a median can be put between.
    assert quantile_interval(Histogram.of([1, 2, 3, 4, 5, 6]), 0.5, alpha=0.05)[0] == pytest.approx(1, rel=0.006)
    assert "too few" in quantile_interval(Histogram.of([1, 2, 3, 4, 5]), 0.5, alpha=0.05).reason
