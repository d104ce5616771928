"""`turnout load` against a real gateway: who is asked what, how often, and what is counted of it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import time
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper

from turnout.control import Control
from turnout.events.v1 import event_service_pb2
from turnout.features.v1 import feature_service_pb2
from turnout.load.crew import Crew
from turnout.load.plan import Plan
from turnout.load.sender import Sender
from turnout.registry.v1 import registry_service_pb2
from turnout.serving.v1 import prediction_service_pb2 as serving

PAGE = Path(__file__).parents[2] / "docs" / "load.md"
PAUSE_S, RATE_PER_S = 0.3, 200.0
SLOW_US = 100_000
DEFINITIONS = """
[[source]]
name = "rides"
kind = "parquet"
path = "rides.parquet"
[[view]]
name = "driver"
join_keys = ["driver"]
sql = "driver.sql"
[[view.features]]
name = "trips"
default = -1.0
[[set]]
name = "ride"
features = ["driver.trips", "request.hour"]
"""


def model(width):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


@pytest.fixture(scope="module")
def served(gateway, tmp_path_factory):
    """Furnish a gateway with a model of tensors and one of features."""
    folder = tmp_path_factory.mktemp("definitions")
    stamps = pa.array([1_700_000_000_000_000] * 3, pa.timestamp("us"))
    pq.write_table(
        pa.table({"driver": ["a", "b", "c"], "event_time": stamps, "trips": [1.0, 2.0, 3.0]}), folder / "rides.parquet"
    )
    (folder / "driver.sql").write_text("SELECT * FROM rides\n")
    (folder / "all.toml").write_text(DEFINITIONS)
    with Control(gateway.control_address) as control:
        control.apply_features(folder)
        control.features.Materialize(feature_service_pb2.MaterializeRequest(feature_views=["featureViews/driver"]))
        for name, facts in (("iris", None), ("ride", registry_service_pb2.VersionFacts(feature_set="ride"))):
            (folder / name).write_bytes(model(2))
            control.publish_version(name, folder / name, facts=facts, alias="champion")
        control.wait_for_revision()
    return gateway


@pytest.fixture
def load(at_gateway, served):
    """Return a function that runs the command and returns what it printed."""

    def run(*arguments, code=0):
        assert served.process.poll() is None
        done = at_gateway("load", *arguments, "--warm-up", "0")
        assert done.code == code, done.out + done.err
        return done.err if code else done.out

    return run


def counted(gateway, name):
    with Control(gateway.control_address) as control:
        return control.events.CountEvents(event_service_pb2.CountEventsRequest(model=name))


def test_every_call_that_is_due_is_made_and_told(served, load, tmp_path):
    before = counted(served, "iris").predictions
    options = ("--model", "iris", "--rate", 150, "--duration", 1, "--processes", 2, "--connections", 3)
    told = json.loads(load(*options, "--json", "--out", tmp_path / "a.hgrm", "--out", tmp_path / "a.json"))
    assert (told["calls"], told["failed"], told["statuses"]) == (150, 0, {"OK": 150})
    assert told["requests"] == 1000
    assert counted(served, "iris").predictions - before == 150 + 1  # one was asked to see whether all would be in vain
    latency = told["latency_ms"]
    assert 0 < latency["min"] <= latency["p50"] <= latency["p99"] <= latency["max"]
    *_, last = [line.split() for line in (tmp_path / "a.hgrm").read_text().splitlines() if not line.startswith("#")]
    assert last == [f"{latency['max']:.3f}", "1.000000000000", "150"]
    kept = json.loads((tmp_path / "a.json").read_text())
    assert sum(kept.pop("latency_us_buckets")["counts"].values()) == 150
    assert kept == told


def test_callers_who_wait_ask_again_until_the_end(load):
    said = load("--model", "iris", "--concurrency", 4, "--duration", 0.5, "--requests", 10)
    assert "closed, 4 concurrency" in said
    assert "p99.9" in said
    assert "█" in said


def test_features_are_read_or_given_and_what_was_recorded_is_asked_again(served, load, tmp_path):
    common = ("--model", "ride", "--rate", 50, "--duration", 0.4, "--seed", 7, "--json")
    assert "say by --entity whose" in load(*common, code=2)
    read = json.loads(load(*common, "--entity", "driver=a,b", "--requests", 8))
    given = json.loads(load(*common, "--give-features", "--units", 3))
    assert read["statuses"] == given["statuses"] == {"OK": 20}
    again = json.loads(load(*common, "--journal"))
    assert (again["requests"], again["left_out"], again["statuses"]) == (42, 0, {"OK": 20})
    with Control(served.control_address) as control:
        request = event_service_pb2.ExportEventsRequest(kind=event_service_pb2.EVENT_KIND_PREDICTION, model="ride")
        (tmp_path / "was.parquet").write_bytes(b"".join(piece.data for piece in control.events.ExportEvents(request)))
    was = pq.read_table(tmp_path / "was.parquet").sort_by("time_us").to_pylist()
    drivers = [dict(row["entities"]).get("driver") for row in was]
    assert set(drivers[:21]) == {"a", "b"}
    assert set(drivers[21:42]) == {None}
    assert {row["unit_id"] for row in was[21:42]} <= {"unit-0", "unit-1", "unit-2"}
    assert [row["features"][1] for row in was[43:52]] == [row["features"][1] for row in was[:9]]
    assert drivers[43:63] == drivers[:20]
    once_more = json.loads(load(*common, "--recorded", tmp_path / "was.parquet", "--give-features"))
    assert (once_more["requests"], once_more["statuses"]) == (63, {"OK": 20})


def test_what_no_call_could_be_told_ends_the_command(load, monkeypatch):
    assert "MODEL_NOT_FOUND" in load("--model", "nobody", "--rate", 10, code=1)
    assert "one of the two" in load("--model", "iris", code=2)
    assert "tensors" in load("--model", "iris", "--rate", 1, "--journal", code=2)
    monkeypatch.setenv("TURNOUT_TLS", "true")
    assert "not reachable" in load("--model", "iris", "--rate", 10, code=3)


def test_calls_that_fail_are_counted_by_their_reasons(served):
    bodies = [serving.PredictRequest(model=name).SerializeToString() for name in ("nobody", "iris")]
    with Crew(Plan(address=served.data_address, bodies="", rate_per_s=100, seconds=0.2), bodies) as crew:
        crew.begin()
        tally = crew.tally()
    assert dict(tally.statuses) == {"NOT_FOUND MODEL_NOT_SERVED": 10, "INVALID_ARGUMENT INPUT_MISMATCH": 10}
    assert tally.failed == tally.latency.total == 20


@pytest.mark.parametrize("in_flight_max", [1, 1000])
def test_a_gateway_that_stands_still_is_seen_by_every_call_that_was_due(served, in_flight_max):
    # 300 ms at 200 calls a second: 60 calls were due in the pause, the first 40 of them at least 100 ms before its end
    due = int((PAUSE_S - SLOW_US / 1e6) * RATE_PER_S)
    body = serving.PredictRequest(model="iris").SerializeToString()
    plan = Plan(address=served.data_address, bodies="", rate_per_s=RATE_PER_S, seconds=1.0, in_flight_max=in_flight_max)
    with Crew(plan, [body]) as crew:
        crew.begin()
        while not crew.so_far()[0]:
            time.sleep(0.01)
        os.kill(served.pids[1], signal.SIGSTOP)
        time.sleep(PAUSE_S)
        os.kill(served.pids[1], signal.SIGCONT)
        tally = crew.tally()
    assert tally.calls == RATE_PER_S
    assert tally.latency.above(SLOW_US) >= due - 1
    if in_flight_max == 1:  # all but one were sent late: who counts from the sending sees one slow call, or a few
        assert tally.late.above(SLOW_US) >= due - 2
        assert tally.service.above(SLOW_US) < tally.latency.above(SLOW_US)


def test_arrivals_are_even_or_drawn_and_shared_by_the_processes(tmp_path):
    (tmp_path / "bodies").write_bytes(b"\x00\x00\x00\x00")

    def dues(**more):
        plan = Plan(address="127.0.0.1:1", bodies=str(tmp_path / "bodies"), rate_per_s=100.0, seconds=3.0, **more)
        found = []
        for place in range(plan.processes):
            sender = Sender(plan, place)
            sender._until_ns = 3 * 10**9  # what `send` says first
            found += list(sender._dues_ns())
            sender.close()
        return sorted(found)

    assert dues() == dues(processes=3, connections=3) == [number * 10**7 for number in range(300)]
    drawn = dues(poisson=True, processes=2, connections=2, seed=5)
    assert drawn == dues(poisson=True, processes=2, connections=2, seed=5) != dues(poisson=True, seed=5)
    gaps = [(later - sooner) / 1e7 for sooner, later in pairwise(drawn)]
    assert 0.8 < sum(gaps) / len(gaps) < 1.25
    assert max(gaps) > 3  # of even arrivals all are 1


def test_the_commands_of_the_page_run(served, at_gateway, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").symlink_to(served.state)
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.startswith("$ ")]
    assert len(lines) == 4
    for line in lines:
        done = at_gateway(*shlex.split(line)[2:])
        assert done.code == 0, (line, done.err)
    assert (tmp_path / "iris.hgrm").read_text().lstrip().startswith("Value")
