import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module", params=["native", "grpcio"])
def told(launch, tmp_path_factory, request):
    """Return a gateway of two workers with a model in an experiment."""
    running = launch(tmp_path_factory.mktemp("reflection") / "state", "--transport", request.param, workers=2)
    yield running
    running.stop()


def test_a_client_that_knows_only_reflection_gets_typed_answers(told, operate, tmp_path):
    operator = operate(told)
    operator.publish("m", 2.0, alias="champion")
    operator.publish("m", 3.0, alias="challenger")
    operator.start_experiment("m")
    script = Path(__file__).with_name("reflection_client.py")
    done = subprocess.run(
        [sys.executable, "-I", script, told.data_address],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
    )
    seen = json.loads(done.stdout)
    assert {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "turnout.outcomes.v1.OutcomeService",
        "turnout.serving.v1.PredictionService",
    } <= set(seen["services"])
    assert {"request_id", "model", "version", "experiment", "variant", "outputs"} <= set(seen["response_fields"])
    assert not {"turnout", "gateway"} & set(seen["imported"])
    arms = {"control": ("1", 2.0), "treatment": ("2", 3.0)}
    assert {answer["variant"] for answer in seen["answers"]} == set(arms)
    for answer in seen["answers"]:
        version, scale = arms[answer["variant"]]
        assert (answer["model"], answer["version"], answer["experiment"]) == ("m", version, "v1-against-v2")
        assert answer["scores"] == [scale, 2 * scale, 3 * scale, 4 * scale]
        assert (answer["outputs"][0]["name"], answer["outputs"][0]["data_type"]) == ("score", "DATA_TYPE_FLOAT32")
