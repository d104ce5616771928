import numpy as np
import pytest
from onnx import TensorProto, helper

from gateway.control.trial import Trial
from gateway.errors import CheckCrashedError, CheckTimedOutError, OverloadedError
from registry.errors import ProbeRunError
from registry.probe import Probe
from storage.errors import DomainError


@pytest.fixture
def saved(tmp_path):
    """Return what saves bytes as a file."""

    def saving(data, name="model.onnx"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return saving


def test_a_file_that_takes_too_long_is_refused(saved, make_graph):
    with pytest.raises(CheckTimedOutError):
        Trial(timeout_s=0.01).signature(saved(make_graph()), None)


def test_a_child_that_ends_without_a_finding_is_reported(tmp_path):
    with pytest.raises(CheckCrashedError, match="exit 1"):
        Trial().signature(tmp_path / "missing.onnx", None)


def test_more_publications_than_are_checked_at_once_wait_only_so_long(saved, make_graph):
    trial = Trial(at_once_max=1, wait_s=0.01)
    trial._turns.acquire()
    with pytest.raises(OverloadedError):
        trial.signature(saved(make_graph()), None)


def test_a_graph_that_fails_on_its_probe_rows_is_refused(saved, make_graph):
    def reshaping(model):
        del model.graph.node[:]
        model.graph.initializer.append(helper.make_tensor("shape", TensorProto.INT64, [2], [7, 1]))
        model.graph.node.append(helper.make_node("Reshape", ["x", "shape"], ["y"]))

    probe = Probe({"x": np.ones((2, 3), np.float32)}, {"y": np.ones((2, 1), np.float32)})
    with pytest.raises(ProbeRunError):
        Trial().signature(saved(make_graph(reshaping)), saved(probe.encode(), "probe.npz"))


def test_a_graph_that_asks_for_more_memory_than_there_is_only_ends_its_child(saved, make_graph):
    def bomb(model):
        del model.graph.node[:]
        del model.graph.initializer[:]
        model.graph.initializer.append(helper.make_tensor("shape", TensorProto.INT64, [2], [2**20, 2**20]))
        model.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["big"]))
        model.graph.node.append(helper.make_node("ReduceSum", ["big"], ["sum"], keepdims=1))
        model.graph.node.append(helper.make_node("ReduceSum", ["x"], ["sum_x"], keepdims=1))
        model.graph.node.append(helper.make_node("Add", ["sum", "sum_x"], ["y"]))

    probe = Probe({"x": np.ones((1, 3), np.float32)}, {"y": np.ones((1, 1), np.float32)})
    with pytest.raises(DomainError) as refused:
        Trial().signature(saved(make_graph(bomb)), saved(probe.encode(), "probe.npz"))
    assert refused.value.reason in {"PROBE_RUN_FAILED", "VERSION_UNLOADABLE", "CHECK_CRASHED"}
