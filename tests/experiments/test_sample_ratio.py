from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from experiments.analysis.findings import NotEnoughData, SampleRatioCheck
from experiments.analysis.sample_ratio import check_ratio


@settings(deadline=None)
@given(counts=st.lists(st.integers(50, 5000), min_size=2, max_size=6), data=st.data())
def test_one_epoch_equals_scipys_chi_square_test(counts, data):
    raw = data.draw(st.lists(st.floats(0.2, 1), min_size=len(counts), max_size=len(counts)))
    chances = [each / math.fsum(raw) for each in raw]
    ours = check_ratio([counts], [chances])
    expected = [chance * sum(counts) for chance in chances]
    theirs = stats.chisquare(counts, expected)
    assert ours.chi_square == pytest.approx(theirs.statistic, rel=1e-9, abs=1e-9)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-300)
    assert ours.mismatch == (ours.p_value < 0.001)


def test_a_variant_without_a_share_is_no_cell():
    check = check_ratio([[5100, 4900, 0]], [[0.5, 0.5, 0.0]])
    assert check.degrees_of_freedom == 1
    assert check.p_value == pytest.approx(0.0455, abs=1e-4)


def test_a_unit_in_a_variant_without_a_share_is_a_mismatch():
    check = check_ratio([[5000, 5000, 1]], [[0.5, 0.5, 0.0]])
    assert check.mismatch
    assert check.p_value == 0.0


def test_lost_units_are_found():
    assert check_ratio([[5250, 4750]], [[0.5, 0.5]]).mismatch
    assert not check_ratio([[5050, 4950]], [[0.5, 0.5]]).mismatch


def test_each_epoch_is_held_against_its_own_split():
    check = check_ratio([[900, 100], [500, 500]], [[0.9, 0.1], [0.5, 0.5]])
    assert (check.chi_square, check.degrees_of_freedom, check.mismatch) == (0.0, 2, False)
    assert check_ratio([[500, 500], [900, 100]], [[0.9, 0.1], [0.5, 0.5]]).mismatch


@pytest.mark.parametrize(
    ("observed", "chances"),
    [
        ([], []),
        ([[0, 0]], [[0.5, 0.5]]),
        ([[3, 4]], [[0.5, 0.5]]),
        ([[100, 0]], [[1.0, 0.0]]),
        ([[90, 1]], [[0.99, 0.01]]),
    ],
)
def test_too_few_units_are_not_judged(observed, chances):
    assert isinstance(check_ratio(observed, chances), NotEnoughData)


def test_a_right_split_is_called_wrong_once_in_a_thousand():
    generator = np.random.default_rng(2013)
    trials = 5000
    wrong = 0
    for counts in generator.multinomial(3000, [0.6, 0.3, 0.1], trials).tolist():
        check = check_ratio([counts], [[0.6, 0.3, 0.1]])
        assert isinstance(check, SampleRatioCheck)
        wrong += check.mismatch
    assert stats.binomtest(wrong, trials, 0.001).pvalue > 1e-4
