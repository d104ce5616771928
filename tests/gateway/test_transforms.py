"""On-request transforms through a gateway: what calls give and what is stored become one value everywhere."""

import io
import math
import time

import duckdb
import grpc
import numpy as np
import pyarrow as pa
import pytest
from onnx import TensorProto, helper

from features.transforms import transforms_of
from gateway.inference import grpc_service_pb2 as infer_pb
from gateway.inference import grpc_service_pb2_grpc as infer_grpc
from gateway.journal.log import EventLog
from trainer.transform_graph import with_transforms
from turnout.control import Control
from turnout.errors import TurnoutError
from turnout.experiments.v1 import shadow_service_pb2 as spb
from turnout.features.v1 import feature_service_pb2 as fpb
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
default = 3.0
[[view.features]]
name = "rating"

[[set]]
name = "fare"
features = ["driver.trips", "transform.per_trip", "transform.late"]
[[set.request]]
name = "hour"
default = 12.0
[[set.transform]]
name = "per_trip"
expression = "request.price / driver.trips"
[[set.transform]]
name = "late"
expression = "request.hour >= 22 or request.hour < 6 and not is_missing(driver.rating)"
type = "bool"
"""
DRIVER = "SELECT driver, moment AS event_time, trips, rating FROM rides"
DRIVERS = 16
WAIT_S = 30


def graph():
    """Return a graph whose output is its input, so that a call says what the version was fed."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3]) for name in ("features", "fed")]
    made = helper.make_graph([helper.make_node("Identity", ["features"], ["fed"])], "fed", ports[:1], ports[1:])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()


@pytest.fixture(scope="module")
def definitions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("definitions")
    (folder / "fare.toml").write_text(DEFINITIONS)
    (folder / "driver.sql").write_text(DRIVER)
    rows = (
        "SELECT 'd' || i AS driver, TIMESTAMP '2024-01-01' AS moment, i / 3 AS trips, "
        f"CASE WHEN i % 2 = 0 THEN 1.0 END AS rating FROM range({DRIVERS}) t(i)"
    )
    duckdb.execute(f"COPY ({rows}) TO '{folder / 'rides.parquet'}' (FORMAT parquet)")
    return folder


@pytest.fixture(scope="module")
def served(launch, tmp_path_factory, definitions, operator_kind):
    """Return an operator of a gateway with `fare`, and `fare-raw` whose graph computes the transforms itself."""
    gateway = launch(tmp_path_factory.mktemp("transforms") / "state")
    operator = operator_kind(gateway)
    with Control(gateway.control_address) as control:
        control.apply_features(definitions)
        control.features.Materialize(fpb.MaterializeRequest())
        operator.features = control.features
        [declared] = control.features.ListFeatureSets(fpb.ListFeatureSetsRequest()).feature_sets
        operator.declared = declared
        operator.publish_file("fare", graph(), alias="champion", facts=facts(declared.digest))
        raw = [name for name in [*declared.features, *declared.operands] if not name.startswith("transform.")]
        alone = with_transforms(
            graph(),
            "features",
            features=declared.features,
            raw=raw,
            transforms=transforms_of(
                {"name": one.name, "expression": one.expression, "type": one.type} for one in declared.transforms
            ),
        )
        operator.publish_file("fare-raw", alone, alias="champion", facts=facts(declared.raw_digest))
        operator.wait()
        yield operator
    operator.close()
    gateway.stop()


def facts(digest):
    return registry_service_pb2.VersionFacts(feature_set="fare", trained_on_digest=digest)


def ask(operator, model, driver, **features):
    request = pb.PredictRequest(model=model, entities={"driver": driver}, features=features)
    answer = operator.predictions.Predict(request, timeout=10)
    return np.frombuffer(answer.outputs[0].data, np.float32).tolist()


