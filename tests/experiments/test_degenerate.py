"""Inputs of which nothing can be said: it is said so, and never a number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.allocation import allocate
from experiments.analysis.conclusions import conclude
from experiments.analysis.decision import Recommendation, Status, recommend
from experiments.analysis.evidence import Evidence, Maturity, MetricEvidence, VariantCount
from experiments.analysis.findings import NotEnoughData, Posterior, Relative
from experiments.analysis.histogram import Histogram
from experiments.analysis.joint import JointMoments
from experiments.analysis.paired import compare_paired
from experiments.analysis.power import Design, minimum_effect, sample_size
from experiments.analysis.proportion import compare_proportions
from experiments.analysis.replay import replay_aa
from experiments.analysis.sample_ratio import check_ratio
from experiments.analysis.stages import Stage
from experiments.analysis.verdict import reach_verdict, same_evidence, verify
from experiments.definition import Experiment, Variant
from experiments.metric import Covariate, Direction, Metric, MetricKind, Role
from experiments.plan import Method, Plan

ODD = st.sampled_from([0.0, 1.0, -1.0, 1e-300, 1e300, -1e300, math.inf, -math.inf, math.nan, 1e155, 0.1])
VALUE = st.one_of(ODD, st.floats(allow_nan=True, allow_infinity=True))
EPOCHS = (allocate((0.5, 0.5), coverage=1.0),)
METHODS = (Plan(method=Method.FIXED), Plan(), Plan(planned_units=50, looks=3))


def finite(value):
    return isinstance(value, int | float) and math.isfinite(value)


def numbers(found):
    yield from (getattr(found, name) for name in found.__slots__ if isinstance(getattr(found, name), float))


def experiment_of(plan, kind=MetricKind.MEAN, **changes):
    metric = Metric("m", kind, "o", Direction.DECREASE, Role.SUCCESS, **changes)
    arms = (Variant("control", 1, 0.5, control=True), Variant("treatment", 2, 0.5))
    return Experiment("e", "model", arms, (metric,), seed="e", minimum_units=2, plan=plan)


def evidence_of(arms, histograms=None):
    cells = {(name, 1, ""): joint for name, joint in arms.items() if joint.n}
    units = {name: joint.n for name, joint in arms.items()}
    if histograms is not None:
        units = {name: each.n for name, each in histograms.items()}
    found = MetricEvidence(
        moments=cells,
        histograms={} if histograms is None else {(name, 1, ""): each for name, each in histograms.items()},
        units=units,
        maturity={name: Maturity(n, 0, 0) for name, n in units.items()},
    )
    stages = {Stage.JOURNALLED: {(name, 1): n for name, n in units.items()}}
    return Evidence((VariantCount("control"), VariantCount("treatment")), (found,), stages)


def check(experiment, evidence):
    """Every number that is told is finite, and the verdict comes out again from what is stored."""
    found = conclude(experiment, evidence, EPOCHS)
    result = found.comparisons[0].result
    if isinstance(result, NotEnoughData):
        assert len(result.reason) > 10
    else:
        assert all(map(finite, numbers(result)))
        assert result.lower <= result.upper
        assert 0 <= result.p_value <= 1
        assert result.standard_error > 0
        for part in (result.relative, result.posterior):
            if isinstance(part, Relative | Posterior):
                assert all(map(finite, numbers(part)))
    decision = recommend(experiment, found, evidence)
    assert decision.reasons
    assert "nan" not in " ".join(decision.reasons).lower()
    if isinstance(result, NotEnoughData):
        assert decision.confidence is None
        assert decision.average_improvement is None
    verdict = reach_verdict(experiment, EPOCHS, evidence, {})
    assert verify(verdict.basis, verdict.outcome, verdict.digest).same
    return result


@settings(deadline=None, max_examples=300)
@given(
    control=st.lists(st.tuples(VALUE, VALUE, VALUE), max_size=6),
    treatment=st.lists(st.tuples(VALUE, VALUE, VALUE), max_size=6),
    plan=st.sampled_from(METHODS),
    plain=st.booleans(),
)
def test_no_value_whatever_makes_a_number_that_is_none(control, treatment, plan, plain):
    arms = {}
    for name, rows in (("control", control), ("treatment", treatment)):
        table = [(row[0], 1.0, row[2], 1.0) if plain else (*row, 1.0) for row in rows]
        arms[name] = JointMoments.of(np.array(table).reshape(-1, 4))
    experiment = experiment_of(plan, covariate=Covariate.PRE_EXPERIMENT)
    check(experiment, evidence_of(arms))


@pytest.mark.parametrize("plan", METHODS)
@pytest.mark.parametrize(
    ("control", "treatment", "words"),
    [
        ([], [], "0 units"),
        ([1.0, 2.0], [], "0 units"),
        ([1.0], [2.0], "1 units"),
        ([1.0, 2.0, 3.0], [2.0], "1 units"),
        ([0.1] * 30, [0.1] * 30, "no unit differs"),
        ([0.0] * 30, [0.0] * 30, "no unit differs"),
        ([1.0] * 30, [2.0] * 30, "no unit differs"),
        ([math.inf, 1.0], [1.0, 2.0], "no finite number"),
        ([1e200, -1e200], [1.0, 2.0], "no finite number"),
        ([math.nan] * 3, [1.0, 2.0], "no finite number"),
    ],
)
def test_what_nothing_can_be_said_of_is_said_to_be_so(plan, control, treatment, words):
    arms = {
        name: JointMoments.of(np.array([(value, 1.0) for value in values]).reshape(-1, 2))
        for name, values in (("control", control), ("treatment", treatment))
    }
    result = check(experiment_of(plan), evidence_of(arms))
    assert isinstance(result, NotEnoughData)
    assert words in result.reason


def test_a_missing_arm_and_missing_everything_are_continued_with_words():
    experiment = experiment_of(Plan())
    evidence = Evidence((), (MetricEvidence(),))
    decision = recommend(experiment, conclude(experiment, evidence, ()), evidence)
    assert (decision.recommendation, decision.status) == (Recommendation.CONTINUE, Status.NOT_ENOUGH_DATA)
    assert "control has 0 units" in decision.reasons[0]
    assert "cannot be told before there are units in both arms" in decision.reasons[1]
    assert decision.remaining_units is None


@settings(deadline=None)
@given(st.lists(st.floats(-1e9, 1e9), max_size=40), st.lists(st.floats(-1e9, 1e9), max_size=40), st.floats(0.01, 0.99))
def test_quantiles_of_little_or_of_ties_claim_nothing_that_is_no_number(control, treatment, quantile):
    histograms = {"control": Histogram.of(control), "treatment": Histogram.of(treatment)}
    experiment = experiment_of(Plan(), MetricKind.QUANTILE, quantile=quantile)
    check(experiment, evidence_of({}, histograms))


def test_a_ratio_without_a_denominator_is_none():
    arms = {
        name: JointMoments.of(np.column_stack([np.arange(20.0), np.tile(weights, 10)]))
        for name, weights in (("control", [1.0, 1.0]), ("treatment", [-1.0, 1.0]))
    }
    result = check(experiment_of(Plan(), MetricKind.RATIO, denominator="d"), evidence_of(arms))
    assert isinstance(result, NotEnoughData)
    assert "denominator" in result.reason


@settings(deadline=None)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_proportions_of_few_units_are_finite_or_none(x0, n0, x1, n1):
    found = compare_proportions((x0, n0), (x1, n1), alpha=0.05)
    if isinstance(found, NotEnoughData):
        assert min(n0, n1) == 0 or x0 > n0 or x1 > n1
    else:
        assert all(map(finite, (found.lower, found.upper, found.p_value)))


@settings(deadline=None)
@given(st.lists(st.tuples(VALUE, VALUE), max_size=5), st.sampled_from([None, 100]))
def test_pairs_claim_nothing_that_is_no_number(rows, tuned):
    found = compare_paired(JointMoments.of(np.array(rows).reshape(-1, 2)), alpha=0.05, tuned_units=tuned)
    assert isinstance(found, NotEnoughData) or all(map(finite, (found.lower, found.upper, found.p_value)))


@settings(deadline=None)
@given(st.lists(st.tuples(VALUE, VALUE, st.integers(0, 3)), max_size=5), st.sampled_from([None, 100]))
def test_several_pairs_of_a_unit_claim_nothing_that_is_no_number(rows, tuned):
    found = compare_paired(JointMoments.of(np.array(rows).reshape(-1, 3)), alpha=0.05, tuned_units=tuned)
    if not isinstance(found, NotEnoughData):
        assert all(map(finite, (found.lower, found.upper, found.p_value, found.difference, found.shrunk)))


def test_sizes_and_checks_without_a_basis_are_refused_with_words():
    still = Design(0.0, 0.0)
    assert isinstance(sample_size(0.0, Design(1.0, 1.0)), NotEnoughData)
    assert isinstance(sample_size(math.nan, Design(1.0, 1.0)), NotEnoughData)
    assert isinstance(sample_size(1.0, still), NotEnoughData)
    assert isinstance(sample_size(1.0, Design(math.inf, 1.0)), NotEnoughData)
    assert isinstance(sample_size(1e-9, Design(1.0, 1.0)), NotEnoughData)
    assert isinstance(minimum_effect(1000, still), NotEnoughData)
    assert isinstance(minimum_effect(1, Design(1.0, 1.0)), NotEnoughData)
    assert isinstance(check_ratio([], []), NotEnoughData)
    assert isinstance(check_ratio([[0, 0]], [[0.5, 0.5]], watched=True), NotEnoughData)
    assert isinstance(replay_aa([], np.empty((0, 2)), seeds=["a"]), NotEnoughData)
    assert isinstance(replay_aa([], np.empty((0, 2)), seeds=[str(n) for n in range(20)]), NotEnoughData)
    assert isinstance(replay_aa(["u"], np.ones((1, 2)), seeds=[str(n) for n in range(20)]), NotEnoughData)


def test_evidence_that_was_added_up_in_another_order_is_the_same_evidence():
    experiment = experiment_of(Plan())
    rows = np.column_stack([np.random.default_rng(1).normal(1e3, 1, 500), np.ones(500)])
    arms = {"control": JointMoments.of(rows[:250]), "treatment": JointMoments.of(rows[250:])}
    turned = {"control": JointMoments.of(rows[:250][::-1]), "treatment": JointMoments.of(rows[250:][::-1])}
    changed = rows.copy()
    changed[3, 0] += 0.01
    corrected = arms | {"control": JointMoments.of(changed[:250])}
    basis = reach_verdict(experiment, EPOCHS, evidence_of(arms), {}).basis
    assert arms != turned
    assert same_evidence(basis, experiment, evidence_of(turned))
    assert not same_evidence(basis, experiment, evidence_of(corrected))
    assert not same_evidence(basis, experiment, evidence_of(arms | {"control": JointMoments.of(rows[:249])}))
