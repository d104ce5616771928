"""Constructed cases in which the naive answer is wrong: the report says what a statistician would."""

from __future__ import annotations

import re

import numpy as np
import pytest

from experiments.allocation import allocate, resplit
from experiments.analysis.conclusions import conclude
from experiments.analysis.decision import Recommendation, Status, recommend
from experiments.analysis.evidence import Evidence, Maturity, MetricEvidence, VariantCount
from experiments.analysis.findings import NotEnoughData
from experiments.analysis.joint import JointMoments
from experiments.analysis.moments import Moments
from experiments.analysis.stages import Stage, losing_stage
from experiments.analysis.welch import Stratum, compare
from experiments.metric import Direction, Metric, MetricKind, Role
from experiments.plan import Method, Plan

HALVES = allocate((0.5, 0.5), coverage=1.0)
FIXED = Plan(method=Method.FIXED)
WATCHED = Plan()


def ones(values):
    return JointMoments.of(np.column_stack([values, np.ones(len(values))]))


def evidence_of(moments, *, stages=None, maturity=None, **changes):
    cells = {cell if len(cell) == 3 else (*cell, ""): joint for cell, joint in moments.items()}
    units = {arm: sum(joint.n for (name, _, _), joint in cells.items() if name == arm) for arm, _, _ in cells}
    if stages is None:
        by_epoch = {}
        for (variant, epoch, _), joint in cells.items():
            by_epoch[variant, epoch] = by_epoch.get((variant, epoch), 0) + joint.n
        stages = {Stage.JOURNALLED: by_epoch}
    found = MetricEvidence(moments=cells, units=units, maturity=maturity or {})
    counts = (VariantCount("control"), VariantCount("treatment"))
    return Evidence(counts=counts, metrics=(found,), stages=stages, elapsed_us=86_400_000_000, **changes)


def decide(experiment, evidence, epochs=(HALVES,)):
    found = conclude(experiment, evidence, epochs)
    return found, recommend(experiment, found, evidence)


@pytest.fixture
def experiment(make_experiment):
    def make(plan=WATCHED, **changes):
        metric = Metric("miss", MetricKind.MEAN, "miss", Direction.DECREASE, Role.SUCCESS, **changes)
        return make_experiment(plan=plan, metrics=(metric,))

    return make


@pytest.mark.parametrize("plan", [FIXED, WATCHED])
def test_simpson_a_treatment_that_is_better_every_day_is_not_called_worse(experiment, plan):
    # Kohavi's case: it is better on both days, and worse when the days are thrown together, since it got its many units
    # on the bad day.
    generator = np.random.default_rng(1)
    arms = {
        ("control", 1): generator.normal(0.10, 0.1, 9900), ("treatment", 1): generator.normal(0.08, 0.1, 100),
        ("control", 2): generator.normal(0.50, 0.1, 5000), ("treatment", 2): generator.normal(0.48, 0.1, 5000),
    }  # fmt: skip
    pooled = [np.concatenate([arms[arm, 1], arms[arm, 2]]) for arm in ("control", "treatment")]
    naive = compare([Stratum(*(Moments.of(each.tolist()) for each in pooled))], alpha=0.05)
    assert naive.lower > 0.2  # much worse, and very sure of it
    first = allocate((0.99, 0.01), coverage=1.0)
    evidence = evidence_of({cell: ones(values) for cell, values in arms.items()})
    found, decision = decide(experiment(plan), evidence, (first, resplit(first, (0.5, 0.5))))
    result = found.comparisons[0].result
    assert result.upper < 0
    assert result.lower < -0.02 < result.upper
    assert "stratified" in result.method
    assert (decision.recommendation, decision.variant) == (Recommendation.SHIP, "treatment")


def test_clustered_units_do_not_make_a_claim_out_of_a_few_busy_ones(experiment):
    # Forty units with a level each, and five hundred requests of each: 20 000 requests, and 40 pieces of evidence.
    generator = np.random.default_rng(4)
    moments, requests = {}, []
    for arm in ("control", "treatment"):
        levels = generator.normal(1.0, 0.3, 40)
        asked = levels[:, None] + generator.normal(0, 0.1, (40, 500))
        requests.append(Moments.of(asked.ravel().tolist()))
        moments[arm, 1] = JointMoments.of(np.column_stack([asked.sum(axis=1), np.full(40, 500.0)]))
    naive = compare([Stratum(*requests)], alpha=0.05)
    assert naive.p_value < 1e-10
    made = experiment(FIXED)
    found, _ = decide(made, evidence_of(moments))
    assert isinstance(found.comparisons[0].result, NotEnoughData)
    assert "40 units" in found.comparisons[0].result.reason
    enough = made.__class__(**{name: getattr(made, name) for name in made.__slots__} | {"minimum_units": 40})
    found, decision = decide(enough, evidence_of(moments))
    assert found.comparisons[0].result.p_value > 0.05
    assert decision.recommendation is Recommendation.CONTINUE


