from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from experiments.analysis.findings import Estimate, NotEnoughData
from experiments.analysis.moments import Moments
from experiments.analysis.welch import Stratum, compare

ARM = st.builds(
    Moments,
    n=st.integers(2, 10_000),
    mean=st.floats(-100, 100),
    m2=st.floats(0.5, 1e5),
)


def draw(generator, n, mean=0.0, scale=1.0):
    return Moments.of(generator.normal(mean, scale, n).tolist())


@settings(deadline=None)
@given(control=ARM, treatment=ARM, alpha=st.sampled_from([0.01, 0.05, 0.1]))
def test_one_epoch_equals_scipys_welch_test(control, treatment, alpha):
    ours = compare([Stratum(control, treatment)], alpha=alpha)
    theirs = stats.ttest_ind_from_stats(
        treatment.mean,
        math.sqrt(treatment.variance),
        treatment.n,
        control.mean,
        math.sqrt(control.variance),
        control.n,
        equal_var=False,
    )
    assert isinstance(ours, Estimate)
    assert ours.method == "welch"
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-300)
    error = math.sqrt(control.variance / control.n + treatment.variance / treatment.n)
    half = stats.t.isf(alpha / 2, ours.degrees_of_freedom) * error
    assert ours.upper - ours.difference == pytest.approx(half, rel=1e-9)
    assert ours.difference - ours.lower == pytest.approx(half, rel=1e-9)
    assert ours.confidence == pytest.approx(1 - alpha)


def test_degrees_of_freedom_and_interval_are_scipys():
    generator = np.random.default_rng(3)
    one, two = generator.normal(0, 1, 40), generator.normal(0.4, 3, 25)
    ours = compare([Stratum(Moments.of(one.tolist()), Moments.of(two.tolist()))], alpha=0.05)
    theirs = stats.ttest_ind(two, one, equal_var=False)
    interval = theirs.confidence_interval(0.95)
    assert ours.degrees_of_freedom == pytest.approx(theirs.df, rel=1e-12)
    assert (ours.lower, ours.upper) == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_a_far_tail_is_not_rounded_to_zero():
    ours = compare([Stratum(Moments(5000, 0.0, 5000.0), Moments(5000, 0.5, 5000.0))], alpha=0.05)
    assert 0 < ours.p_value < 1e-100


@pytest.mark.parametrize(
    ("control", "treatment"),
    [
        (Moments(), Moments()),
        (Moments.of([1.0]), Moments.of([2.0])),
        (Moments.of([1.0, 2.0]), Moments.of([2.0])),
        (Moments.of([1.0, 1.0, 1.0]), Moments.of([2.0, 2.0])),
    ],
)
def test_what_cannot_be_tested_is_said_to_be_so(control, treatment):
    result = compare([Stratum(control, treatment)], alpha=0.05)
    assert isinstance(result, NotEnoughData)
    assert len(result.reason) > 20


def test_one_arm_without_spread_is_enough():
    result = compare([Stratum(Moments.of([1.0] * 10), Moments.of([0.0, 1.0] * 5))], alpha=0.05)
    assert isinstance(result, Estimate)


def test_epochs_are_never_pooled():
    # Simpson: the treatment is better in both epochs by 0.1 and worse when everything is thrown together.
    generator = np.random.default_rng(5)
    strata = [
        Stratum(draw(generator, 9000, 1.0, 0.3), draw(generator, 1000, 1.1, 0.3)),
        Stratum(draw(generator, 1000, 3.0, 0.3), draw(generator, 9000, 3.1, 0.3)),
    ]
    swapped = [Stratum(each.control, each.treatment) for each in reversed(strata)]
    result = compare(strata, alpha=0.05)
    assert result.method == "welch_stratified"
    assert result.lower < 0.1 < result.upper
    assert result.upper - result.lower < 0.05
    assert compare(swapped, alpha=0.05).difference == pytest.approx(result.difference)
    assert result.treatment_mean - result.control_mean == pytest.approx(result.difference)


