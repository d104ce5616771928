"""What waits for a quiet moment is bounded, and nothing runs while a live call waits."""

from __future__ import annotations

import threading
import time

import pytest
from onnx import TensorProto, helper

from experiments.bucketing import BUCKETS
from gateway.models.session import Session
from gateway.models.slots import Slot, VersionKey
from gateway.serving.request import GivenTensor, Request
from gateway.serving.shadows import BYTES_MAX, CALLS, CALLS_MAX, Shadows
from gateway.serving.table import Route, ServingTable, ShadowTarget, Target
from gateway.telemetry.meter import Meter

WAIT_S = 20


@pytest.fixture(scope="module")
def slot_of(tmp_path_factory):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 1])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", [x], [y])
    path = tmp_path_factory.mktemp("models") / "same.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )

    def slot_of(version):
        return Slot(
            VersionKey("m", version),
            digest="",
            session=Session(path),
            plan=None,
            feature_set="",
            feature_input="",
            stackable=True,
        )

    return slot_of


class Scene:
    """A worker as the shadows see it: what it serves, how much it does, and what was run."""

    def __init__(self, live, shadow):
        self.shadow = ShadowTarget(slot=shadow, state=0, places=BUCKETS, share=1.0)
        self.target = Target(slot=live, shadow=self.shadow)
        self.table = self.table_with(self.shadow)
        self.busy = 1
        self.ran, self.sizes = [], []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.meter = Meter()
        self.shadows = Shadows(
            run=self.run,
            table=lambda: self.table,
            others_cpu_s=lambda: 0.0,
            in_flight=lambda: self.busy,
            meter=self.meter,
        )
        self.shadows.begin()

    def table_with(self, shadow):
        route = Route("m", self.target, {}, {}, shadow=shadow)
        return ServingTable(1, {"m": route}, shadowed=shadow is not None)

    def run(self, shadow, requests):
        assert shadow is self.shadow
        assert not shadow.slot.is_free
        self.ran += [request.request_id for request in requests]
        self.sizes.append(len(requests))
        self.may_go_on.wait(WAIT_S)
        return len(requests), 0, 1e-6

    def offer(self, names, tensors=()):
        self.shadows.offer({self.target: [Request(name, "m", None, tensors=tensors) for name in names]})

    def counted(self, result):
        series = self.meter.family(CALLS).get(("m", "2", result))
        return series.total if series else 0

    def until(self, condition):
        until = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < until
            time.sleep(0.005)


@pytest.fixture
def scene(slot_of):
    scene = Scene(slot_of(1), slot_of(2))
    yield scene
    scene.may_go_on.set()
    scene.shadows.close()


def test_nothing_runs_while_a_live_call_waits_and_all_of_it_in_order_afterwards(scene):
    names = [str(number) for number in range(100)]
    for name in names:
        scene.offer([name])
    time.sleep(0.1)
    assert scene.ran == []
    scene.busy = 0
    scene.until(lambda: scene.counted("paired") == len(names))
    assert scene.ran == names
    assert max(scene.sizes) > 1
    assert scene.counted("dropped") == 0


def test_calls_beyond_the_bound_are_dropped_and_counted(scene):
    for _ in range(CALLS_MAX // 64 + 10):
        scene.offer([f"{number}" for number in range(64)])
    assert scene.counted("dropped") == 640
    scene.busy = 0
    scene.until(lambda: scene.counted("paired") == CALLS_MAX)
    scene.offer(["later"])
    scene.until(lambda: scene.counted("paired") == CALLS_MAX + 1)


def test_bytes_beyond_the_bound_are_dropped_and_the_room_comes_back(scene):
    large = [GivenTensor("x", "float32", (1, 1), bytes(BYTES_MAX // 2 + 1))]
    scene.offer(["first"], large)
    scene.offer(["second"], large)
    assert scene.counted("dropped") == 1
    scene.busy = 0
    scene.until(lambda: scene.counted("paired") == 1)
    scene.offer(["third"], large)
    scene.until(lambda: scene.counted("paired") == 2)


def test_a_version_that_the_table_names_no_more_is_not_run_and_its_calls_are_dropped(scene):
    scene.offer(["a", "b"])
    scene.table = scene.table_with(None)
    scene.shadows.settle()
    scene.shadow.slot.retire()
    assert scene.shadow.slot.is_free
    scene.busy = 0
    scene.until(lambda: scene.counted("dropped") == 2)
    assert scene.ran == []


def test_a_version_stays_open_while_it_runs(scene):
    scene.may_go_on.clear()
    scene.busy = 0
    scene.offer(["a"])
    scene.until(lambda: scene.ran)
    scene.table = scene.table_with(None)
    scene.shadows.settle()
    scene.shadow.slot.retire()
    assert not scene.shadow.slot.is_free
    scene.may_go_on.set()
    scene.until(lambda: scene.shadow.slot.is_free)
    assert scene.counted("paired") == 1


def test_what_still_waits_at_the_end_is_counted_as_dropped(scene):
    scene.offer([str(number) for number in range(100)])
    scene.shadows.close()
    assert scene.counted("dropped") == 100
    assert scene.ran == []
