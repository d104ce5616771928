"""Each method against scipy, statsmodels (golden values, see golden/make.py) or a published value."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from experiments.analysis import multiplicity, power
from experiments.analysis.bayes import posterior
from experiments.analysis.findings import Contrast, NotEnoughData, Relative
from experiments.analysis.group_sequential import boundaries, sequential_p_value
from experiments.analysis.joint import JointMoments
from experiments.analysis.moments import Moments
from experiments.analysis.paired import compare_paired, mcnemar
from experiments.analysis.proportion import _score, compare_proportions
from experiments.analysis.relative import relative_lift
from experiments.analysis.sample_ratio import sequential_p_value as sequential_ratio
from experiments.analysis.sequence import mixing_variance, reach, sequence_interval
from experiments.analysis.shrinkage import shrink
from experiments.analysis.welch import Stratum, compare, fixed_interval
from experiments.plan import Method, Spending

GOLDEN = json.loads((Path(__file__).parent / "golden/statsmodels.json").read_text())


def contrast(difference, error, *, control=10.0, units=2000):
    half = error * error / 2
    return Contrast(
        control, control + difference, difference, half, half, 2 * half, units - 2.0, units // 2, units // 2, "x"
    )


@pytest.mark.parametrize("row", GOLDEN["welch"])
def test_welch_equals_statsmodels(row):
    ours = compare([Stratum(Moments.of(row["control"]), Moments.of(row["treatment"]))], alpha=0.05)
    found = (ours.p_value, ours.degrees_of_freedom, ours.lower, ours.upper)
    assert found == pytest.approx((row["p_value"], row["df"], row["lower"], row["upper"]), rel=1e-9)


@pytest.mark.parametrize("row", GOLDEN["corrections"])
def test_corrections_equal_statsmodels(row):
    for name in ("holm", "hochberg", "benjamini_hochberg"):
        assert getattr(multiplicity, name)(row["p_values"]) == pytest.approx(row[name], rel=1e-12)


@pytest.mark.parametrize("row", GOLDEN["sizes"])
def test_the_sample_size_equals_statsmodels(row):
    share = row["ratio"] / (1 + row["ratio"])
    design = power.Design(1.0, 1.0, treatment_share=share, alpha=row["alpha"])
    units = power.sample_size(row["effect"], design, target_power=row["power"])
    assert units == math.ceil(row["control_units"] * (1 + row["ratio"]))
    assert power.power(row["effect"], 1000 * (1 + row["ratio"]), design) == pytest.approx(
        row["power_of_1000"], rel=1e-9
    )
    assert power.minimum_effect(units, design, target_power=row["power"]) == pytest.approx(row["effect"], rel=1e-2)


@pytest.mark.parametrize("row", GOLDEN["scores"])
def test_the_score_test_equals_statsmodels(row):
    ours = compare_proportions(tuple(row["control"]), tuple(row["treatment"]), alpha=0.05)
    assert ours.p_value == pytest.approx(row["p_value"], rel=1e-9)


def test_the_score_interval_is_the_published_one():
    # Newcombe, Statistics in Medicine 17 (1998), table II, Mee's method.
    for (x1, n1), (x0, n0), ends in (((56, 70), (48, 80), (0.0533, 0.3377)), ((9, 10), (3, 10), (0.1821, 0.8370))):
        found = compare_proportions((x0, n0), (x1, n1), alpha=0.05)
        assert (round(found.lower, 4), round(found.upper, 4)) == ends


@pytest.mark.parametrize("arms", [((48, 80), (56, 70)), ((30, 40), (12, 35)), ((1, 30), (0, 20)), ((29, 29), (9, 9))])
def test_the_ends_of_the_score_interval_are_where_the_likelihood_says(arms):
    (x0, n0), (x1, n1) = arms
    found = compare_proportions(*arms, alpha=0.05)

    def unlikely(base, delta):
        top = base + delta
        parts = [(x0, base), (n0 - x0, 1 - base), (x1, top), (n1 - x1, 1 - top)]
        return -sum(count * math.log(max(chance, 1e-300)) for count, chance in parts if count)

    for delta in (found.lower, found.upper):
        if abs(delta) == 1:
            continue
        low, high = max(0, -delta), min(1, 1 - delta)
        base = optimize.minimize_scalar(
            unlikely, (low, high), bounds=(low, high), args=(delta,), method="bounded", options={"xatol": 1e-12}
        ).x
        spread = math.sqrt(base * (1 - base) / n0 + (base + delta) * (1 - base - delta) / n1)
        assert abs(x1 / n1 - x0 / n0 - delta) / spread == pytest.approx(stats.norm.isf(0.025), rel=1e-4)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.floats(0, 1), st.floats(0, 1))
def test_the_score_interval_and_its_p_value_agree(n0, n1, part0, part1):
    arms = ((round(part0 * n0), n0), (round(part1 * n1), n1))
    found = compare_proportions(*arms, alpha=0.05)
    assert -1 <= found.lower <= arms[1][0] / n1 - arms[0][0] / n0 <= found.upper <= 1
    assume(abs(abs(_score(*arms, 0.0)) - stats.norm.isf(0.025)) > 1e-9)
    assert (found.p_value <= 0.05) == (not found.lower <= 0 <= found.upper)


def test_obrien_fleming_boundaries_are_the_textbook_ones():
    # Lan and DeMets' spending of 0.05, two-sided, five equal looks (Jennison and Turnbull; also ldbounds).
    found = boundaries([0.2, 0.4, 0.6, 0.8, 1.0], alpha=0.05)
    assert [round(bound, 3) for bound in found] == [4.877, 3.357, 2.680, 2.290, 2.031]


def test_power_family_boundaries_are_those_of_ldbounds():
    found = boundaries([0.25, 0.5, 0.75, 1.0], alpha=0.05, spending=Spending.POWER)
    assert [round(bound, 3) for bound in found] == [2.955, 2.559, 2.301, 2.092]


def test_group_sequential_boundaries_spend_alpha_and_no_more():
    fractions = [0.1, 0.15, 0.5, 0.55, 0.9, 1.0]
    bounds = boundaries(fractions, alpha=0.05)
    # An independent integration: the multivariate normal of the looks' deviates.
    correlation = np.array([[math.sqrt(min(s, t) / max(s, t)) for t in fractions] for s in fractions])
    reachable = [min(bound, 8.0) for bound in bounds]
    normal = stats.multivariate_normal(np.zeros(6), correlation, seed=1, maxpts=2_000_000, abseps=1e-7, releps=0)
    stays = normal.cdf(reachable, lower_limit=[-each for each in reachable])
    assert 1 - stays == pytest.approx(0.05, abs=2e-5)


def test_the_sequential_p_value_is_alpha_at_the_boundary():
    fractions = [0.25, 0.5, 0.75, 1.0]
    for alpha in (0.01, 0.05, 0.2):
        deviates = [0.0, *boundaries(fractions, alpha=alpha)[1:2]]
        assert sequential_p_value(fractions[:2], deviates) == pytest.approx(alpha, rel=1e-3)


def test_one_look_at_the_end_is_the_fixed_test():
    assert boundaries([1.0], alpha=0.05)[0] == pytest.approx(stats.norm.isf(0.025), abs=1e-9)
    assert sequential_p_value([1.0], [2.5]) == pytest.approx(2 * stats.norm.sf(2.5), rel=2e-4)


def test_the_sequence_is_that_of_the_paper():
    # Waudby-Smith et al., arXiv:2103.06476, with the exact rho: 8.212 / N* at alpha = 0.05.
    assert mixing_variance(alpha=0.05, tuned_units=1) == pytest.approx(8.212, abs=5e-4)
    for units in (100, 5000, 80_000):
        rho = mixing_variance(alpha=0.05, tuned_units=5000)
        n = units
        theirs = math.sqrt(n) * math.sqrt(2 * (n * rho + 1) / (n * n * rho) * math.log(math.sqrt(n * rho + 1) / 0.05))
        assert reach(units, alpha=0.05, rho_squared=rho) == pytest.approx(theirs, rel=1e-12)


def test_the_sequence_is_narrowest_where_it_is_tuned():
    best = mixing_variance(alpha=0.05, tuned_units=5000)
    found = optimize.minimize_scalar(
        lambda rho: reach(5000, alpha=0.05, rho_squared=rho),
        bounds=(best / 5, best * 5),
        method="bounded",
        options={"xatol": 1e-12},
    )
    assert found.x == pytest.approx(best, rel=1e-4)


@settings(deadline=None)
@given(z=st.floats(-8, 8), units=st.integers(4, 10**7), alpha=st.sampled_from([0.001, 0.05, 0.2]))
def test_the_sequence_and_its_p_value_agree(z, units, alpha):
    found = contrast(z, 1.0, units=units - units % 2)
    interval = sequence_interval(found, alpha=alpha)
    assume(abs(abs(z) - interval.critical) > 1e-9)
    assert (interval.p_value <= alpha) == (not interval.lower <= 0 <= interval.upper)


@settings(deadline=None)
@given(
    control=st.floats(-50, 50),
    difference=st.floats(-20, 20),
    error=st.floats(0.01, 5),
    alpha=st.sampled_from([0.01, 0.05, 0.2]),
    always=st.booleans(),
)
def test_the_lift_and_the_difference_never_disagree(control, difference, error, alpha, always):
    found = contrast(difference, error, control=control)
    interval = (sequence_interval if always else fixed_interval)(found, alpha=alpha)
    lift = relative_lift(found, interval)
    assume(isinstance(lift, Relative) and abs(abs(difference) / error - interval.critical) > 1e-6)
    assert (lift.lower <= 0 <= lift.upper) == (interval.lower <= 0 <= interval.upper)
    assert lift.lower <= lift.lift * (1 + 1e-9) + 1e-9
    assert lift.lift == pytest.approx(difference / abs(control))


def test_fiellers_interval_covers_the_lift_as_often_as_it_says():
    generator = np.random.default_rng(3)
    covered = 0
    for control, treatment in zip(generator.normal(1, 0.25, 4000), generator.normal(1.5, 0.25, 4000), strict=True):
        found = Contrast(control, treatment, treatment - control, 0.0625, 0.0625, 0.125, 1e9, 10**6, 10**6, "x")
        lift = relative_lift(found, fixed_interval(found, alpha=0.05))
        # Where the control's mean cannot be told from zero every lift is possible.
        covered += isinstance(lift, NotEnoughData) or lift.lower <= 0.5 <= lift.upper
    assert stats.binomtest(covered, 4000, 0.95).pvalue > 1e-3


def test_the_paired_test_is_scipys():
    rows = np.random.default_rng(4).normal(0, 1, (50, 1)) + np.random.default_rng(5).normal([0, 0.1], 0.3, (50, 2))
    ours = compare_paired(JointMoments.of(rows), alpha=0.05)
    theirs = stats.ttest_rel(rows[:, 1], rows[:, 0])
    interval = theirs.confidence_interval(0.95)
    assert (ours.p_value, ours.lower, ours.upper) == pytest.approx(
        (theirs.pvalue, interval.low, interval.high), rel=1e-9
    )
    watched = compare_paired(JointMoments.of(rows), alpha=0.05, tuned_units=50)
    assert watched.lower < ours.lower
    assert watched.critical == pytest.approx(3.035, abs=0.01)


def test_pairs_need_far_fewer_units_than_a_split():
    generator = np.random.default_rng(6)
    common = generator.normal(0, 1, 4000)
    rows = np.column_stack([common + generator.normal(0, 0.1, 4000), common + generator.normal(0, 0.1, 4000)])
    paired = compare_paired(JointMoments.of(rows), alpha=0.05)
    split = compare([Stratum(Moments.of(rows[:, 0].tolist()), Moments.of(rows[:, 1].tolist()))], alpha=0.05)
    correlation = np.corrcoef(rows.T)[0, 1]
    assert (split.standard_error / paired.standard_error) ** 2 == pytest.approx(1 / (1 - correlation), rel=0.02)


def test_mcnemars_test_is_the_exact_binomial_one():
    # Agresti, Categorical Data Analysis, table 10.1: 86 against 150 changed their minds.
    found = mcnemar(control_only=150, treatment_only=86)
    assert found.p_value == pytest.approx(stats.binomtest(86, 236, 0.5).pvalue, rel=1e-9)
    assert mcnemar(control_only=3, treatment_only=3).p_value == 1.0
    assert isinstance(mcnemar(control_only=0, treatment_only=0), NotEnoughData)


def test_the_posterior_is_that_of_numerical_integration():
    found = contrast(-0.3, 0.2, control=1.0)
    ours = posterior(found, alpha=0.1, more_is_better=False, prior_lift=0.5)

    def density(effect):
        return stats.norm.pdf(effect, 0, 0.5) * stats.norm.pdf(-0.3, effect, 0.2)

    total = integrate.quad(density, -5, 5, epsabs=1e-14)[0]
    mean = integrate.quad(lambda e: e * density(e), -5, 5, epsabs=1e-14)[0] / total
    wins = integrate.quad(density, -5, 0, epsabs=1e-14)[0] / total
    loss = integrate.quad(lambda e: e * density(e), 0, 5, epsabs=1e-14)[0] / total
    assert (ours.mean, ours.chance_to_win, ours.expected_loss) == pytest.approx((mean, wins, loss), rel=1e-9)
    assert (ours.lower + ours.upper) / 2 == pytest.approx(mean)


def test_the_shrunk_effect_solves_its_equation_and_takes_most_of_the_curse():
    generator = np.random.default_rng(7)
    true, critical = 1.0, 1.96
    picked = [each for each in generator.normal(true, 1, 20_000) if abs(each) > critical]
    shrunk = [shrink(each, error=1.0, critical=critical) for each in picked]
    assert np.mean(picked) > 2.3
    assert abs(np.mean(shrunk) - true) < 0.5 * abs(np.mean(picked) - true)
    for seen in (2.5, 4.0, -3.0):
        guess = shrink(seen, error=1.0, critical=critical)
        inside = integrate.quad(lambda d, at=guess: d * stats.norm.pdf(d, at), -critical, critical)[0]
        passes = stats.norm.sf(critical - guess) + stats.norm.cdf(-critical - guess)
        assert (guess - inside) / passes == pytest.approx(seen, rel=1e-6)
    assert shrink(1.5, error=1.0, critical=critical) == 1.5
    assert shrink(30.0, error=1.0, critical=critical) == pytest.approx(30.0)


def test_the_sequential_ratio_is_a_mean_of_dirichlet_multinomials():
    counts, chances = [5250, 4750], [0.5, 0.5]
    factors = [
        math.exp(
            stats.dirichlet_multinomial.logpmf(counts, [c * p for p in chances], 10_000)
            - stats.multinomial.logpmf(counts, 10_000, chances)
        )
        for c in (10, 100, 1000, 10_000)
    ]
    assert sequential_ratio([counts], [chances]) == pytest.approx(1 / np.mean(factors), rel=1e-8)
    assert sequential_ratio([[505, 495]], [chances]) == 1.0


def test_a_sequence_and_a_group_sequential_test_need_more_units_than_one_look():
    sizes = {
        method: power.sample_size(0.1, power.Design(1.0, 1.0, method=method))
        for method in (Method.FIXED, Method.GROUP_SEQUENTIAL, Method.SEQUENCE)
    }
    assert sizes[Method.FIXED] == 3140
    assert 1 < sizes[Method.GROUP_SEQUENTIAL] / 3140 < 1.1
    assert 1.6 < sizes[Method.SEQUENCE] / 3140 < 2.1
