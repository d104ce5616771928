import io
import time

import duckdb
import grpc
import numpy as np
import pyarrow as pa
import pytest

from turnout.control import Control
from turnout.features.v1 import feature_service_pb2
from turnout.outcomes.v1 import outcome_service_pb2 as opb
from turnout.registry.v1 import registry_service_pb2
from turnout.serving.v1 import prediction_service_pb2 as pb

DEFINITIONS = """
[[source]]
name = "rides"
kind = "parquet"
path = "rides.parquet"

[[view]]
name = "driver"
join_keys = ["driver"]
sql = "driver.sql"
[[view.features]]
name = "trips"
default = -1.0
[[view.features]]
name = "rating"
default = -2.0

[[view]]
name = "city"
join_keys = ["city"]
sql = "city.sql"
[[view.features]]
name = "surge"
default = -3.0

[[set]]
name = "ride"
features = ["driver.trips", "request.hour", "driver.rating", "city.surge"]
"""
DRIVER = "SELECT driver, moment AS event_time, trips, rating FROM rides"
CITY = "SELECT 'basel' AS city, max(moment) AS event_time, 1.5 AS surge FROM rides"
PRESENT, UNAVAILABLE = pb.VIEW_STATUS_PRESENT, pb.VIEW_STATUS_UNAVAILABLE


@pytest.fixture
def definitions(tmp_path):
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "ride.toml").write_text(DEFINITIONS)
    (folder / "driver.sql").write_text(DRIVER)
    (folder / "city.sql").write_text(CITY)
    rows = (
        "SELECT 'd' || i AS driver, TIMESTAMP '2024-01-01' AS moment, i * 1.0 AS trips, i / 10.0 AS rating "
        "FROM range(9) t(i)"
    )
    duckdb.execute(f"COPY ({rows}) TO '{folder / 'rides.parquet'}' (FORMAT parquet)")
    return folder


def furnish(gateway, definitions, onnx_bytes, operate):
    with Control(gateway.control_address) as control:
        control.apply_features(definitions)
        control.features.Materialize(feature_service_pb2.MaterializeRequest())
    operator = operate(gateway)
    facts = registry_service_pb2.VersionFacts(feature_set="ride")
    operator.publish_file("ride", onnx_bytes(1.0), alias="champion", facts=facts)
    operator.wait()
    return operator


def ask(operator, driver="d3", **features):
    request = pb.PredictRequest(
        model="ride",
        entities={"driver": driver, "city": "basel"},
        unit_id=driver,
        features={"hour": 7.0, **features},
        request_id=f"r-{driver}",
    )
    response = operator.predictions.Predict(request, timeout=10)
    return np.frombuffer(response.outputs[0].data, np.float32).tolist(), [
        reading.status for reading in response.feature_status
    ]


def test_all_stores_give_the_same_answers(launch, tmp_path, definitions, onnx_bytes, operate, start_redis):
    (tmp_path / "redis").mkdir()
    redis = start_redis(tmp_path / "redis")
    answers = []
    snapshots = f"snapshot://{tmp_path}/snapshots"
    for name, flags in (("lmdb", ()), ("redis", ("--online", redis.url)), ("snapshot", ("--online", snapshots))):
        gateway = launch(tmp_path / name, *flags)
        operator = furnish(gateway, definitions, onnx_bytes, operate)
        until = time.monotonic() + 30
        while ask(operator)[1] != [PRESENT, PRESENT]:  # the next snapshot has it
            assert time.monotonic() < until
            time.sleep(0.05)
        answers.append([ask(operator, f"d{number}") for number in range(9)])
        assert gateway.stop() == 0
    redis.stop()
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][3] == ([3.0, 7.0, pytest.approx(0.3), 1.5], [PRESENT, PRESENT])


