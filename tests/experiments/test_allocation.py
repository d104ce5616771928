from __future__ import annotations

import json
import math
import random
from itertools import pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from experiments.allocation import NOBODY, allocate, moved_share, resplit
from experiments.bucketing import BUCKETS
from experiments.errors import SharesInvalidError, ShareTooSmallError


@st.composite
def splits(draw, arms):
    """Shares in whole ten-thousandths, each at least one: they sum to 1 and are exact in slots."""
    cuts = draw(st.lists(st.integers(1, BUCKETS - 1), min_size=arms - 1, max_size=arms - 1, unique=True))
    edges = [0, *sorted(cuts), BUCKETS]
    return tuple((high - low) / BUCKETS for low, high in pairwise(edges))


def growthbook_ranges(shares, coverage):
    cumulative, ranges = 0.0, []
    for share in shares:
        ranges.append((cumulative, cumulative + coverage * share))
        cumulative += share
    return ranges


@settings(max_examples=30, deadline=None)
@given(shares=st.integers(2, 16).flatmap(splits), coverage=st.sampled_from([1.0, 0.9, 0.5, 1 / 3]))
def test_slots_are_growthbooks_ranges(shares, coverage):
    try:
        owners = allocate(shares, coverage=coverage).slots()
    except ShareTooSmallError:
        return
    ranges = growthbook_ranges(shares, coverage)
    for slot, owner in enumerate(owners):
        inside = [i for i, (low, high) in enumerate(ranges) if low <= slot / BUCKETS < high]
        assert inside[:1] == ([] if owner == NOBODY else [owner])


def test_growing_coverage_from_one_to_a_hundred_percent_moves_nobody():
    shares = (0.5, 0.2, 0.3)
    before = allocate(shares, coverage=0.01).slots()
    for percent in range(2, 101):
        after = allocate(shares, coverage=percent / 100).slots()
        assert all(old in (NOBODY, new) for old, new in zip(before, after, strict=True))
        before = after
    assert NOBODY not in before


@settings(max_examples=30, deadline=None)
@given(data=st.data(), arms=st.integers(2, 16))
def test_a_resplit_moves_exactly_the_total_variation_distance(data, arms):
    old, new = data.draw(splits(arms)), data.draw(splits(arms))
    assume(old != new)
    first = allocate((1.0, *[0.0] * (arms - 1)), coverage=1.0)
    before = resplit(first, old)
    after = resplit(before, new)
    assert after.counts() == tuple(round(share * BUCKETS) for share in new)
    distance = sum(abs(a - b) for a, b in zip(old, new, strict=True)) / 2
    assert moved_share(before, after) == pytest.approx(distance, abs=1e-9)
    assert after.epoch == before.epoch + 1


def test_four_arms_move_thirty_percent_where_ranges_would_move_sixty():
    before = allocate((0.4, 0.2, 0.2, 0.2), coverage=1.0)
    after = resplit(before, (0.1, 0.3, 0.3, 0.3))
    assert moved_share(before, after) == pytest.approx(0.3, abs=2e-4)
    again = allocate((0.1, 0.3, 0.3, 0.3), coverage=1.0)
    assert moved_share(before, again) == pytest.approx(0.6, abs=2e-4)


def test_a_chain_of_resplits_keeps_the_experiment_its_units_and_each_count_within_a_slot():
    generator = random.Random(11)  # noqa: S311  (a seeded simulation)
    allocation = allocate((0.25, 0.25, 0.5), coverage=0.37)
    inside = [slot for slot, owner in enumerate(allocation.slots()) if owner != NOBODY]
    for _ in range(40):
        cut = sorted((generator.random(), generator.random()))
        shares = (cut[0], cut[1] - cut[0], 1 - cut[1])
        following = resplit(allocation, shares)
        changes = sum(abs(a - b) for a, b in zip(allocation.counts(), following.counts(), strict=True)) / 2
        assert moved_share(allocation, following) * len(inside) == pytest.approx(changes)
        assert [slot for slot, owner in enumerate(following.slots()) if owner != NOBODY] == inside
        for share, count in zip(shares, following.counts(), strict=True):
            assert math.floor(share * len(inside)) <= count <= math.ceil(share * len(inside))
        allocation = following


def test_the_same_shares_move_nobody():
    for shares, coverage in (((1 / 3, 1 / 3, 1 / 3), 0.5), ((0.1, 0.2, 0.7), 1.0)):
        before = allocate(shares, coverage=coverage)
        assert resplit(before, shares).runs == before.runs


def test_an_arm_may_shrink_to_nothing_and_come_back():
    closed = resplit(allocate((0.5, 0.5), coverage=1.0), (1.0, 0.0))
    assert closed.counts() == (BUCKETS, 0)
    assert closed.propensities() == (1.0, 0.0)
    assert resplit(closed, (0.9, 0.1)).counts() == (9000, 1000)


def test_runs_survive_json():
    allocation = resplit(allocate((0.3, 0.7), coverage=0.8), (0.6, 0.4))
    runs = tuple((first, length, owner) for first, length, owner in json.loads(json.dumps(allocation.runs)))
    assert runs == allocation.runs


@pytest.mark.parametrize(
    "shares",
    [
        (0.5, 0.4),
        (0.5, 0.5 + 1e-8),
        (0.5, 0.6),
        (math.nan, 0.5),
        (math.inf, 0.5),
        (1.5, -0.5),
        (0.0, 0.0),
    ],
)
def test_shares_that_are_no_split_are_refused_not_repaired(shares):
    with pytest.raises(SharesInvalidError):
        allocate(shares, coverage=1.0)
    with pytest.raises(SharesInvalidError):
        resplit(allocate((0.5, 0.5), coverage=1.0), shares)


def test_shares_may_miss_one_by_a_billionth():
    thirds = (0.333333333333, 0.333333333333, 0.333333333334)
    assert sum(allocate(thirds, coverage=1.0).counts()) == BUCKETS


@pytest.mark.parametrize("coverage", [0.0, -0.1, 1.0001, math.nan, math.inf])
def test_a_coverage_outside_of_its_range_is_refused(coverage):
    with pytest.raises(SharesInvalidError):
        allocate((0.5, 0.5), coverage=coverage)


def test_a_share_that_would_never_get_a_unit_is_refused():
    with pytest.raises(ShareTooSmallError):
        allocate((0.99999, 0.00001), coverage=1.0)
    with pytest.raises(ShareTooSmallError):
        resplit(allocate((1.0, 0.0), coverage=0.01), (0.9999, 0.0001))


def test_another_number_of_shares_is_refused():
    with pytest.raises(SharesInvalidError):
        resplit(allocate((0.5, 0.5), coverage=1.0), (0.5, 0.25, 0.25))
