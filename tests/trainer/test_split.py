"""Parts in the order of time, and estimators by import path."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from trainer.errors import EstimatorRefusedError, TrainingTableError
from trainer.estimators import build
from trainer.learning import learn
from trainer.records.policy import Estimator, Training
from trainer.split import split


@pytest.mark.parametrize("gap_us", [0, 1, 50, 200])
@pytest.mark.parametrize("validation", [0.0, 0.2])
def test_each_part_ends_a_gap_before_the_next_begins(gap_us, validation):
    generator = np.random.default_rng(gap_us)
    times = generator.integers(0, 2_000, 1_000)  # many at one moment, in no order
    parts = split(times, validation_share=validation, test_share=0.2, gap_us=gap_us)
    groups = [times[rows] for rows in (parts.train, parts.validation, parts.test) if len(rows)]
    assert len(groups) == (3 if validation else 2)
    for before, after in itertools.pairwise(groups):
        assert before.max() < after.min()
        assert after.min() - before.max() >= gap_us
    assert abs(len(parts.test) - 200) < 10
    everything = np.concatenate([parts.train, parts.validation, parts.test])
    assert len(np.unique(everything)) == len(everything)


def test_a_gap_that_leaves_nothing_is_refused():
    with pytest.raises(TrainingTableError, match="has no rows"):
        split(np.arange(100), validation_share=0.1, test_share=0.2, gap_us=90)


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "trainer.publish.publish",
        "sklearn.os.system",
        "sklearn.utils._joblib.Parallel",
        "sklearn.datasets.fetch_openml",
        "sklearn.no.such.Thing",
        "sklearn.pipeline.Pipeline",
        "sklearnevil.Thing",
        "sklearn.base.BaseEstimator",
        "sklearn.linear_model.LinearRegression",
    ],
)
def test_what_is_no_classifier_of_an_allowed_package_is_refused(path):
    with pytest.raises(EstimatorRefusedError):
        build(Training(estimator=Estimator(path)))


def test_parameters_that_an_estimator_does_not_take_are_refused():
    with pytest.raises(EstimatorRefusedError, match="cannot be made so"):
        build(Training(estimator=Estimator("sklearn.linear_model.LogisticRegression", {"magic": 1})))


def parts(seed=0):
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(600, 3))
    labels = (rows[:, 0] + generator.normal(size=600) > 1.2).astype(int)
    return (rows[:400], labels[:400]), (rows[400:], labels[400:])


def test_boosting_stops_by_the_validation_rows_and_others_say_that_they_cannot():
    boosting = Estimator("sklearn.ensemble.HistGradientBoostingClassifier", {"max_iter": 500})
    training = Training(estimator=boosting, early_stopping_rounds=5, seed=3)
    stopped = learn(training, build(training), *parts())
    assert stopped.n_iter_ < 200
    assert stopped.random_state == 3
    training = Training(estimator=Estimator("sklearn.linear_model.LogisticRegression"), early_stopping_rounds=5)
    with pytest.raises(EstimatorRefusedError, match="cannot stop early"):
        learn(training, build(training), *parts())


@pytest.mark.parametrize("name", ["linear_model.LogisticRegression", "ensemble.GradientBoostingClassifier"])
def test_balanced_classes_raise_what_is_said_of_the_rare_one(name):
    train, validation = parts()
    means = []
    for balanced in (False, True):
        training = Training(estimator=Estimator(f"sklearn.{name}"), balanced=balanced)
        fitted = learn(training, build(training), train, validation)
        means.append(fitted.predict_proba(validation[0])[:, 1].mean())
    assert means[1] > means[0] + 0.1
    training = Training(estimator=Estimator("sklearn.neighbors.KNeighborsClassifier"), balanced=True)
    with pytest.raises(EstimatorRefusedError, match="takes no weights"):
        learn(training, build(training), train, validation)
