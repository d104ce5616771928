from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from experiments.analysis.conclusions import Conclusions
from experiments.analysis.decision import Recommendation, recommend
from experiments.analysis.evidence import Evidence, VariantCount
from experiments.analysis.findings import Comparison, Estimate, NotEnoughData, Relative, SampleRatioCheck
from experiments.analysis.multiplicity import holm
from experiments.analysis.stages import Stage, StageCheck
from experiments.definition import Direction, Metric, MetricKind, Role, Variant

FINE = SampleRatioCheck(chi_square=0.5, p_value=0.48, degrees_of_freedom=1, mismatch=False)
BROKEN = SampleRatioCheck(chi_square=40.0, p_value=3e-10, degrees_of_freedom=1, mismatch=True)
MISSING = NotEnoughData("treatment has 3 units; 100 are needed")


def estimate(difference, p_value):
    return Estimate(
        control_mean=0.2,
        treatment_mean=0.2 + difference,
        difference=difference,
        lower=difference - 0.01,
        upper=difference + 0.01,
        confidence=0.95,
        p_value=p_value,
        degrees_of_freedom=100.0,
        control_units=5000,
        treatment_units=5001,
        method="welch",
        standard_error=0.005,
        critical=2.0,
        relative=Relative(difference / 0.2, (difference - 0.01) / 0.2, (difference + 0.01) / 0.2),
        shrunk=difference / 2,
    )


def decide(experiment, comparisons, *, ratio=FINE, counts=(), **changes):
    stages = (StageCheck(Stage.JOURNALLED, (5000, 5001), ratio),)
    found = Conclusions(tuple(comparisons), stages, (), (), {})
    return recommend(experiment, replace(found, **changes), Evidence(counts=tuple(counts), metrics=()))


BETTER, WORSE, SAME = estimate(-0.02, 1e-6), estimate(0.02, 1e-6), estimate(-0.001, 0.4)


@pytest.fixture
def judge(make_experiment):
    """Judge success, guardrail and monitoring findings by treatment; metrics are better when less."""

    def run(treatments, *, ratio=FINE, counts=(), alpha=0.05):
        names = list(treatments)
        share = 1 / (len(names) + 1)
        variants = (
            Variant("control", 1, share, control=True),
            *(Variant(name, number + 2, share) for number, name in enumerate(names)),
        )
        roles = [
            ("first", Role.SUCCESS),
            ("second", Role.SUCCESS),
            ("guard", Role.GUARDRAIL),
            ("watch", Role.MONITORING),
        ]
        metrics = tuple(
            Metric(name, MetricKind.MEAN, "late", Direction.DECREASE, role)
            for name, role in roles
            if any(name in found for found in treatments.values())
        )
        experiment = make_experiment(variants=variants, metrics=metrics, alpha=alpha)
        comparisons = [
            Comparison(metric.metric, name, found[metric.metric])
            for metric in metrics
            for name, found in treatments.items()
        ]
        return decide(experiment, comparisons, ratio=ratio, counts=counts)

    return run


def test_better_and_nothing_worse_is_shipped(judge):
    decision = judge({"two": {"first": BETTER, "guard": SAME}})
    assert (decision.recommendation, decision.variant) == (Recommendation.SHIP, "two")
    assert "significantly better" in decision.reasons[0]
    assert "0.18 against 0.2" in decision.reasons[0]
    assert "p = 1e-06" in decision.reasons[0]
    assert "5001 against 5000 units" in decision.reasons[0]


def test_a_mismatch_comes_before_anything_else(judge):
    decision = judge({"two": {"first": BETTER}}, ratio=BROKEN)
    assert (decision.recommendation, decision.variant) == (Recommendation.INVESTIGATE, "")
    assert "3e-10" in decision.reasons[0]


def test_worse_in_a_success_metric_is_kept_away(judge):
    assert judge({"two": {"first": WORSE}}).recommendation is Recommendation.KEEP