def test_two_like_epochs_say_as_much_as_their_units_together():
    generator = np.random.default_rng(6)
    one = [Stratum(draw(generator, 2000), draw(generator, 2000, 0.1))]
    two = [Stratum(draw(generator, 1000), draw(generator, 1000, 0.1)) for _ in range(2)]
    width = [result.upper - result.lower for result in (compare(one, alpha=0.05), compare(two, alpha=0.05))]
    assert width[1] == pytest.approx(width[0], rel=0.05)


def test_an_epoch_of_few_units_that_agree_does_not_take_over():
    generator = np.random.default_rng(7)
    large = Stratum(draw(generator, 1000), draw(generator, 1000))
    small = Stratum(Moments.of([5.0, 5.0]), Moments.of([9.0, 9.0 + 1e-9]))
    assert abs(compare([large, small], alpha=0.05).difference) < 0.2


def test_an_epoch_with_one_unit_in_an_arm_says_nothing():
    generator = np.random.default_rng(8)
    large = Stratum(draw(generator, 100), draw(generator, 100))
    alone = Stratum(Moments.of([100.0]), draw(generator, 100))
    assert compare([large, alone], alpha=0.05) == compare([large], alpha=0.05)


def test_units_seen_in_two_epochs_are_not_two_units():
    generator = np.random.default_rng(9)
    stratum = Stratum(draw(generator, 500), draw(generator, 500, 0.1))
    variance = stratum.control.variance / 500 + stratum.treatment.variance / 500
    once = compare([stratum], alpha=0.05)
    twice = compare([stratum, stratum], alpha=0.05, covariances={(0, 1): variance})
    assert twice.difference == pytest.approx(once.difference)
    assert twice.upper - twice.lower == pytest.approx(once.upper - once.lower, rel=0.01)


def plausible(count, trials, alpha):
    """Whether a binomial of this chance gives such a count in all but one case in ten thousand."""
    return stats.binomtest(count, trials, alpha).pvalue > 1e-4


def moments_of(rows):
    means = rows.mean(axis=1)
    squares = ((rows - means[:, None]) ** 2).sum(axis=1)
    return [Moments(rows.shape[1], float(m), float(s)) for m, s in zip(means, squares, strict=True)]


@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_under_the_null_welch_is_wrong_as_often_as_it_says(alpha):
    generator = np.random.default_rng(20130101)
    trials = 4000
    control = moments_of(generator.normal(0, 1, (trials, 40)))
    treatment = moments_of(generator.normal(0, 3, (trials, 25)))
    wrong = sum(compare([Stratum(c, t)], alpha=alpha).p_value < alpha for c, t in zip(control, treatment, strict=True))
    assert plausible(wrong, trials, alpha)


def test_under_the_null_epochs_of_changing_shares_and_level_are_wrong_as_often_as_they_say():
    generator = np.random.default_rng(7)
    trials = 3000
    arms = [
        [moments_of(generator.normal(level, 1 + level, (trials, n))) for n in sizes]
        for level, sizes in ((0.0, (90, 10)), (1.0, (50, 50)), (2.0, (10, 90)))
    ]
    wrong = 0
    for trial in range(trials):
        strata = [Stratum(control[trial], treatment[trial]) for control, treatment in arms]
        wrong += compare(strata, alpha=0.05).p_value < 0.05
    assert plausible(wrong, trials, 0.05)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(13)
    trials = 3000
    control = moments_of(generator.exponential(1.0, (trials, 200)))
    treatment = moments_of(generator.exponential(1.0, (trials, 150)) + 0.3)
    results = [compare([Stratum(c, t)], alpha=0.1) for c, t in zip(control, treatment, strict=True)]
    missed = sum(not result.lower <= 0.3 <= result.upper for result in results)
    assert plausible(missed, trials, 0.1)
