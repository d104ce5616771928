from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from features.profile import Profile
from trainer import table
from trainer.errors import ParityRefusedError, TrainingTableError
from trainer.fit import fit
from trainer.publish import prove, publish
from trainer.stand_alone import standing_alone
from trainer.table import TrainingTable
from turnout.client import Client
from turnout.control import Control
from turnout.errors import InvalidError
from turnout.features.v1 import feature_service_pb2 as features_pb
from turnout.registry.v1 import registry_service_pb2 as pb

DEFINITIONS = """
[[source]]
name = "flights"
kind = "csv"
path = "flights.csv"

[[view]]
name = "carrier"
join_keys = ["carrier"]
sql = "carrier.sql"
[[view.features]]
name = "delay"
default = -1.0

[[set]]
name = "delays"
features = ["request.hour", "carrier.delay"]
"""
CARRIER = "SELECT carrier, landed_time AS event_time, delay FROM flights"
LABELS = "SELECT carrier, hour, scheduled_time AS event_time, late AS label FROM flights"


@pytest.fixture(scope="module")
def control(gateway):
    with Control(gateway.control_address, actor="tests") as connected:
        yield connected


def cancer_table():
    rows, labels = load_breast_cancer(return_X_y=True)
    return TrainingTable(
        feature_set="",
        feature_names=tuple(str(column) for column in range(rows.shape[1])),
        rows=rows,
        labels=labels.astype(np.float64),
        event_time_us=np.arange(len(rows)),
        fingerprint="rows-of-wisconsin",
    )


def test_a_published_version_keeps_its_lineage_and_answers_as_its_estimator(gateway, control):
    rows = cancer_table()
    fitted = fit(make_pipeline(StandardScaler(), LogisticRegression()), rows)
    published = publish(control, "cancer", prove(fitted, rows), description="a first one")
    control.wait_for_revision(control.promote("cancer", published.version).revision)
    version = control.registry.GetVersion(
        pb.GetVersionRequest(name=f"models/cancer/versions/{published.version}")
    ).version
    facts = version.facts
    assert (facts.algorithm, facts.data_fingerprint) == ("LogisticRegression", "rows-of-wisconsin")
    assert facts.code_fingerprint.startswith("git:") or facts.code_fingerprint.startswith("files:")
    assert facts.metrics["roc_auc"] > 0.9
    assert json.loads(facts.parity_json)["verdict"] == "AGREES"
    assert version.probe_rows == 32
    profile = Profile.from_document(json.loads(facts.profile_json))
    assert profile.rows == len(rows.rows)
    assert [*profile.columns] == [*rows.feature_names, "label", "output:probabilities"]
    assert profile.columns["0"].moments.mean == pytest.approx(rows.rows[:, 0].mean())
    assert profile.columns["output:probabilities"].rows == len(fitted.held_out)
    importance = json.loads(facts.importance_json)
    assert {one["feature"] for one in importance["features"]} == set(rows.feature_names)
    assert importance["loss"] == pytest.approx(facts.metrics["brier"], abs=1e-5)
    listed = control.registry.ListVersions(pb.ListVersionsRequest(parent="models/cancer")).versions[0]
    assert (listed.facts.profile_json, listed.facts.importance_json) == ("", facts.importance_json)
    with Client(gateway.data_address) as client:
        answer = client.predict("cancer", inputs={"features": rows.rows[:5].astype(np.float32)})
    assert np.allclose(answer.outputs["probabilities"], fitted.estimator.predict_proba(rows.rows[:5]), atol=1e-4)


@pytest.mark.parametrize(
    "facts",
    [
        {"profile_json": '{"format": 1}'},
        {"profile_json": "[]"},
        {"importance_json": '{"features": [{"feature": 1}]}'},
        {"importance_json": "{"},
    ],
)
def test_what_is_no_profile_and_no_importance_is_refused(control, tmp_path, facts):
    (tmp_path / "model.onnx").write_bytes(b"\0")
    with pytest.raises(InvalidError, match="_json"):
        control.publish_version("refused", tmp_path / "model.onnx", facts=pb.VersionFacts(**facts))


def test_an_estimator_whose_export_flips_labels_is_never_a_candidate():
    rows = cancer_table()
    fitted = fit(CalibratedClassifierCV(make_pipeline(StandardScaler(), LogisticRegression())), rows)
    with pytest.raises(ParityRefusedError):
        prove(fitted, rows)


