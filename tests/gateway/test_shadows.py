"""Shadows: every sampled call is run again on the same inputs, never in the way, and what is dropped is counted."""

from __future__ import annotations

import threading
import time

import duckdb
import grpc
import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from onnx import TensorProto, helper

from experiments.bucketing import bucket_of
from gateway.journal.log import EventLog
from turnout.control import Control
from turnout.experiments.v1 import shadow_service_pb2 as pb
from turnout.features.v1 import feature_service_pb2
from turnout.registry.v1 import gate_pb2, registry_service_pb2
from turnout.serving.v1 import prediction_service_pb2, prediction_service_pb2_grpc

WAIT_S = 30


@pytest.fixture(scope="module")
def operator(gateway, operator_of):
    operator = operator_of(gateway)
    yield operator
    operator.close()


@pytest.fixture(scope="module")
def control(gateway):
    with Control(gateway.control_address) as control:
        yield control


def put(control, model, **fields):
    """Set a model's shadow and return when every worker has it."""
    shadow = pb.Shadow(name=f"models/{model}/shadow", **({"share": 1.0} | fields))
    answer = control.shadows.SetShadow(pb.SetShadowRequest(shadow=shadow, reason="to see"))
    control.wait_for_revision(answer.revision)
    return answer.shadow


def settled(control, model, calls):
    """Wait until something has become of so many calls, and return the counts."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        counts = control.shadows.GetShadow(pb.GetShadowRequest(name=f"models/{model}/shadow")).shadow.counts
        if counts.paired + counts.failed + counts.dropped >= calls:
            return counts
        time.sleep(0.05)
    raise AssertionError(f"after {WAIT_S} s only {counts} of {calls} calls are settled")


def rows_of(gateway, query, *parameters):
    with EventLog(gateway.state).snapshot() as connection:
        relation = connection.sql(query, params=list(parameters))
        return relation.to_arrow_table().to_pylist(maps_as_pydicts="strict")


def test_every_call_has_a_pair_with_what_the_version_makes_of_the_same_inputs(gateway, operator, control):
    operator.publish("pairs", 2.0, alias="champion")
    operator.publish("pairs", 3.0, alias="challenger")
    operator.wait()
    assert put(control, "pairs", alias="challenger").running_version == 2
    generator = np.random.default_rng(7)
    rows = {f"pairs-{number}": generator.normal(size=(1, 4)).astype(np.float32) for number in range(200)}
    for request_id, row in rows.items():
        assert operator.predict("pairs", row=row, request_id=request_id, unit_id="u").version == 1
    counts = settled(control, "pairs", len(rows))
    assert (counts.paired, counts.failed, counts.dropped) == (len(rows), 0, 0)
    found = rows_of(gateway, "SELECT * FROM pairs WHERE model = 'pairs'")
    assert len(found) == len(rows)
    for pair in found:
        row = rows[pair["request_id"]]
        assert pair["live_outputs"]["score"] == (row * np.float32(2)).ravel().tolist()
        assert pair["shadow_outputs"]["score"] == (row * np.float32(3)).ravel().tolist()
        assert (pair["live_version"], pair["shadow_version"], pair["share"]) == (1, 2, 1.0)
    served = rows_of(gateway, "SELECT version, count(*) AS calls FROM predictions WHERE model = 'pairs' GROUP BY 1")
    assert served == [{"version": 1, "calls": len(rows)}]


def test_a_share_samples_the_same_units_everywhere_and_a_larger_one_keeps_them(gateway, operator, control):
    operator.publish("some", 2.0, alias="champion")
    operator.publish("some", 3.0)
    put(control, "some", version=2, share=0.3)
    units = [f"unit-{number}" for number in range(150)]
    sampled = {
        share: {unit for unit in units if bucket_of("shadow:some", unit) < share * 10_000} for share in (0.3, 0.6)
    }
    assert 0 < len(sampled[0.3]) < len(sampled[0.6]) < len(units)
    assert sampled[0.3] < sampled[0.6]
    calls = 0
    for share in (0.3, 0.6):
        put(control, "some", version=2, share=share)
        for unit in units:
            operator.predict("some", unit_id=unit, request_id=f"some-{share}-{unit}")
        calls += len(sampled[share])
        settled(control, "some", calls)
        found = rows_of(gateway, "SELECT unit_id FROM pairs WHERE model = 'some' AND share = $1", share)
        assert {row["unit_id"] for row in found} == sampled[share]


@pytest.fixture(scope="module")
def rides(tmp_path_factory, control, operator, onnx_bytes):
    """A model whose champion and second version take one feature set, and whose third takes another."""
    folder = tmp_path_factory.mktemp("definitions")
    features = [f"f{number}" for number in range(4)]
    listed = "".join(f'[[view.features]]\nname = "{name}"\ndefault = -1.0\n' for name in features)
    (folder / "ride.toml").write_text(
        '[[source]]\nname = "rides"\nkind = "parquet"\npath = "rides.parquet"\n'
        f'[[view]]\nname = "driver"\njoin_keys = ["driver"]\nsql = "driver.sql"\n{listed}'
        f"[[set]]\nname = 'forward'\nfeatures = [{', '.join(repr('driver.' + name) for name in features)}]\n"
        f"[[set]]\nname = 'backward'\nfeatures = [{', '.join(repr('driver.' + name) for name in features[::-1])}]\n"
    )
    (folder / "driver.sql").write_text(f"SELECT driver, moment AS event_time, {', '.join(features)} FROM rides")
    columns = ", ".join(f"i * {place + 1}.125 AS {name}" for place, name in enumerate(features))
    duckdb.execute(
        f"COPY (SELECT 'd' || i AS driver, TIMESTAMP '2024-01-01' AS moment, {columns} FROM range(20) t(i)) "
        f"TO '{folder / 'rides.parquet'}' (FORMAT parquet)"
    )
    control.apply_features(folder)
    control.features.Materialize(feature_service_pb2.MaterializeRequest())
    for scale, feature_set in ((1.0, "forward"), (5.0, "forward"), (7.0, "backward")):
        facts = registry_service_pb2.VersionFacts(feature_set=feature_set)
        alias = "champion" if scale == 1.0 else ""
        operator.publish_file("ride", onnx_bytes(scale), facts=facts, alias=alias)
    operator.wait()


@pytest.mark.usefixtures("rides")
@pytest.mark.parametrize(("version", "scale"), [(2, 5.0), (3, 7.0)])
def test_features_are_those_that_were_served_or_read_where_the_set_is_another(
    gateway, operator, control, version, scale
):
    put(control, "ride", version=version)
    requests = [
        prediction_service_pb2.PredictRequest(
            model="ride", entities={"driver": f"d{number}"}, request_id=f"ride-{version}-{number}"
        )
        for number in range(20)
    ]
    for request in requests:
        operator.predictions.Predict(request, timeout=10)
    assert settled(control, "ride", len(requests)).paired == len(requests)
    found = rows_of(gateway, "SELECT * FROM pairs WHERE model = 'ride' AND shadow_version = $1", version)
    assert len(found) == len(requests)
    for pair in found:
        wanted = pair["live_features"] if version == 2 else pair["live_features"][::-1]
        assert pair["shadow_features"] == wanted
        assert pair["shadow_outputs"]["score"] == (np.float32(wanted) * np.float32(scale)).tolist()


def _of_another_input():
    """Return the bytes of a graph whose only input is `y`."""
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 4])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 4])
    graph = helper.make_graph([helper.make_node("Identity", ["y"], ["score"])], "another", [y], [score])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def test_a_shadow_that_cannot_take_the_inputs_fails_by_itself(gateway, operator, control):
    operator.publish("misfit", 2.0, alias="champion")
    operator.publish_file("misfit", _of_another_input(), alias="challenger")
    put(control, "misfit", alias="challenger")
    for number in range(10):
        operator.predict("misfit", request_id=f"misfit-{number}")
    counts = settled(control, "misfit", 10)
    assert (counts.paired, counts.failed, counts.dropped) == (0, 10, 0)
    found = rows_of(gateway, "SELECT live_status, shadow_status, shadow_reason FROM pairs WHERE model = 'misfit'")
    code = grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert found == [{"live_status": 0, "shadow_status": code, "shadow_reason": "INPUT_MISMATCH"}] * 10


def test_under_load_live_calls_never_fail_and_what_is_not_paired_is_counted(gateway, operator, control, named_tensor):
    operator.publish("busy", 2.0, alias="champion")
    operator.publish("busy", 3.0)
    put(control, "busy", version=2)
    answers, failures = [], []
    inputs = [named_tensor("x", np.arange(64 * 4, dtype=np.float32).reshape(64, 4))]

    def load(place):
        with gateway.data_channel() as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            for turn in range(40):
                ids = [f"busy-{place}-{turn}-{row}" for row in range(64)]
                batch = prediction_service_pb2.BatchPredictRequest(
                    model="busy", rows=64, request_ids=ids, inputs=inputs
                )
                answer = stub.BatchPredict(batch, timeout=30)
                answers.extend(answer.request_ids)
                failures.extend(answer.errors)

    threads = [threading.Thread(target=load, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    calls = len(answers)
    assert calls == 4 * 40 * 64
    counts = settled(control, "busy", calls)
    assert counts.paired + counts.failed + counts.dropped == calls
    assert counts.failed == 0
    found = rows_of(gateway, "SELECT live_outputs, shadow_outputs FROM pairs WHERE model = 'busy'")
    assert len(found) == counts.paired
    for pair in found:
        assert [1.5 * value for value in pair["live_outputs"]["score"]] == pair["shadow_outputs"]["score"]


def test_a_gate_asks_for_units_that_the_version_answered_as_a_shadow(operator, control):
    operator.publish("gated", 2.0, alias="champion")
    operator.publish("gated", 3.0)
    operator.publish_file("gated", _of_another_input())
    operator.wait()
    gate = gate_pb2.Gate(kind="trial", settings_json='{"of": "shadow", "units_min": 3}')
    model = registry_service_pb2.Model(name="models/gated", gates=[gate])
    mask = FieldMask(paths=["gates"])
    operator.registry.UpdateModel(registry_service_pb2.UpdateModelRequest(model=model, update_mask=mask))

    def promotion_of(version):
        asked = gate_pb2.GetGateStatusRequest(name=f"models/gated/versions/{version}")
        ((verdict,),) = [operator.registry.GetGateStatus(asked).now]
        return verdict.passed, verdict.sentence

    assert promotion_of(2) == (False, "no shadow with at least 3 units has looked at it")
    with pytest.raises(grpc.RpcError, match="no shadow with at least 3 units"):
        operator.promote("gated", 2, wait=False)
    for version in (2, 3):
        put(control, "gated", version=version)
        for call in range(4):
            operator.predict("gated", request_id=f"gated-{version}-{call}", unit_id=f"u{call % 3}")
        settled(control, "gated", 4)
    assert promotion_of(2) == (True, "as a shadow it answered 4 of 4 calls")
    assert promotion_of(3) == (False, "no shadow with at least 3 units has looked at it")
    assert operator.promote("gated", 2).revision


def test_removing_a_shadow_ends_it_and_says_so(gateway, operator, control, refusal):
    operator.publish("gone", 2.0, alias="champion")
    operator.publish("gone", 3.0)
    put(control, "gone", version=2)
    operator.predict("gone", request_id="gone-1")
    settled(control, "gone", 1)
    removal = pb.RemoveShadowRequest(name="models/gone/shadow", reason="seen enough")
    control.wait_for_revision(control.shadows.RemoveShadow(removal).revision)
    operator.predict("gone", request_id="gone-2")
    time.sleep(0.1)
    assert len(rows_of(gateway, "SELECT 1 FROM shadows WHERE model = 'gone'")) == 1
    with gateway.control_channel() as channel:
        get = channel.unary_unary(
            "/turnout.experiments.v1.ShadowService/GetShadow",
            request_serializer=pb.GetShadowRequest.SerializeToString,
            response_deserializer=pb.GetShadowResponse.FromString,
        )
        code, reason, _ = refusal(get, pb.GetShadowRequest(name="models/gone/shadow"))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "SHADOW_NOT_FOUND")


@pytest.mark.parametrize(
    ("fields", "code", "reason"),
    [
        ({"name": "models/kept/shadow", "version": 1, "share": 0.0}, "INVALID_ARGUMENT", "SHADOW_INVALID"),
        ({"name": "models/kept/shadow", "version": 1, "share": 1.5}, "INVALID_ARGUMENT", "SHADOW_INVALID"),
        ({"name": "models/kept/shadow", "share": 1.0}, "INVALID_ARGUMENT", "SHADOW_INVALID"),
        ({"name": "models/kept/shadow", "version": 9, "share": 1.0}, "NOT_FOUND", "VERSION_NOT_FOUND"),
        ({"name": "models/kept/shadow", "alias": "no", "share": 1.0}, "NOT_FOUND", "ALIAS_NOT_FOUND"),
        ({"name": "models/none/shadow", "version": 1, "share": 1.0}, "NOT_FOUND", "MODEL_NOT_FOUND"),
        ({"name": "models/kept", "version": 1, "share": 1.0}, "INVALID_ARGUMENT", "REQUEST_MALFORMED"),
    ],
)
def test_a_shadow_that_is_none_is_refused(gateway, operator, refusal, fields, code, reason):
    names = {each.name for each in operator.registry.ListModels(registry_service_pb2.ListModelsRequest()).models}
    if "models/kept" not in names:
        operator.publish("kept", 2.0, alias="champion")
    with gateway.control_channel() as channel:
        ask = channel.unary_unary(
            "/turnout.experiments.v1.ShadowService/SetShadow",
            request_serializer=pb.SetShadowRequest.SerializeToString,
            response_deserializer=pb.SetShadowResponse.FromString,
        )
        got = refusal(ask, pb.SetShadowRequest(shadow=pb.Shadow(**fields)))
    assert (got[0].name, got[1]) == (code, reason)