@pytest.mark.parametrize("plan", [FIXED, WATCHED])
def test_exposures_lost_in_one_arm_are_investigated_and_the_stage_is_named(experiment, plan):
    # One in ten of the treatment's answers fails, and those are the hard ones: what is left looks better.
    generator = np.random.default_rng(3)
    control, treatment = generator.normal(1, 0.3, 5000), np.sort(generator.normal(1, 0.3, 5000))[:4500]
    stages = {
        Stage.ASSIGNED: {("control", 1): 5000, ("treatment", 1): 5000},
        Stage.JOURNALLED: {("control", 1): 5000, ("treatment", 1): 5000},
        Stage.SERVED: {("control", 1): 5000, ("treatment", 1): 4500},
        Stage.MATURED: {("control", 1): 5000, ("treatment", 1): 4500},
    }
    moments = {("control", 1): ones(control), ("treatment", 1): ones(treatment)}
    found, decision = decide(experiment(plan), evidence_of(moments, stages=stages))
    assert found.comparisons[0].result.upper < 0  # "significantly better"
    assert losing_stage(found.stages).stage is Stage.SERVED
    assert (decision.recommendation, decision.status) == (Recommendation.INVESTIGATE, Status.DATA_QUALITY)
    assert "at the stage 'served' (control 5000, treatment 4500" in decision.reasons[0]
    assert (decision.confidence, decision.average_improvement) == (None, None)


def test_lost_predictions_name_the_journal_and_not_the_assignment(experiment):
    stages = {
        Stage.ASSIGNED: {("control", 1): 5000, ("treatment", 1): 5000},
        Stage.JOURNALLED: {("control", 1): 5000, ("treatment", 1): 4300},
    }
    moments = {("control", 1): ones(np.arange(5000.0)), ("treatment", 1): ones(np.arange(4300.0))}
    found, decision = decide(experiment(), evidence_of(moments, stages=stages))
    assert losing_stage(found.stages).stage is Stage.JOURNALLED
    assert "could not be journalled" in decision.reasons[0]
    broken = stages | {Stage.ASSIGNED: stages[Stage.JOURNALLED]}
    _, decision = decide(experiment(), evidence_of(moments, stages=broken))
    assert "the assignment itself" in decision.reasons[0]


@pytest.mark.parametrize("plan", [FIXED, WATCHED])
def test_labels_that_come_later_in_one_arm_are_not_taken_for_an_effect(experiment, plan):
    # Fraud is found late in the treatment, which lets its frauds look harmless at first: half of its labels are out.
    generator = np.random.default_rng(5)
    known = generator.normal(1, 0.3, 2500)
    moments = {("control", 1): ones(generator.normal(1.1, 0.3, 5000)), ("treatment", 1): ones(known)}
    stages = {
        Stage.JOURNALLED: {("control", 1): 5000, ("treatment", 1): 5000},
        Stage.SERVED: {("control", 1): 5000, ("treatment", 1): 5000},
        Stage.MATURED: {("control", 1): 5000, ("treatment", 1): 2500},
    }
    maturity = {"control": Maturity(5000, 0, 0), "treatment": Maturity(2500, 2500, 0)}
    found, decision = decide(experiment(plan), evidence_of(moments, stages=stages, maturity=maturity))
    assert found.comparisons[0].result.upper < 0
    assert decision.recommendation is Recommendation.INVESTIGATE
    assert "at the stage 'matured'" in decision.reasons[0]
    assert "2500 pending beside 2500 known in treatment" in decision.reasons[1]
    assert "give the metric a window" in decision.reasons[1]


def test_labels_that_are_late_in_both_arms_alike_are_waited_for(experiment):
    generator = np.random.default_rng(6)
    moments = {(arm, 1): ones(generator.normal(1, 0.3, 2500)) for arm in ("control", "treatment")}
    maturity = {arm: Maturity(2500, 2500, 0) for arm in ("control", "treatment")}
    found, decision = decide(experiment(), evidence_of(moments, maturity=maturity))
    assert not found.missingness[0].uneven
    assert decision.recommendation is Recommendation.CONTINUE
    assert "days at" in decision.reasons[1]
    assert decision.remaining_units > 0
    assert decision.remaining_us == pytest.approx(decision.remaining_units / 5000 * 86_400_000_000, rel=1e-6)