def test_a_broken_guardrail_outweighs_success(judge):
    decision = judge({"two": {"first": BETTER, "guard": WORSE}})
    assert decision.recommendation is Recommendation.KEEP
    assert any("guard" in reason and "significantly worse" in reason for reason in decision.reasons)


def test_better_in_one_and_worse_in_another_is_kept_away(judge):
    assert judge({"two": {"first": BETTER, "second": WORSE}}).recommendation is Recommendation.KEEP


def test_no_difference_yet_goes_on(judge):
    decision = judge({"two": {"first": SAME, "guard": SAME}})
    assert decision.recommendation is Recommendation.CONTINUE
    assert "is not settled" in decision.reasons[0]


def test_not_enough_data_goes_on_and_says_why(judge):
    decision = judge({"two": {"first": MISSING}}, ratio=NotEnoughData("no split has been in force for long enough"))
    assert decision.recommendation is Recommendation.CONTINUE
    assert any(MISSING.reason in reason for reason in decision.reasons)
    assert any("split could not be checked" in reason for reason in decision.reasons)


def test_a_guardrail_that_was_not_measured_does_not_hold(judge):
    decision = judge({"two": {"first": BETTER, "guard": MISSING}})
    assert decision.recommendation is Recommendation.CONTINUE


def test_a_monitoring_metric_decides_nothing(judge):
    decision = judge({"two": {"first": BETTER, "watch": WORSE}})
    assert decision.recommendation is Recommendation.SHIP
    assert judge({"two": {"first": SAME, "watch": WORSE}}).recommendation is Recommendation.CONTINUE


def test_of_several_treatments_the_one_that_gains_most_is_shipped(judge):
    decision = judge({"two": {"first": estimate(-0.02, 1e-6)}, "three": {"first": estimate(-0.03, 1e-5)}})
    assert (decision.recommendation, decision.variant) == (Recommendation.SHIP, "three")
    assert "of two, three it has the greatest gain in first" in decision.reasons


def test_one_harmful_treatment_of_two_does_not_end_the_experiment(judge):
    decision = judge({"two": {"first": WORSE}, "three": {"first": SAME}})
    assert decision.recommendation is Recommendation.CONTINUE
    assert any("two is significantly worse" in reason for reason in decision.reasons)


def test_many_claims_share_alpha(judge):
    barely = estimate(-0.02, 0.03)
    assert judge({"two": {"first": barely}}).recommendation is Recommendation.SHIP
    crowd = {"two": {"first": barely, "second": SAME}}
    decision = judge(crowd)
    assert decision.recommendation is Recommendation.CONTINUE
    assert "0.06 by Holm" in decision.reasons[0]


def test_the_direction_decides_what_is_better(make_experiment):
    experiment = make_experiment()
    upward = replace(experiment, metrics=(replace(experiment.metrics[0], direction=Direction.INCREASE),))
    comparisons = [Comparison("brier", "treatment", WORSE)]
    decision = decide(upward, comparisons)
    assert decision.recommendation is Recommendation.SHIP


def test_what_is_not_compared_is_said(judge):
    counts = (
        VariantCount("control", units=10, predictions=10),
        VariantCount("two", units=10, predictions=12, failed_predictions=2, fallback_predictions=1, lost_predictions=3),
    )
    decision = judge({"two": {"first": BETTER}}, counts=counts)
    assert decision.reasons[-1].startswith("of the predictions of two 2 failed, 1 were answered by the control's")
    assert "3 could not be journalled" in decision.reasons[-1]


def test_holm_adjusts_step_by_step():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
    assert holm([0.2]) == [0.2]


def test_under_the_null_holm_makes_any_false_claim_as_seldom_as_it_says():
    generator = np.random.default_rng(17)
    trials = 2000
    wrong = sum(min(holm(row)) <= 0.05 for row in generator.uniform(size=(trials, 6)).tolist())
    assert stats.binomtest(wrong, trials, 0.05, alternative="greater").pvalue > 1e-4
