"""Evaluation: a worse candidate is never blessed, an equal one seldom, a clearly better one is."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, bootstrap
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, f1_score, log_loss, roc_auc_score

from trainer.evaluation.bootstrap import paired
from trainer.evaluation.metrics import weighted
from trainer.evaluation.verdict import Blessing, Held, judge
from trainer.records.policy import Evaluation, EvaluationMetric

BRIER = EvaluationMetric("brier")
WEIGHTS = np.array([2.0, -1.0, 1.0, 0.5])


def world(generator, count):
    rows = generator.normal(size=(count, len(WEIGHTS)))
    return rows, (generator.uniform(size=count) < 1 / (1 + np.exp(-rows @ WEIGHTS))).astype(int)


def fitted(rows, labels):
    return LogisticRegression().fit(rows, labels)


def said(estimator, rows):
    return estimator.predict_proba(rows)[:, 1]


def blessed(held, seed, **settings):
    return judge(Evaluation(**settings), BRIER, held, seed=seed).verdict is Blessing.BLESSED


def shuffled(generator, rows, labels):
    return fitted(rows, generator.permutation(labels)), rows


def without_a_good_feature(generator, rows, labels):
    del generator
    poorer = rows.copy()
    poorer[:, 0] = 0
    return fitted(poorer, labels), poorer


def tainted(generator, rows, labels):
    """Learn from rows of which the last quarter, one bad day, has its main feature times a thousand."""
    del generator
    spoiled = rows.copy()
    spoiled[-len(rows) // 4 :, 0] *= 1_000
    return fitted(spoiled, labels), rows


@pytest.mark.parametrize("worse", [shuffled, without_a_good_feature, tainted])
@pytest.mark.parametrize("runs", [12, pytest.param(100, marks=pytest.mark.soak)])
def test_a_worse_candidate_is_never_blessed(worse, runs):
    wrong = []
    for seed in range(runs):
        generator = np.random.default_rng(seed)
        rows, labels = world(generator, 700)
        champion = fitted(rows[:400], labels[:400])
        candidate, _ = worse(generator, rows[:400], labels[:400])
        test = rows[400:].copy()
        asked = test.copy()
        if worse is without_a_good_feature:
            asked[:, 0] = 0
        held = Held(labels[400:].astype(float), said(candidate, asked), said(champion, test))
        if blessed(held, seed):
            wrong.append(seed)
    assert wrong == []


@pytest.mark.parametrize(("alpha", "count"), [(0.2, 60), pytest.param(0.05, 1_000, marks=pytest.mark.soak)])
def test_an_equal_candidate_is_blessed_at_most_as_often_as_alpha_says(alpha, count):
    found = 0
    for seed in range(count):
        generator = np.random.default_rng(seed)
        rows, labels = world(generator, 300)
        truth = rows @ WEIGHTS
        # Both see the truth through noise of the same size: neither is better.
        candidate, champion = (1 / (1 + np.exp(-truth - generator.normal(0, 0.7, 300))) for _ in range(2))
        found += blessed(Held(labels.astype(float), candidate, champion), seed, alpha=alpha)
    assert found <= binom.isf(0.001, count, alpha)
    assert found > 0, "the test would see a verdict that never blesses"


def test_a_clearly_better_candidate_is_blessed():
    for seed in range(5):
        generator = np.random.default_rng(seed)
        rows, labels = world(generator, 900)
        champion, poorer = without_a_good_feature(generator, rows[:400], labels[:400])
        del poorer
        asked = rows[400:].copy()
        asked[:, 0] = 0
        held = Held(
            labels[400:].astype(float), said(fitted(rows[:400], labels[:400]), rows[400:]), said(champion, asked)
        )
        assert blessed(held, seed)


def test_a_candidate_that_is_better_on_the_whole_and_worse_in_a_slice_is_refused():
    generator = np.random.default_rng(1)
    rows, labels = world(generator, 4_000)
    region = np.where(np.arange(4_000) % 5 == 0, "south", "north").astype(object)
    truth = 1 / (1 + np.exp(-rows @ WEIGHTS))
    candidate = np.where(region == "south", 0.5, truth)
    champion = np.where(region == "south", truth, 0.5)
    held = Held(labels.astype(float), candidate, champion, slices={"region": region})
    judged = judge(Evaluation(slices=("region",)), BRIER, held, seed=0)
    assert judged.verdict is Blessing.NOT_BLESSED
    assert judged.comparisons[0].lower > 0
    (reason,) = judged.reasons
    assert reason.startswith("brier is worse where region=south")
    assert judged.slices["region=north"].lower > 0


def test_a_guardrail_must_be_shown_to_hold_within_its_margin():
    generator = np.random.default_rng(2)
    rows, labels = world(generator, 1_000)
    truth = 1 / (1 + np.exp(-rows @ WEIGHTS))
    # Better calibrated, but it ranks worse.
    champion = truth**4
    candidate = np.clip(truth + generator.normal(0, 0.08, 1_000), 0, 1)
    held = Held(labels.astype(float), candidate, champion)
    for margin, verdict in ((0.0, Blessing.NOT_BLESSED), (0.2, Blessing.BLESSED)):
        evaluation = Evaluation(guardrails=(EvaluationMetric("roc_auc", margin=margin),))
        assert judge(evaluation, BRIER, held, seed=0).verdict is verdict


def test_bounds_and_too_few_rows_refuse_also_without_a_champion():
    generator = np.random.default_rng(3)
    rows, labels = world(generator, 90)
    truth = 1 / (1 + np.exp(-rows @ WEIGHTS))
    held = Held(labels.astype(float), truth)
    judged = judge(Evaluation(), EvaluationMetric("brier", at_most=0.01), held, seed=0)
    assert [reason.partition(" ")[0] for reason in judged.reasons] == ["brier", "90"]
    assert judge(Evaluation(rows_min=50), BRIER, held, seed=0).verdict is Blessing.BLESSED


def test_metrics_under_whole_weights_are_those_of_scikit_learn_on_repeated_rows():
    generator = np.random.default_rng(4)
    labels = generator.integers(0, 2, 200).astype(float)
    scores = np.round(generator.uniform(size=200), 1)  # with ties
    weights = generator.integers(0, 4, (3, 200)).astype(float)
    oracles = {
        "brier": brier_score_loss,
        "log_loss": lambda y, p: log_loss(y, np.clip(p, 1e-15, 1 - 1e-15)),
        "roc_auc": roc_auc_score,
        "f1": lambda y, p: f1_score(y, p > 0.5),
        "accuracy": lambda y, p: float(np.mean((p > 0.5) == (y > 0.5))),
    }
    for name, oracle in oracles.items():
        found = weighted(name, labels, scores)(weights)
        for row, counts in zip(found, weights.astype(int), strict=True):
            assert row == pytest.approx(oracle(np.repeat(labels, counts), np.repeat(scores, counts))), name


def test_the_interval_is_that_of_scipys_bca():
    generator = np.random.default_rng(5)
    values = generator.exponential(size=150)
    found = paired(lambda weights: weights @ values / weights.sum(axis=1), 150, alpha=0.05, seed=0, resamples=8_000)
    oracle = bootstrap((values,), np.mean, confidence_level=0.9, n_resamples=8_000, method="BCa", rng=1)
    assert found.value == pytest.approx(values.mean())
    assert found.lower == pytest.approx(oracle.confidence_interval.low, abs=0.015)
    assert found.upper == pytest.approx(oracle.confidence_interval.high, abs=0.015)


def test_models_that_say_the_same_do_not_differ():
    generator = np.random.default_rng(6)
    labels, scores = generator.integers(0, 2, 200).astype(float), generator.uniform(size=200)
    judged = judge(Evaluation(), BRIER, Held(labels, scores, scores), seed=0)
    assert judged.verdict is Blessing.NOT_BLESSED
    assert (judged.comparisons[0].gain, judged.comparisons[0].lower) == (0, 0)
