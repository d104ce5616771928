"""The steps `train` and `evaluate` on tables in a folder: numbers, classes, folds, other libraries, searches."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import f1_score, log_loss, mean_absolute_error, r2_score, root_mean_squared_error

from trainer.answers import of_graph
from trainer.champion import Champion
from trainer.errors import EstimatorRefusedError, EvaluationFailedError, SearchFailedError, TrainingTableError
from trainer.evaluation.metrics import weighted
from trainer.learning import sampled
from trainer.records.policy import Task, Training
from trainer.records.rules import definition_of
from trainer.runner.folder import finish, finished
from trainer.runner.steps import evaluate, train
from trainer.runner.steps.search import STORAGE
from trainer.runner.tables import CHAMPION_MODEL, TABLE, judging, read, write
from trainer.split import split, walk
from trainer.triggers.metrics import measure
from turnout.registry.v1 import registry_service_pb2 as registry_pb

ROWS = 1_200
NAMES = ["shop.price", "shop.crowd", "shop.size"]
RIDGE = {"estimator": {"path": "sklearn.linear_model.Ridge"}, "task": "regression"}


def needs(library):
    there = importlib.util.find_spec(library) is not None
    return pytest.mark.skipif(not there, reason=f"{library} is not installed: pip install 'turnout[{library}]'")


def labels_of(task, rows, generator):
    odds = 1.5 * rows[:, 0] - rows[:, 1] + generator.normal(0, 0.5, len(rows))
    if task is Task.REGRESSION:
        return 1e5 + 300 * odds
    return (odds > 0).astype(float) if task is Task.BINARY else np.digitize(odds, [-1.0, 1.0]).astype(float)


@pytest.fixture
def shop(tmp_path):
    """Return what writes a job with its table into a folder."""

    def make(training, place="run", *, champion=None, weak=0.0, **parts):
        folder = tmp_path / place
        folder.mkdir(exist_ok=True)
        definition = {
            "model": "m",
            "data": {"feature_set": "shop", "label_sql": "SELECT 1", "validation_share": 0.2, "test_share": 0.3}
            | parts,
            "training": training,
        }
        task = definition_of(definition).training.task
        generator = np.random.default_rng(3)
        rows = generator.normal(size=(ROWS, len(NAMES)))
        label = labels_of(task, rows, generator)
        rows[:, 0] += weak * generator.normal(size=ROWS)
        columns = {name: rows[:, at] for at, name in enumerate(NAMES)}
        times = pa.array(np.arange(ROWS) * 60_000_000).cast(pa.timestamp("us"))
        write(folder / TABLE, pa.table({**columns, "event_time": times, "label": label}))
        files, said = [TABLE], None
        if champion is not None:
            (folder / CHAMPION_MODEL).write_bytes(champion)
            files.append(CHAMPION_MODEL)
            said = Champion(1, "shop", 0, {}, "", "", 1).document()
        result = {"feature_names": NAMES, "fingerprint": "f", "definition": "d", "champion": said}
        finish(folder, "table", result, files)
        job = {"run": "policies/p/runs/1", "reason": "to see", "scripts": {}, "definition": definition}
        return job | {"allowed": ["sklearn", "lightgbm", "xgboost"], "champion_recipe": None}, folder

    return make


def run(job, folder):
    train.run(job, folder)
    evaluate.run(job, folder)
    facts = registry_pb.VersionFacts.FromString((folder / "facts.pb").read_bytes())
    return finished(folder, "train"), finished(folder, "evaluate"), facts


def test_numbers_are_learned_proved_and_compared(shop):
    job, folder = shop(RIDGE, "poor", weak=2.0)
    _, poor, _ = run(job, folder)
    job, folder = shop(RIDGE, champion=(folder / "model.onnx").read_bytes())
    made, judged, facts = run(job, folder)
    assert made["parity"] == "AGREES"
    assert judged["verdict"] == poor["verdict"] == "BLESSED"
    assert judged["comparisons"][0]["metric"] == "rmse"
    assert judged["comparisons"][0]["lower"] > 0
    assert judged["positives"] is None
    table, folds = read(folder, definition_of(job["definition"]))
    test = judging(folds)
    said = of_graph((folder / "model.onnx").read_bytes(), table.rows[test], Task.REGRESSION)
    assert facts.metrics["rmse"] == pytest.approx(root_mean_squared_error(table.labels[test], said), rel=1e-3)
    assert "output:variable" in json.loads(facts.profile_json)["columns"]
    assert json.loads(facts.importance_json)["metric"] == "mse"
    assert json.loads(facts.importance_json)["features"][0]["feature"] == "shop.price"


def test_several_classes_are_learned_proved_and_compared(shop):
    training = {"task": "multiclass", "estimator": {"path": "sklearn.linear_model.LogisticRegression"}}
    job, folder = shop(training, "poor", weak=2.0)
    run(job, folder)
    job, folder = shop(training | {"calibration": "sigmoid"}, champion=(folder / "model.onnx").read_bytes())
    made, judged, facts = run(job, folder)
    assert made["parity"] in ("AGREES", "AGREES_WITH_STEPS")
    assert judged["verdict"] == "BLESSED"
    assert judged["comparisons"][0]["metric"] == "log_loss"
    assert {"output:probabilities.0", "output:probabilities.2"} <= json.loads(facts.profile_json)["columns"].keys()
    with pytest.raises(EvaluationFailedError, match="3 numbers a row"):
        of_graph((folder / "model.onnx").read_bytes(), np.zeros((2, 3)), Task.BINARY)


def test_a_walk_forward_judges_each_fold_by_what_was_learned_before_it(shop):
    job, folder = shop(RIDGE, folds=3, gap_us=600_000_000)
    made, judged, _ = run(job, folder)
    assert [fold["test"] for fold in made["folds"]] == [120, 120, 120]
    assert [fold["train"] for fold in made["folds"]] == [590, 710, 830]
    assert judged["rows"] == 360
    table, folds = read(folder, definition_of(job["definition"]))
    for parts in folds:
        assert table.event_time_us[parts.train].max() + 600_000_000 <= table.event_time_us[parts.validation].min()
        assert table.event_time_us[parts.validation].max() + 600_000_000 <= table.event_time_us[parts.test].min()
    assert np.array_equal(judging(folds), np.arange(840, 1_200))


def test_a_fold_without_rows_to_learn_from_is_refused():
    times = np.arange(20, dtype=np.int64)
    parts = split(times, validation_share=0.0, test_share=0.9, gap_us=0)
    with pytest.raises(TrainingTableError, match="fold 1 of 2"):
        walk(times, parts, folds=2, validation_share=0.2, gap_us=0)


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize(
    ("library", "prefix", "quiet"),
    [
        pytest.param("lightgbm", "LGBM", {"verbose": -1}, marks=needs("lightgbm")),
        pytest.param("xgboost", "XGB", {}, marks=needs("xgboost")),
    ],
)
def test_other_libraries_stop_early_behind_transformers_and_are_written_as_they_are(shop, library, prefix, quiet, task):
    kind = "Regressor" if task is Task.REGRESSION else "Classifier"
    estimator = {"path": f"{library}.{prefix}{kind}", "parameters": {"n_estimators": 300, "max_depth": 3, **quiet}}
    training = {"task": task.value, "estimator": estimator, "early_stopping_rounds": 5}
    if task is Task.BINARY:
        training |= {"transformers": [{"path": "sklearn.preprocessing.StandardScaler"}], "balanced": True}
    made, judged, facts = run(*shop(training))
    assert made["parity"] in ("AGREES", "AGREES_WITH_STEPS"), made["certificate"]["reason"]
    certificate = made["certificate"]
    assert certificate["real"]["label_flips"] == 0
    assert certificate["splits"]["rows"] > 50
    assert "onnxmltools" in certificate["versions"]
    assert facts.framework.startswith({"lightgbm": "LightGBM ", "xgboost": "XGBoost "}[library])
    assert judged["verdict"] == "BLESSED"


def test_an_estimator_of_another_task_is_refused(shop):
    with pytest.raises(EstimatorRefusedError, match="is no classifier"):
        train.run(*shop(RIDGE | {"task": "binary"}))


def test_a_label_that_is_none_of_the_task_is_refused(shop):
    job, folder = shop(RIDGE)
    job["definition"]["training"] = {
        "task": "multiclass",
        "estimator": {"path": "sklearn.linear_model.LogisticRegression"},
    }
    with pytest.raises(TrainingTableError, match="none of 0, 1, 2"):
        train.run(job, folder)


def test_the_rows_of_a_class_are_at_most_so_many_for_each_of_the_rarest():
    labels = np.repeat([0, 1, 2], [1_000, 300, 100])
    rows = np.arange(len(labels), dtype=float)[:, np.newaxis]
    kept, of_kept = sampled(Training(rows_per_rarest=2.0, seed=1), rows, labels)
    assert np.bincount(of_kept).tolist() == [200, 200, 100]
    assert np.array_equal(labels[kept[:, 0].astype(int)], of_kept)
    again, _ = sampled(Training(rows_per_rarest=2.0, seed=1), rows, labels)
    assert np.array_equal(again, kept)


def test_class_weights_move_what_is_said(shop):
    logistic = {"estimator": {"path": "sklearn.linear_model.LogisticRegression"}}
    said = {}
    for weights in ([1.0, 1.0], [1.0, 20.0]):
        job, folder = shop(logistic | {"class_weights": weights})
        train.run(job, folder)
        said[weights[1]] = of_graph((folder / "model.onnx").read_bytes(), np.zeros((1, 3)))[0]
    assert said[20.0] > said[1.0] + 0.2


SEARCH = {
    "task": "regression",
    "estimator": {"path": "sklearn.tree.DecisionTreeRegressor"},
    "search": {"trials": 6, "space": {"max_depth": {"low": 1, "high": 8}, "criterion": {"choices": ["squared_error"]}}},
}


@needs("optuna")
def test_a_search_that_was_killed_goes_on_to_what_it_would_have_come_to(shop):
    job, folder = shop(SEARCH, "whole")
    train.run(job, folder)
    whole = finished(folder, "train")["search"]
    assert whole["tried"] + whole["pruned"] == 6
    assert whole["parameters"]["max_depth"] > 1
    few = SEARCH["search"] | {"trials": 3}
    job, other = shop(SEARCH | {"search": few}, "killed")
    train.run(job, other)
    job, other = shop(SEARCH, "killed")
    train.run(job, other)
    assert finished(other, "train")["search"] == whole
    assert (other / STORAGE).exists()


@needs("optuna")
def test_a_search_of_settings_that_the_estimator_refuses_says_so(shop):
    space = {"max_depth": {"low": -5, "high": -1}}
    with pytest.raises(SearchFailedError, match="max_depth"):
        train.run(*shop(SEARCH | {"search": {"trials": 2, "space": space}}))


def test_metrics_of_numbers_and_classes_are_those_of_scikit_learn():
    generator = np.random.default_rng(4)
    weights = generator.integers(0, 3, (4, 150)).astype(float)
    labels, said = generator.normal(1e4, 5, 150), generator.normal(1e4, 5, 150)
    numbers = {"rmse": root_mean_squared_error, "mae": mean_absolute_error, "r2": r2_score}
    classes, chances = generator.integers(0, 3, 150), generator.dirichlet([1, 1, 1], 150)
    of_classes = {
        "log_loss": lambda y, p: log_loss(y, p, labels=[0, 1, 2]),
        "f1": lambda y, p: f1_score(y, p.argmax(axis=1), average="macro"),
        "accuracy": lambda y, p: float(np.mean(p.argmax(axis=1) == y)),
        "brier": lambda y, p: float(np.mean(((p - np.eye(3)[y]) ** 2).sum(axis=1))),
    }
    for oracles, true, answers in ((numbers, labels, said), (of_classes, classes, chances)):
        for name, oracle in oracles.items():
            found = weighted(name, true, answers)(weights)
            for row, counts in zip(found, weights.astype(int), strict=True):
                repeated = np.repeat(np.arange(150), counts)
                assert row == pytest.approx(oracle(true[repeated], answers[repeated]), rel=1e-7), name
    for name in ("log_loss", "accuracy", "brier"):
        estimate = measure(name, chances, classes.astype(float), alpha=0.05)
        assert estimate.value == pytest.approx(of_classes[name](classes, chances))
        assert estimate.low < estimate.value < estimate.high