def test_given_features_win_and_unknown_entities_get_defaults(launch, tmp_path, definitions, onnx_bytes, operate):
    gateway = launch(tmp_path / "state")
    operator = furnish(gateway, definitions, onnx_bytes, operate)
    values, statuses = ask(operator, "nobody")
    assert values == [-1.0, 7.0, -2.0, 1.5]
    assert statuses == [pb.VIEW_STATUS_MISSING, PRESENT]
    values, statuses = ask(operator, "d3", **{"driver.trips": 40.0, "driver.rating": 5.0})
    assert values == [40.0, 7.0, 5.0, 1.5]
    assert statuses == [pb.VIEW_STATUS_GIVEN, PRESENT]
    with pytest.raises(grpc.RpcError) as caught:
        operator.predictions.Predict(pb.PredictRequest(model="ride", entities={"driver": "d3"}), timeout=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "`city`" in caught.value.details()
    assert gateway.stop() == 0


def test_a_version_that_was_trained_on_another_definition_is_refused_with_the_difference(
    launch, tmp_path, definitions, onnx_bytes, operate, refusal
):
    gateway = launch(tmp_path / "state")
    operator = furnish(gateway, definitions, onnx_bytes, operate)
    with Control(gateway.control_address) as control:
        request = feature_service_pb2.ListFeatureSetsRequest()
        [before] = control.features.ListFeatureSets(request).feature_sets
        facts = registry_service_pb2.VersionFacts(feature_set="ride", trained_on_digest=before.digest)
        operator.publish_file("other", onnx_bytes(1.0), facts=facts)
        text = DEFINITIONS.replace("default = -1.0", "default = -4.0").replace('sql = "city', 'ttl = "7d"\nsql = "city')
        (definitions / "ride.toml").write_text(text)
        control.apply_features(definitions)
        code, reason, sentence = refusal(operator.publish_file, "other", onnx_bytes(2.0), facts=facts)
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURE_SET_CHANGED")
        assert "view driver: the default of trips was -1 and is -4" in sentence
        assert "view city: its time to live was for ever and is 604800 s" in sentence
        [after] = control.features.ListFeatureSets(request).feature_sets
        facts.trained_on_digest = after.digest
        operator.publish_file("other", onnx_bytes(2.0), facts=facts)
        # What is done without a fresh value is no part of what it was trained on.
        policy = 'name = "ride"\nstale_up_to = "2h"\nrefuse = ["missing"]\n'
        (definitions / "ride.toml").write_text(text.replace('name = "ride"\n', policy))
        control.apply_features(definitions)
        operator.publish_file("other", onnx_bytes(2.0), facts=facts)
    operator.wait()
    assert ask(operator)[0][0] == 3.0
    code, reason, sentence = refusal(ask, operator, "nobody")  # the version that serves follows the set's policy
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEATURES_REFUSED")
    assert "`driver` are missing" in sentence
    assert ask(operator, "nobody", **{"driver.trips": 1.0, "driver.rating": 2.0})[0][0] == 1.0
    assert gateway.stop() == 0


def test_redis_that_dies_costs_its_features_only_and_comes_back(
    launch, tmp_path, definitions, onnx_bytes, operate, start_redis
):
    (tmp_path / "redis").mkdir()
    redis = start_redis(tmp_path / "redis")
    gateway = launch(tmp_path / "state", "--online", redis.url)
    operator = furnish(gateway, definitions, onnx_bytes, operate)
    assert ask(operator)[1] == [PRESENT, PRESENT]
    redis.kill()
    values, statuses = ask(operator)
    assert (values, statuses) == ([-1.0, 7.0, -2.0, -3.0], [UNAVAILABLE, UNAVAILABLE])
    redis.start()
    with Control(gateway.control_address) as control:
        control.features.Materialize(feature_service_pb2.MaterializeRequest())
    until = time.monotonic() + 10
    while ask(operator)[1] != [PRESENT, PRESENT]:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert gateway.stop() == 0
    redis.stop()


def test_outcomes_of_the_journal_are_labels_of_a_training_table(launch, tmp_path, definitions, onnx_bytes, operate):
    gateway = launch(tmp_path / "state")
    operator = furnish(gateway, definitions, onnx_bytes, operate)
    for number in range(4):
        ask(operator, f"d{number}")
    operator.record(
        *(opb.Outcome(request_id=f"r-d{number}", name="tip", value=number / 2, outcome_id="o") for number in range(3)),
        opb.Outcome(unit_id="nobody-asked", name="tip", value=9.0, outcome_id="o"),
    )
    labels = (
        "SELECT entities['driver'] AS driver, entities['city'] AS city, features[2] AS hour, event_time, "
        "value AS label, features AS served FROM Journal_Outcomes WHERE name = 'tip' ORDER BY driver"
    )
    request = feature_service_pb2.GetTrainingDataRequest(feature_set="featureSets/ride", label_sql=labels, marks=True)
    with Control(gateway.control_address) as control, io.BytesIO() as stream:
        control.download_training_data(request, stream)
        stream.seek(0)
        table = pa.ipc.open_stream(stream).read_all().to_pydict()
    assert table["label"] == [0.0, 0.5, 1.0]
    assert table["driver@status"] == ["PRESENT"] * 3
    joined = zip(
        *(table[name] for name in ("driver.trips", "request.hour", "driver.rating", "city.surge")), strict=True
    )
    assert [list(row) for row in joined] == table["served"]  # what was served is what is trained on