def test_a_gateway_takes_a_wide_input(gateway, control):
    generator = np.random.default_rng(5)
    seconds = 1.37e9 + generator.uniform(0, 86_400, (2_000, 1))
    labels = (np.sin(seconds[:, 0] / 6_000) > 0).astype(np.float64)
    rows = TrainingTable("", ("seconds",), seconds, labels, np.arange(len(seconds)), "seconds")
    fitted = fit(make_pipeline(StandardScaler(), DecisionTreeClassifier(random_state=1)), rows)
    published = publish(control, "clockwork", prove(fitted, rows), description="epoch seconds")
    control.wait_for_revision(control.promote("clockwork", published.version).revision)
    with Client(gateway.data_address) as client:
        answer = client.predict("clockwork", version=published.version, inputs={"features": seconds[:50]})
    assert answer.outputs["label"].tolist() == fitted.estimator.predict(seconds[:50]).tolist()


def test_a_training_table_holds_what_was_known_then(control, tmp_path):
    (tmp_path / "flights.csv").write_text(
        "carrier,scheduled_time,landed_time,hour,delay,late\n"
        "UA,2013-01-01 10:00:00,2013-01-01 12:00:00,5,30,1\n"
        "UA,2013-01-01 11:00:00,2013-01-01 13:00:00,6,10,0\n"
        "UA,2013-01-01 12:30:00,2013-01-01 14:00:00,7,0,0\n"
    )
    (tmp_path / "delays.toml").write_text(DEFINITIONS)
    (tmp_path / "carrier.sql").write_text(CARRIER)
    control.apply_features(tmp_path)
    found = table.fetch(control, "delays", label_sql=LABELS)
    order = np.argsort(found.event_time_us)
    assert found.feature_names == ("request.hour", "carrier.delay")
    assert found.rows[order].tolist() == [[5.0, -1.0], [6.0, -1.0], [7.0, 30.0]]
    assert found.labels[order].tolist() == [1.0, 0.0, 0.0]
    assert found.fingerprint
    again = table.fetch(control, "delays", label_sql=LABELS + " ORDER BY hour DESC")
    rows, query, _ = found.fingerprint.split()
    assert again.fingerprint.split()[0] == rows, "in any order"
    assert again.fingerprint.split()[1] != query


def test_an_unknown_feature_set_and_bad_sql_are_refused(control):
    with pytest.raises(TrainingTableError, match="no feature set"):
        table.fetch(control, "nothing", label_sql=LABELS)
    with pytest.raises(InvalidError):
        table.fetch(control, "delays", label_sql="SELECT 1")


TRANSFORMED = """
[[source]]
name = "legs"
kind = "csv"
path = "legs.csv"

[[view]]
name = "leg-carrier"
join_keys = ["carrier"]
sql = "legs.sql"
[[view.features]]
name = "delay"
default = -1.0

[[set]]
name = "legs"
features = ["transform.gap", "leg-carrier.delay", "transform.night"]
[[set.transform]]
name = "gap"
expression = "request.hour - 0.1 * leg-carrier.delay"
[[set.transform]]
name = "night"
expression = "request.hour > 21"
type = "bool"
"""


@pytest.mark.parametrize(("model", "estimator"), [("linear", LogisticRegression), ("tree", DecisionTreeClassifier)])
def test_a_graph_that_stands_alone_answers_as_the_one_whose_transforms_the_gateway_computes(
    gateway, control, tmp_path, model, estimator
):
    lines = [
        f"C{at % 7},2013-01-01 10:{at // 60:02}:{at % 60:02},{at * 7 % 24}.1,{at % 31},{(at * 7 % 24) > 11 + at % 3:d}"
        for at in range(600)
    ]
    (tmp_path / "legs.csv").write_text("\n".join(["carrier,moment,hour,delay,late", *lines]))
    (tmp_path / "legs.toml").write_text(TRANSFORMED)
    (tmp_path / "legs.sql").write_text("SELECT carrier, moment AS event_time, delay FROM legs")
    control.apply_features(tmp_path)
    control.features.Materialize(features_pb.MaterializeRequest())
    rows = table.fetch(control, "legs", label_sql="SELECT carrier, hour, moment AS event_time, late AS label FROM legs")
    candidate = prove(fit(estimator(), rows), rows)
    alone = standing_alone(candidate, rows)
    versions = [publish(control, model, each, description="") for each in (candidate, alone)]
    for version in versions:
        control.wait_for_revision(control.promote(model, version.version).revision)
    with Client(gateway.data_address) as client:
        for hour in (0.0, 3.3, 11.9, 22.5):
            first, second = (
                client.predict(model, version=version.version, entities={"carrier": "C3"}, features={"hour": hour})
                for version in versions
            )
            assert first.outputs["probabilities"].tolist() == second.outputs["probabilities"].tolist()
            assert [one.status for one in first.views] == [one.status for one in second.views] == ["PRESENT"]