def test_an_arm_with_fresher_features_is_not_called_better(experiment):
    generator = np.random.default_rng(7)
    arms = (("control", 1.0, 60_000), ("treatment", 0.9, 5000))
    moments = {(arm, 1): ones(generator.normal(level, 0.3, 3000)) for arm, level, _ in arms}
    ages = {(arm, 1, ""): ones(generator.exponential(age, 3000)) for arm, _, age in arms}
    _, decision = decide(experiment(), evidence_of(moments, balance={"the age of the features in milliseconds": ages}))
    assert decision.recommendation is Recommendation.INVESTIGATE
    assert "differ in the age of the features" in decision.reasons[0]


def test_looking_a_hundred_times_ends_nothing_that_a_sequence_does_not_end(experiment):
    # A null run on which the fixed test claims an effect on the way: the sequence, looking as often, claims none.
    made = experiment()
    for seed in range(200):
        generator = np.random.default_rng([8, seed])
        control, treatment = generator.normal(1, 0.5, (2, 4000))
        fixed = [
            compare([Stratum(*(Moments.of(each[:n].tolist()) for each in (control, treatment)))], alpha=0.05).p_value
            for n in range(100, 4001, 100)
        ]
        if min(fixed) < 0.03 and fixed[-1] > 0.2:
            break
    watches = {}
    for n in range(100, 4001, 100):
        moments = {("control", 1): ones(control[:n]), ("treatment", 1): ones(treatment[:n])}
        found = conclude(made, evidence_of(moments), (HALVES,), watches)
        watches = found.watches
        assert found.comparisons[0].result.p_value > 0.05
    assert watches["miss", "treatment"].running.looks == 40
    assert found.comparisons[0].result.lower < 0 < found.comparisons[0].result.upper


def test_a_group_sequential_test_claims_at_its_planned_looks_only(experiment):
    plan = Plan(planned_units=4000, looks=4)
    made = experiment(plan)
    generator = np.random.default_rng(9)
    control, treatment = generator.normal(1.1, 0.5, 2000), generator.normal(1.0, 0.5, 2000)
    watches, methods = {}, []
    for n in range(100, 2001, 100):
        moments = {("control", 1): ones(control[:n]), ("treatment", 1): ones(treatment[:n])}
        found = conclude(made, evidence_of(moments), (HALVES,), watches)
        watches = found.watches
        result = found.comparisons[0].result
        methods.append(getattr(result, "method", "none"))
    assert methods == ["none"] * 4 + [f"welch_look_{k}" for k in (1, 2, 3) for _ in range(5)] + ["welch_look_4"]
    assert result.p_value < 0.05
    assert watches["miss", "treatment"].fractions == (0.25, 0.5, 0.75, 1.0)


def test_a_planned_end_without_a_claim_stops(experiment):
    generator = np.random.default_rng(10)
    moments = {(arm, 1): ones(generator.normal(1, 0.5, 2000)) for arm in ("control", "treatment")}
    _, decision = decide(experiment(Plan(planned_units=4000)), evidence_of(moments))
    assert decision.recommendation is Recommendation.STOP
    assert "4000 units have come, 4000 were planned" in decision.reasons[0]


def test_an_effect_that_is_too_small_to_matter_stops(experiment):
    generator = np.random.default_rng(11)
    moments = {(arm, 1): ones(generator.normal(1, 0.1, 9000)) for arm in ("control", "treatment")}
    _, decision = decide(experiment(minimum_effect=0.02), evidence_of(moments))
    assert decision.recommendation is Recommendation.STOP
    assert "smaller than the least that matters" in decision.reasons[0]


@pytest.mark.parametrize(("margin", "ships"), [(0.05, True), (0.002, False)])
def test_a_guardrail_must_hold_within_its_margin(make_experiment, margin, ships):
    generator = np.random.default_rng(12)
    metrics = (
        Metric("miss", MetricKind.MEAN, "miss", Direction.DECREASE, Role.SUCCESS),
        Metric("cost", MetricKind.MEAN, "cost", Direction.DECREASE, Role.GUARDRAIL, margin=margin),
    )
    cells = [
        {(arm, 1, ""): ones(generator.normal(mean, 0.2, 5000)) for arm, mean in (("control", 1), ("treatment", other))}
        for other in (0.98, 1.0)
    ]
    units = {"control": 5000, "treatment": 5000}
    evidence = Evidence(counts=(), metrics=tuple(MetricEvidence(moments=each, units=units) for each in cells))
    _, decision = decide(make_experiment(metrics=metrics), evidence)
    assert (decision.recommendation is Recommendation.SHIP) == ships
    assert ("not worse than its margin" if ships else "not settled") in decision.reasons[1]
    if ships:
        assert re.fullmatch(r"miss: expect -0.0\d+ rather than -0.0\d+, since .*", decision.reasons[-1])
