"""The command line, run in this process: what it prints and how it ends."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from turnout.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def document(self):
        assert self.code == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def turnout(monkeypatch, capfd):
    """Return a function that runs one command and says what it printed and how it ended."""

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["turnout", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def at_gateway(turnout, gateway, monkeypatch):
    """Return the same, with the addresses of a real gateway in the environment."""
    monkeypatch.setenv("TURNOUT_SERVER", gateway.control_address)
    monkeypatch.setenv("TURNOUT_DATA_SERVER", gateway.data_address)
    return turnout


@pytest.fixture(name="scaling_model", scope="session")
def _scaling_model():
    return scaling_model


def scaling_model(scale: float, *, width: int = 3) -> bytes:
    """Return a graph with a matrix input `x` whose outputs are `score` = x times scale and `total` = its row sums."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, width])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, width])
    total = helper.make_tensor_value_info("total", TensorProto.FLOAT, [None, 1])
    weights = [
        numpy_helper.from_array(np.array([scale], np.float32), "scale"),
        numpy_helper.from_array(np.array([1], np.int64), "axis"),
    ]
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["score"]),
        helper.make_node("ReduceSum", ["score", "axis"], ["total"], keepdims=1),
    ]
    graph = helper.make_graph(nodes, "scaling", [x], [score, total], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@pytest.fixture
def write_model(tmp_path):
    """Return a function that writes a model which multiplies by a number, and says where."""

    def write(scale: float) -> Path:
        path = tmp_path / f"scale-{scale}.onnx"
        path.write_bytes(scaling_model(scale))
        return path

    return write
