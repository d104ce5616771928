from __future__ import annotations

import numpy as np
import pytest

from experiments.allocation import allocate, resplit
from experiments.analysis.conclusions import conclude
from experiments.analysis.evidence import Evidence, MetricEvidence, VariantCount
from experiments.analysis.findings import Estimate, NotEnoughData
from experiments.analysis.joint import JointMoments
from experiments.analysis.stages import Stage
from experiments.plan import Method, Plan

FIXED = Plan(method=Method.FIXED)


def compare_variants(experiment, evidence):
    return conclude(experiment, evidence, []).comparisons


def evidence_of(moments, *, units=None, **changes):
    moments = {(*cell, ""): joint for cell, joint in moments.items()}
    counted = units or {name: sum(m.n for (arm, _, _), m in moments.items() if arm == name) for name, _, _ in moments}
    metric = MetricEvidence(moments=moments, units=counted, **changes)
    return Evidence(
        counts=(VariantCount("control"), VariantCount("treatment")),
        metrics=(metric,),
    )


def normal(seed, n, mean):
    values = np.random.default_rng(seed).normal(mean, 1, n)
    return JointMoments.of(np.column_stack([values, np.ones(n)]))


def test_each_treatment_is_compared_with_the_control(make_experiment):
    evidence = evidence_of({("control", 1): normal(1, 200, 0), ("treatment", 1): normal(2, 300, 1)})
    (comparison,) = compare_variants(make_experiment(plan=FIXED), evidence)
    assert (comparison.metric, comparison.variant) == ("brier", "treatment")
    assert isinstance(comparison.result, Estimate)
    assert comparison.result.difference == pytest.approx(1, abs=0.3)
    assert (comparison.result.control_units, comparison.result.treatment_units) == (200, 300)


def test_too_few_units_are_counted_out_in_words(make_experiment):
    evidence = evidence_of({("control", 1): normal(1, 200, 0), ("treatment", 1): normal(2, 99, 1)})
    (comparison,) = compare_variants(make_experiment(plan=FIXED), evidence)
    assert isinstance(comparison.result, NotEnoughData)
    assert "treatment has 99 units" in comparison.result.reason
    assert "100 are needed" in comparison.result.reason


def test_no_evidence_at_all_is_not_enough(make_experiment):
    (comparison,) = compare_variants(make_experiment(plan=FIXED), evidence_of({}, units={"control": 0}))
    assert isinstance(comparison.result, NotEnoughData)


def test_units_are_counted_once_however_many_epochs_saw_them(make_experiment):
    moments = {
        (arm, epoch): normal(10 * epoch + index, 60, index)
        for epoch in (1, 2)
        for index, arm in enumerate(("control", "treatment"))
    }
    once = evidence_of(moments, units={"control": 60, "treatment": 60})
    assert isinstance(compare_variants(make_experiment(plan=FIXED), once)[0].result, NotEnoughData)
    twice = evidence_of(moments)
    result = compare_variants(make_experiment(plan=FIXED), twice)[0].result
    assert (result.method, result.control_units) == ("welch_stratified", 120)


def test_a_value_that_is_not_finite_stops_the_claim(make_experiment):
    moments = {("control", 1): normal(1, 200, 0), ("treatment", 1): normal(2, 200, 1)}
    (comparison,) = compare_variants(make_experiment(plan=FIXED), evidence_of(moments, unusable={"treatment": 3}))
    assert isinstance(comparison.result, NotEnoughData)
    assert "3 predictions of treatment" in comparison.result.reason
    assert "probabilities[1]" in comparison.result.reason


def test_units_seen_in_both_epochs_widen_the_interval(make_experiment):
    control, treatment = normal(1, 400, 0), normal(2, 400, 0.1)
    moments = {(arm, epoch): m for epoch in (1, 2) for arm, m in (("control", control), ("treatment", treatment))}
    apart = compare_variants(make_experiment(plan=FIXED), evidence_of(moments))[0].result
    shared = {
        (("control", 1, ""), ("control", 2, "")): control.products,
        (("treatment", 1, ""), ("treatment", 2, "")): treatment.products,
        (("other", 1, ""), ("other", 2, "")): ((1e9, 0.0), (0.0, 0.0)),
    }
    same = compare_variants(make_experiment(plan=FIXED), evidence_of(moments, shared=shared))[0].result
    one = compare_variants(
        make_experiment(plan=FIXED), evidence_of({("control", 1): control, ("treatment", 1): treatment})
    )[0].result
    assert apart.upper - apart.lower < 0.8 * (same.upper - same.lower)
    assert same.upper - same.lower == pytest.approx(one.upper - one.lower, rel=0.01)


def test_the_split_is_checked_epoch_by_epoch(make_experiment):
    first = allocate((0.5, 0.5), coverage=1.0)
    epochs = [first, resplit(first, (0.1, 0.9))]
    seen = {("control", 1): 500, ("treatment", 1): 500, ("control", 2): 100, ("treatment", 2): 900}
    assert not check_split(make_experiment, seen, epochs).mismatch
    assert check_split(make_experiment, seen | {("control", 1): 300}, epochs).mismatch


def check_split(make_experiment, seen, epochs):
    evidence = Evidence(counts=(), metrics=(MetricEvidence(),), stages={Stage.JOURNALLED: seen})
    return conclude(make_experiment(plan=FIXED), evidence, epochs).sample_ratio