def expected(driver, price, hour=12.0, trips=None):
    number = int(driver[1:])
    known = number < DRIVERS
    trips = (number / 3 if known else 3.0) if trips is None else trips
    late = hour >= 22 or (hour < 6 and known and number % 2 == 0)
    with np.errstate(all="ignore"):
        return np.array([trips, np.float64(price) / trips, late], np.float32).tolist()


def test_a_call_is_answered_by_what_it_gives_and_what_is_stored(served):
    assert ask(served, "fare", "d7", price=10.0) == expected("d7", 10.0)
    assert ask(served, "fare", "d4", price=1.5, hour=3.0) == expected("d4", 1.5, 3.0)
    assert ask(served, "fare", "d5", price=1.5, hour=3.0) == expected("d5", 1.5, 3.0)
    assert ask(served, "fare", "d99", price=6.0, hour=23.0) == [3.0, 2.0, 1.0], "nothing is stored: the defaults"
    assert ask(served, "fare", "d0", price=2.0) == [0.0, math.inf, 0.0], "a division by zero is no error"
    given = ask(served, "fare", "d4", **{"request.price": 1.0, "driver.trips": 4.0, "driver.rating": 0.5})
    assert given == expected("d4", 1.0, trips=4.0), "a given feature counts more than the stored one"


def test_a_shadow_is_fed_what_the_live_version_was_fed(served):
    served.publish_file("fare", graph(), facts=facts(served.declared.digest))
    with Control(served.gateway.control_address) as control:
        shadow = spb.Shadow(name="models/fare/shadow", version=2, share=1.0)
        control.wait_for_revision(control.shadows.SetShadow(spb.SetShadowRequest(shadow=shadow)).revision)
        calls = [("d7", 10.0), ("d4", 1.5), ("d99", 6.0)]
        asked = [ask(served, "fare", driver, price=price, hour=3.0) for driver, price in calls]
        until = time.monotonic() + WAIT_S
        while (counts := control.shadows.GetShadow(spb.GetShadowRequest(name=shadow.name)).shadow.counts).paired < 3:
            assert time.monotonic() < until, counts
            time.sleep(0.05)
    assert asked == [expected(driver, price, 3.0) for driver, price in calls]
    query = "SELECT live_outputs, shadow_outputs FROM pairs WHERE model = 'fare' AND shadow_version = 2"
    with EventLog(served.gateway.state).snapshot() as connection:
        pairs = connection.sql(query).to_arrow_table().to_pylist(maps_as_pydicts="strict")
    assert [pair["shadow_outputs"]["fed"] for pair in pairs] == [pair["live_outputs"]["fed"] for pair in pairs]
    assert sorted(pair["shadow_outputs"]["fed"] for pair in pairs) == sorted(asked)


def test_the_graph_that_computes_them_itself_is_fed_what_is_raw_and_answers_the_same(served):
    for number in range(DRIVERS + 1):
        price, hour = number * 0.7, float(number % 24)
        fed = ask(served, "fare-raw", f"d{number}", price=price, hour=hour)
        for same in (ask(served, "fare", f"d{number}", price=price, hour=hour), expected(f"d{number}", price, hour)):
            assert np.array_equal(fed, same, equal_nan=True)


def test_what_is_missing_or_cannot_be_given_is_an_invalid_argument_that_says_so(served, refusal):
    for model in ("fare", "fare-raw"):
        code, reason, sentence = refusal(ask, served, model, "d1")
        assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_MISMATCH")
        assert "`price`" in sentence
    code, reason, sentence = refusal(ask, served, "fare", "d1", price=1.0, **{"transform.per_trip": 1.0})
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_MISMATCH")
    assert "`transform.per_trip`" in sentence


def test_model_infer_is_no_other(served, refusal):
    stub = infer_grpc.GRPCInferenceServiceStub(served.data)
    request = infer_pb.ModelInferRequest(model_name="fare")
    request.parameters["turnout_entity_driver"].string_param = "d7"
    code, reason, _ = refusal(stub.ModelInfer, request, timeout=10)
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_MISMATCH")
    request.parameters["turnout_feature_price"].double_param = 10.0
    answer = stub.ModelInfer(request, timeout=10)
    assert np.frombuffer(answer.raw_output_contents[0], np.float32).tolist() == expected("d7", 10.0)


