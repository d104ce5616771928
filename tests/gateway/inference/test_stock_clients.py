"""The stock clients of Triton and KServe, each in a process and an environment of its own, as they were installed."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
UNREACHABLE = 75
ROW = [0.0, 1.0, 2.0, 3.0]


@pytest.fixture(scope="module")
def client_python():
    """Return the Python that has the stock clients."""
    made = subprocess.run(
        [sys.executable, HERE.parents[2] / "tools" / "stock_clients.py"], capture_output=True, text=True, check=False
    )
    if made.returncode == UNREACHABLE:
        pytest.skip("the package registry cannot be reached, and the stock clients are not installed")
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@pytest.fixture
def session(client_python, one):
    """Return the function that runs a session of a client and gives what it saw."""

    def run(name):
        script = HERE / "clients" / f"{name}_session.py"
        done = subprocess.run(
            [client_python, script, one.data_address], capture_output=True, text=True, check=False, timeout=100
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_the_commands_of_the_document_run(client_python, one, operate, tmp_path):
    root = HERE.parents[2]
    blocks = re.findall(
        r"^```console\n(.*?)^```$", (root / "docs/open-inference.md").read_text(), re.MULTILINE | re.DOTALL
    )
    commands = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    assert commands == [
        "pip install 'tritonclient[grpc]'",  # it is there
        "python examples/open_inference.py 127.0.0.1:8001",
    ]
    made = [sys.executable, root / "examples/first_model.py", "sepals", tmp_path / "sepals.onnx"]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    operator = operate(one)
    operator.publish_file("iris", (tmp_path / "sepals.onnx").read_bytes(), alias="champion", finite_inputs=["flower"])
    operator.wait()
    asked = [client_python, root / commands[1].split()[1], one.data_address]
    done = subprocess.run(asked, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("ready: True\nversion: 1\nrequest id: ")


def scaled(scale, shift=0):
    return [[(each + shift) * scale for each in ROW]]


def test_the_triton_client_finds_what_it_looks_for(session):
    seen = session("triton")
    told = seen["told"]
    assert (told["live"], told["ready"], told["model_ready"], told["server"]) == (
        True,
        True,
        [True, True, False],
        "turnout",
    )
    assert (told["metadata"]["name"], told["metadata"]["versions"]) == ("m", ["1", "2"])
    assert told["metadata"]["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "4"]}]
    assert told["config"]["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": ["-1", "4"]}]
    assert {(each["name"], each["version"], each["state"]) for each in told["index"]} >= {
        ("m", "1", "READY"),
        ("m", "2", "READY"),
    }
    assert seen["raw"].pop("request_id")
    assert seen["raw"] == {"scores": scaled(5), "id": "mine", "version": "1"}
    assert seen["typed"] == scaled(5)
    assert seen["words"] == [["zwölf", ""], ["€", "x" * 300]]
    assert seen["asynchronous"] == [scaled(5, number) for number in range(20)]
    answers = [[str(number), scaled(5, number)] for number in range(20)]
    answers[5] = "model `nobody` is not served: it has no version with an alias"
    assert seen["streaming"] == answers
    assert {tuple(arm) for arm in seen["experiments"].values()} == {("control", "1"), ("treatment", "2")}
    assert seen["features"] == [[[9 * 7.0, 0.5 * 7.0, 10 * 7.0, 3 * 7.0]]] * 2
    assert seen["statistics"] == 1
    assert seen["unloading"] == [False, True]
    assert told["extensions"] == ["model_configuration", "model_repository", "statistics"]
    assert seen["refused"] == [
        "StatusCode.INVALID_ARGUMENT",
        "the model has no input `y`; it takes `x` (float32 [-1, 4])",
    ]


def test_the_kserve_client_finds_what_it_looks_for(session):
    seen = session("kserve")
    assert (seen["live"], seen["ready"], seen["model_ready"]) == (True, True, [True, False])
    assert seen["raw"] == ["mine", "1", scaled(5)]
    assert seen["typed"] == scaled(5)
    assert tuple(seen["unit"]) in {("1", "control"), ("2", "treatment")}
