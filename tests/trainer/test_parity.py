from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from trainer.adversarial import adversarial_rows
from trainer.certificate import Verdict
from trainer.errors import ParityRefusedError
from trainer.export import Exported, export
from trainer.parity import certify, probe_rows
from trainer.rounding import rounded


@pytest.fixture(scope="module")
def cancer():
    return load_breast_cancer(return_X_y=True)


@pytest.fixture(scope="module")
def seconds():
    """Give rows whose one column is in epoch seconds: float32 cannot tell the minutes apart."""
    generator = np.random.default_rng(5)
    rows = 1.37e9 + generator.uniform(0, 86_400, (2_000, 1))
    return rows, (np.sin(rows[:, 0] / 600) > 0).astype(int)


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), LogisticRegression()),
        HistGradientBoostingClassifier(max_iter=40),
        RandomForestClassifier(20, random_state=3),
        DecisionTreeClassifier(random_state=3),
    ],
    ids=["logistic", "boosting", "forest", "tree"],
)
def test_faithful_exports_are_certified(cancer, estimator):
    rows, labels = cancer
    estimator.fit(rounded(rows), labels)
    certificate = certify(estimator, export(estimator, rows), rows)
    certificate.require()
    assert certificate.real.label_flips == certificate.adversarial.label_flips == 0
    assert certificate.real.rows == len(rows)
    assert certificate.real.max_delta < 1e-4
    assert json.loads(certificate.to_json())["dtype"] == "float32"


def test_a_calibrated_pipeline_whose_export_is_silently_wrong_is_refused(cancer):
    rows, labels = cancer
    estimator = CalibratedClassifierCV(make_pipeline(StandardScaler(), LogisticRegression())).fit(rows, labels)
    certificate = certify(estimator, export(estimator, rows), rows)
    assert certificate.verdict is Verdict.DISAGREES
    assert certificate.real.label_flips > len(rows) // 4
    with pytest.raises(ParityRefusedError, match="rows get another label"):
        certificate.require()


def test_a_scaled_tree_on_epoch_seconds_is_exported_with_a_wide_input(seconds):
    rows, labels = seconds
    estimator = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=3)).fit(rows, labels)
    exported = export(estimator, rows)
    assert exported.dtype == "float64"
    certificate = certify(estimator, exported, rows)
    certificate.require()
    assert certificate.real.label_flips == 0


def test_the_same_tree_behind_a_float32_input_is_refused(seconds):
    rows, labels = seconds
    estimator = make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=3)).fit(rows, labels)
    narrow = Exported(export(estimator, rows - 1.37e9).content, "float32")
    with pytest.raises(ParityRefusedError):
        certify(estimator, narrow, rows).require()


def test_kinds_of_rows_that_were_not_compared_are_named(cancer):
    rows, labels = cancer
    estimator = LogisticRegression(max_iter=5_000).fit(rows, labels)
    certificate = certify(estimator, export(estimator, rows), rows)
    assert certificate.left_out == {
        "between categories": "no real row has such a value",
        "missing": "no real row has such a value",
        "infinite": "the estimator refuses it",
        "next to splits": "the graph has no trees",
    }


def test_missing_and_infinite_values_are_compared_where_the_estimator_takes_them(cancer):
    rows, labels = cancer
    holes = rows.copy()
    holes[::7, 3] = np.nan
    estimator = HistGradientBoostingClassifier(max_iter=20).fit(rounded(holes), labels)
    certificate = certify(estimator, export(estimator, holes), holes)
    certificate.require()
    assert certificate.left_out == {"between categories": "no real row has such a value"}


def test_adversarial_rows_are_the_same_for_the_same_seed(cancer):
    rows, _ = cancer
    first, second = adversarial_rows(rows, seed=4), adversarial_rows(rows, seed=4)
    assert all(np.array_equal(first[kind], second[kind], equal_nan=True) for kind in first)


def test_probe_rows_span_the_outputs(cancer):
    rows, labels = cancer
    estimator = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, labels)
    probe = probe_rows(export(estimator, rows), rows, count=16)
    probabilities = probe.outputs["probabilities"][:, 1]
    expected = estimator.predict_proba(rows)[:, 1]
    assert probe.inputs["features"].shape == (16, rows.shape[1])
    assert probe.inputs["features"].dtype == np.float32
    assert abs(probabilities.min() - expected.min()) < 1e-4
    assert abs(probabilities.max() - expected.max()) < 1e-4
    assert (np.diff(probabilities) >= 0).all()
