import grpc
import onnx
import pytest

from turnout.registry.v1 import registry_service_pb2 as rpb


def changed(data, change):
    model = onnx.load_from_string(data)
    change(model)
    return model.SerializeToString()


def of_the_future(model):
    model.opset_import[0].version = 999


def outside(model):
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../../../etc/passwd")


def refused_files(good):
    return {
        "GRAPH_UNREADABLE": good[: len(good) // 2],
        "OPSET_UNKNOWN": changed(good, of_the_future),
        "EXTERNAL_DATA": changed(good, outside),
        "PROBE_DISAGREES": good,
    }


def stored(state):
    return sorted(path.name for path in (state / "artifacts").rglob("*") if path.is_file())


def registered(operator):
    versions = operator.registry.ListVersions(rpb.ListVersionsRequest(parent="models/m"))
    models = operator.registry.ListModels(rpb.ListModelsRequest())
    return operator.status().revision, versions, models


@pytest.mark.parametrize(
    ("rounds", "rate_per_s"), [(1, 100), pytest.param(50, 300, marks=pytest.mark.soak)], ids=["short", "soak"]
)
def test_bad_files_are_refused_with_a_reason_and_serving_is_undisturbed(
    launch, tmp_path, operate, load, refusal, onnx_bytes, named_tensor, rows, rounds, rate_per_s
):
    gateway = launch(tmp_path / "state")
    operator = operate(gateway)
    operator.publish("m", 2.0, alias="champion")
    operator.wait()
    before, kept = registered(operator), stored(gateway.state)
    probe = rpb.Probe(inputs=[named_tensor("x", rows)], outputs=[named_tensor("score", rows * 2.5)])
    with load(gateway.data_address, "m", rate_per_s=rate_per_s) as calls:
        calls.wait_for(10)
        for _ in range(rounds):
            for reason, data in refused_files(onnx_bytes(3.0)).items():
                # A refused publication makes no model either.
                model = "new" if reason == "PROBE_DISAGREES" else "m"
                answer = refusal(operator.publish_file, model, data, alias="champion", probe=probe)
                assert answer[:2] == (grpc.StatusCode.INVALID_ARGUMENT, reason)
                assert len(answer[2]) > 20
        calls.wait_for(10)
    assert registered(operator) == before
    assert stored(gateway.state) == kept
    assert calls.failures == []
    assert calls.retries == []
    assert {(answer.version, answer.scale) for answer in calls.answers} == {(1, 2.0)}
    latencies = sorted(answer.answered - answer.asked for answer in calls.answers)
    print(f"{rounds * 4} refusals, {len(latencies)} answers, worst {latencies[-1] * 1e3:.1f} ms")  # noqa: T201
    assert operator.publish("m", 3.0).version.version == 2
    assert gateway.stop() == 0
