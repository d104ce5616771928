"""The same calls to two gateways that differ in their transport only: the same bytes come back."""

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

from turnout.admin.v1 import admin_service_pb2 as apb
from turnout.events.v1 import event_service_pb2 as epb
from turnout.features.v1 import feature_service_pb2, feature_service_pb2_grpc
from turnout.outcomes.v1 import outcome_service_pb2 as opb
from turnout.registry.v1 import registry_service_pb2 as rpb
from turnout.serving.v1 import prediction_service_pb2 as pb

NOON_US = 1_357_041_600_000_000  # 2013-01-01 12:00
PREDICT = "/turnout.serving.v1.PredictionService/Predict"
RECORD = "/turnout.outcomes.v1.OutcomeService/RecordOutcomes"

TOML = """
[[source]]
name = "flights"
kind = "csv"
path = "flights.csv"
[[view]]
name = "carrier"
join_keys = ["carrier"]
sql = "carrier.sql"
ttl = "1d"
[[view.features]]
name = "late_rate"
default = 0.2
[[view.features]]
name = "flights"
default = 1.0
[[set]]
name = "flight-delay"
features = ["request.hour", "carrier.late_rate", "carrier.flights", "request.wind"]
[[set.request]]
name = "wind"
default = 3.0
"""
SQL = "SELECT carrier, event_time::TIMESTAMP AS event_time, late_rate, flights FROM flights"
FLIGHTS = """carrier,event_time,late_rate,flights
UA,2013-01-01 11:00:00,0.5,10
B6,2012-12-30 09:00:00,0.25,5
"""


def prepare(operator, folder, onnx_bytes):
    """Give a gateway its clock, features, models and experiment."""
    operator.admin.AdvanceClock(apb.AdvanceClockRequest(now_us=NOON_US))
    features = feature_service_pb2_grpc.FeatureServiceStub(operator.control)
    files = [
        feature_service_pb2.DefinitionFile(path="f.toml", text=TOML),
        feature_service_pb2.DefinitionFile(path="carrier.sql", text=SQL),
    ]
    features.ApplyFeatures(feature_service_pb2.ApplyFeaturesRequest(files=files, base_dir=str(folder)))
    features.Materialize(feature_service_pb2.MaterializeRequest())
    operator.publish("m", 2.0, alias="champion")
    operator.publish("m", 3.0, alias="challenger")
    operator.publish("alone", 5.0, alias="champion", probe=False)
    operator.start_experiment("m")
    operator.publish_file(
        "bound", onnx_bytes(7.0), alias="champion", facts=rpb.VersionFacts(feature_set="flight-delay")
    )
    operator.wait()


@pytest.fixture(scope="module")
def both(launch, tmp_path_factory, operator_of, onnx_bytes):
    """Return two gateways, on one time, with the same models, features and experiment."""
    folder = tmp_path_factory.mktemp("agree")
    (folder / "flights.csv").write_text(FLIGHTS)
    gateways = []
    for kind in ("native", "grpcio"):
        running = launch(folder / kind, "--transport", kind, "--clock", "replay")
        operator = operator_of(running)
        prepare(operator, folder, onnx_bytes)
        assert operator.status().workers[0].transport == kind
        operator.close()
        gateways.append(running)
    yield gateways
    for running in gateways:
        running.stop()


def outcome_of(call, payload):
    """Return the bytes of the answer, or the code, the sentence and the details of the error."""
    try:
        return call(payload, timeout=10)
    except grpc.RpcError as error:
        status = status_pb2.Status.FromString(dict(error.trailing_metadata())["grpc-status-details-bin"])
        info = error_details_pb2.ErrorInfo()
        status.details[0].Unpack(info)
        return error.code(), error.details(), status.code, status.message, info.reason, dict(info.metadata)


@pytest.fixture
def ask(both):
    """Return the function that sends one request to both and gives the one thing that both answered."""
    channels = [grpc.insecure_channel(gateway.data_address) for gateway in both]

    def asked(method, request):
        payload = request if isinstance(request, bytes) else request.SerializeToString()
        native, grpcio = (outcome_of(channel.unary_unary(method), payload) for channel in channels)
        assert native == grpcio
        return native

    yield asked
    for channel in channels:
        channel.close()


def test_answers_are_the_same_byte_for_byte(ask, request_for, rows):
    variants = set()
    for number in range(200):
        row = (rows[number % 8 : number % 8 + 1] + number) * np.float32(0.37)
        reply = ask(PREDICT, request_for("m", row=row, request_id=f"r{number}", unit_id=f"unit-{number}"))
        answer = pb.PredictResponse.FromString(reply)
        assert answer.request_id == f"r{number}"
        variants.add(answer.variant)
    assert variants == {"control", "treatment"}