def test_reading_shows_operands_and_transforms_now_and_as_of_a_time(served):
    for as_of_us in (None, 1_710_000_000_000_000):
        request = fpb.ReadFeaturesRequest(
            feature_set="featureSets/fare", entities={"driver": "d6"}, features={"price": 5.0}, as_of_us=as_of_us
        )
        found = {one.feature: (one.value, one.status) for one in served.features.ReadFeatures(request).values}
        assert found == {
            "driver.trips": (2.0, "NULL" if found["driver.trips"][1] == "NULL" else "PRESENT"),
            "transform.per_trip": (2.5, "COMPUTED"),
            "transform.late": (0.0, "COMPUTED"),
            "request.price": (5.0, "GIVEN"),
            "request.hour": (12.0, "MISSING"),
            "driver.rating": (1.0, "PRESENT"),
        }
    request.features["transform.late"] = 1.0
    with pytest.raises(TurnoutError, match="takes no feature"):
        served.features.ReadFeatures(request)


def test_the_training_table_has_what_was_served_to_the_bit_and_replay_finds_no_skew(served):
    prices = [number * 0.37 for number in range(DRIVERS + 1)]
    fed = [ask(served, "fare", f"d{number}", price=price, hour=23.0) for number, price in enumerate(prices)]
    labels = (
        "SELECT 'd' || i AS driver, TIMESTAMP '2024-02-01' AS event_time, i * 0.37::DOUBLE AS price, 23.0 AS hour, "
        f"i AS label FROM range({DRIVERS + 1}) t(i)"
    )
    request = fpb.GetTrainingDataRequest(feature_set="featureSets/fare", label_sql=labels)
    stream = io.BytesIO(b"".join(part.chunk for part in served.features.GetTrainingData(request, timeout=60)))
    table = pa.ipc.open_stream(stream).read_all().sort_by("label")
    assert table.column_names[-6:] == [*served.declared.features, *served.declared.operands]
    rows = np.column_stack([table.column(name).to_numpy() for name in served.declared.features])
    assert np.array_equal(rows.astype(np.float32), np.array(fed, np.float32), equal_nan=True)
    for model in ("fare", "fare-raw"):
        found = served.features.ReplaySkew(fpb.ReplaySkewRequest(version=f"models/{model}/versions/1"), timeout=60)
        assert list(found.findings) == []
        assert found.calls >= DRIVERS
        assert [one.feature_view for one in found.views][1:] == (["featureViews/transform"] if model == "fare" else [])
        assert found.views[0].compared_calls >= DRIVERS
        assert all(one.compared_calls for view in found.views for one in view.features)


def test_a_version_of_other_transforms_is_refused_with_the_difference(served, definitions, refusal):
    text = DEFINITIONS.replace("request.price / driver.trips", "request.price / max(driver.trips, 1)")
    (definitions / "fare.toml").write_text(text)
    with Control(served.gateway.control_address) as control:
        control.apply_features(definitions)
    _, reason, sentence = refusal(served.publish_file, "fare", graph(), facts=facts(served.declared.digest))
    assert reason == "FEATURE_SET_CHANGED"
    assert "transform per_trip was request.price / driver.trips" in sentence
    served.wait()
    assert ask(served, "fare", "d1", price=10.0) == expected("d1", 10.0), "what serves goes on with its own"
    again = served.publish_file("fare-raw", graph(), facts=registry_service_pb2.VersionFacts(feature_set="fare"))
    assert again.version.name == "models/fare-raw/versions/2"
    served.promote("fare-raw", 2)
    assert ask(served, "fare-raw", "d1", price=10.0) == np.array([1 / 3, 10.0, 0], np.float32).tolist()
