from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from trainer.export import export
from trainer.importance import importance, native_importance

NAMES = ("strong", "weak", "noise")


@pytest.fixture(scope="module")
def rows():
    generator = np.random.default_rng(3)
    rows = generator.normal(size=(3_000, 3)) * [1.0, 50.0, 1.0]
    logits = 2 * rows[:, 0] + 0.02 * rows[:, 1]
    return rows, (generator.random(3_000) < 1 / (1 + np.exp(-logits))).astype(np.int64)


@pytest.fixture(scope="module")
def fitted(rows):
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(rows[0][:2_000], rows[1][:2_000])


def test_importance_through_the_graph_is_that_of_scikit_learn_through_the_estimator(rows, fitted):
    held = rows[0][2_000:], rows[1][2_000:]
    found = importance(fitted, export(fitted, rows[0]), *held, NAMES, repeats=20)
    theirs = permutation_importance(
        fitted, *held, scoring="neg_brier_score", n_repeats=20, random_state=np.random.RandomState(1)
    )
    ours = {one.feature: one for one in found.features}
    for place, name in enumerate(NAMES):
        spread = theirs.importances_std[place] + 1e-4
        assert ours[name].increase == pytest.approx(theirs.importances_mean[place], abs=3 * spread)
    assert [one.feature for one in found.features] == ["strong", "weak", "noise"]
    assert ours["strong"].increase > 10 * ours["strong"].standard_error
    assert abs(ours["noise"].increase) < 4 * ours["noise"].standard_error + 1e-5


def test_the_same_seed_gives_the_same_importance_and_another_one_another(rows, fitted):
    graph = export(fitted, rows[0])
    once, again, other = (
        importance(fitted, graph, rows[0][2_000:], rows[1][2_000:], NAMES, seed=seed).to_json() for seed in (1, 1, 2)
    )
    assert once == again
    assert once != other


def test_the_standard_error_is_that_of_other_rows(rows, fitted):
    # What is told of one sample's error is found again in the spread over many samples.
    generator = np.random.default_rng(8)
    graph = export(fitted, rows[0])
    told, found = [], []
    for _ in range(60):
        chosen = generator.integers(0, len(rows[0]), 400)
        one = importance(fitted, graph, rows[0][chosen], rows[1][chosen], NAMES, seed=int(generator.integers(1e9)))
        told.append(one.features[0].standard_error)
        found.append(one.features[0].increase)
    assert 0.6 < np.mean(told) / np.std(found, ddof=1) < 1.4


def test_native_importance_is_there_where_the_estimator_has_it(rows, fitted):
    data, labels = rows
    forest = RandomForestClassifier(n_estimators=10, random_state=1).fit(data, labels)
    values, kind = native_importance(forest, data)
    assert (values, kind) == (forest.feature_importances_.tolist(), "impurity")
    values, kind = native_importance(fitted, data)
    assert kind == "coefficient"
    assert values[0] > values[1] > values[2]
    plain = LogisticRegression(max_iter=1_000).fit(data, labels)
    scaled, _ = native_importance(plain, data)
    assert scaled[0] / scaled[1] == pytest.approx(values[0] / values[1], rel=0.2), "whatever the unit is"
    boosted = HistGradientBoostingClassifier(max_iter=5).fit(data, labels)
    assert native_importance(boosted, data) == (None, "")