def test_pins_rows_and_times_change_nothing_of_that(ask, request_for, rows):
    for model, fields in (
        ("m", {"version": 2}),
        ("m", {"alias": "challenger"}),
        ("m", {"row": rows}),
        ("m", {"row": np.tile(rows, (100, 1))}),
        ("alone", {"row": rows}),  # published without probe rows: not proved to be stackable
        ("m", {"event_time_us": 1}),
        ("m", {"attributes": {"device": "phone", "country": "NL"}}),
        ("m", {"entities": {"user": "u1"}}),
    ):
        answer = pb.PredictResponse.FromString(ask(PREDICT, request_for(model, request_id="again", **fields)))
        assert answer.model == model
        assert list(answer.outputs[0].shape) == list(fields.get("row", rows[:1]).shape)


def test_stored_features_and_their_readings_are_the_same(ask):
    seen = set()
    for carrier in ("UA", "B6", "nobody"):
        for given in ({"hour": 9.0}, {"hour": 9.5, "carrier.late_rate": 0.9, "carrier.flights": 2.0}):
            request = pb.PredictRequest(model="bound", request_id="f1", entities={"carrier": carrier}, features=given)
            answer = pb.PredictResponse.FromString(ask(PREDICT, request))
            (reading,) = answer.feature_status
            values = np.frombuffer(answer.outputs[0].data, np.float32) / 7
            seen.add(
                (carrier, reading.status, reading.age_ms if reading.HasField("age_ms") else None, *values.round(4))
            )
    assert {entry[:3] for entry in seen} == {
        ("UA", pb.VIEW_STATUS_PRESENT, 3_600_000),
        ("B6", pb.VIEW_STATUS_STALE, 183_600_000),
        ("nobody", pb.VIEW_STATUS_MISSING, None),
        *((carrier, pb.VIEW_STATUS_GIVEN, None) for carrier in ("UA", "B6", "nobody")),
    }
    assert ("UA", pb.VIEW_STATUS_PRESENT, 3_600_000, 9.0, 0.5, 10.0, 3.0) in {
        tuple(float(part) if isinstance(part, np.floating) else part for part in entry) for entry in seen
    }


def test_refusals_are_the_same(ask, request_for, named_tensor):
    wide = named_tensor("x", np.ones((1, 5), np.float32))
    for request, reason in (
        (b"\xff\xff\xff", "REQUEST_MALFORMED"),
        (b"", "REQUEST_MALFORMED"),
        (request_for("nope"), "MODEL_NOT_SERVED"),
        (request_for("m", version=99), "VERSION_NOT_SERVED"),
        (request_for("m", request_id="two words"), "REQUEST_MALFORMED"),
        (pb.PredictRequest(model="m", inputs=[wide]), "INPUT_MISMATCH"),
        (pb.PredictRequest(model="m"), "INPUT_MISMATCH"),
        (pb.PredictRequest(model="bound", entities={"carrier": "UA"}), "INPUT_MISMATCH"),
        (pb.PredictRequest(model="bound", features={"hour": 1.0}), "INPUT_MISMATCH"),
        (pb.PredictRequest(model="bound", features={"other": 1.0}), "INPUT_MISMATCH"),
    ):
        answer = ask(PREDICT, request)
        assert isinstance(answer, tuple), pb.PredictResponse.FromString(answer)
        assert answer[4] == reason


def test_recorded_outcomes_are_the_same_and_so_is_what_is_counted(ask, both, operate):
    outcomes = [
        opb.Outcome(request_id="r1", name="late", value=1.0),
        opb.Outcome(request_id="r1", name="", value=1.0),
        opb.Outcome(unit_id="unit-2", model="m", name="late", value=0.0, outcome_id="o1"),
    ]
    reply = ask(RECORD, opb.RecordOutcomesRequest(outcomes=outcomes))
    statuses = [result.status for result in opb.RecordOutcomesResponse.FromString(reply).results]
    assert statuses == [opb.OUTCOME_STATUS_RECORDED, opb.OUTCOME_STATUS_INVALID, opb.OUTCOME_STATUS_RECORDED]
    assert ask(RECORD, opb.RecordOutcomesRequest())[4] == "REQUEST_MALFORMED"
    assert ask(RECORD, b"\xff")[4] == "REQUEST_MALFORMED"
    native, grpcio = (operate(gateway).events.CountEvents(epb.CountEventsRequest()) for gateway in both)
    assert native == grpcio
    assert native.predictions > 200
