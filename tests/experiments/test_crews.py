"""Work in shares comes to what it comes to as one, on this machine and on a Ray cluster, whoever dies meanwhile."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import duckdb
import grpc
import lmdb
import pyarrow as pa
import pytest

from features.definitions import BoundView, Feature, FeatureSet, RequestDefault, Source, View
from features.errors import FeatureSqlInvalidError
from features.materialize import materialize
from features.offline import OfflineLimits
from features.store import open_store
from features.training import training_table
from gateway.bootstrap.sources import read_settings
from gateway.control.reducing.reducer import Reducer
from gateway.errors import SettingInvalidError
from gateway.journal.log import EventLog
from storage.crew import (
    ALONE,
    Alone,
    CrewDiffersError,
    CrewLostError,
    CrewUnreachableError,
    SharedFolderError,
    ShareFailedError,
)
from storage.ray_crew import RayCrew
from trainer.errors import StepFailedError
from trainer.records.policy import Budget
from trainer.runner import child, on_ray
from trainer.runner.child import ClaimLostError
from trainer.runner.folder import failure, finished
from turnout.features.v1 import feature_service_pb2 as pb
from turnout.features.v1 import feature_service_pb2_grpc

sys.path.insert(0, str(Path(__file__).parent))
import crews
import errands
from clusters import Cluster
from streams import HOUR_US, Stream, alike, measured

SHARES = 2


@pytest.fixture(scope="module")
def cluster():
    running = Cluster()
    yield running
    running.kill()


class Mortal:
    """A Ray crew of which one process is killed when it has all but done its share."""

    def __init__(self, crew, mark):
        self.crew = crew
        self.mark = mark
        self.shares, self.rows_min, self.threads = crew.shares, 0, crew.threads

    def run(self, work, tasks):
        return self.crew.run(functools.partial(crews.die_once, work, self.mark), tasks)


@pytest.fixture(params=["alone", "ray"])
def crew(request):
    if request.param == "alone":
        return Alone(shares=SHARES)
    return RayCrew(request.getfixturevalue("cluster").address, shares=SHARES, rows_min=0)


def test_analyses_come_to_the_same_though_one_is_killed_in_the_middle(tmp_path, make_experiment, crew):
    experiment = measured(make_experiment, 0)
    stream = Stream(tmp_path / "state", 11)
    events = EventLog(tmp_path / "state", attribution_window_us=10 * HOUR_US)
    stream.send(600)
    stream.tend()
    stream.writer.close()
    whole = Reducer(events, kept_rows_min=1).evidence(experiment, now_us=stream.now_us)
    shutil.rmtree(tmp_path / "state" / "events" / "reductions")
    mortal = Mortal(crew, tmp_path / "killed") if isinstance(crew, RayCrew) else crew
    shared = Reducer(events, kept_rows_min=1, crew=mortal).evidence(experiment, now_us=stream.now_us)
    alike(whole, shared, within=1e-12)
    assert sum(each.predictions for each in shared.counts) > 50
    kept = tmp_path / "state" / "events" / "reductions" / experiment.id
    assert sum(folder.is_dir() for folder in kept.iterdir()) == SHARES
    assert (tmp_path / "killed").exists() == isinstance(crew, RayCrew)


FEATURES = (Feature(name="v", default=7.0), Feature(name="w"))


@pytest.fixture
def facts(tmp_path):
    """Return the source of rows that are late, deleted, tied and of many keys, and the SQL of labels on them."""
    path = tmp_path / "facts.parquet"
    duckdb.sql(
        "COPY (SELECT 'a' || (hash(i) % 97) AS a, 'b' || (hash(i, 1) % 5) AS b, "
        "make_timestamp(CAST(hash(i, 2) % 2000 AS BIGINT) * 1000000) AS event_time, "
        "event_time + to_seconds(CAST(hash(i, 3) % 300 AS INTEGER)) AS created_time, hash(i, 4) % 10 = 0 AS deleted, "
        "CASE WHEN hash(i, 5) % 7 = 0 THEN NULL ELSE CAST(hash(i, 6) % 9 AS DOUBLE) / 7 END AS v, i / 3 AS w "
        f"FROM range(20000) AS t(i)) TO '{path}' (FORMAT parquet)"
    )
    labels = (
        "SELECT a, CASE WHEN hash(w, 7) % 50 <> 0 THEN b END AS b, event_time, CAST(v AS DECIMAL(9, 2)) AS label, "
        "CAST(w AS HUGEINT) * 1000000000000000000 AS large, CASE WHEN hash(w, 8) % 3 = 0 THEN w END AS asked FROM facts"
    )
    return Source(name="facts", kind="parquet", path=str(path)), labels


def table(source, labels, limits, *, marks):
    one = View(name="one", join_keys=("a",), sql="SELECT * FROM facts", features=FEATURES, ttl_us=200_000_000)
    two = View(name="two", join_keys=("b", "a"), sql="SELECT * FROM facts", features=FEATURES)
    feature_set = FeatureSet(
        name="both",
        features=("two.w", "one.v", "request.asked", "two.v"),
        view_digests=(("one", ""), ("two", "")),
        requests=(RequestDefault(name="asked", default=-1.0),),
    )
    joined = training_table(
        feature_set,
        [two, one],
        sources=[source],
        label_sql=labels,
        start_us=100_000_000,
        end_us=1_900_000_000,
        limits=limits,
        marks=marks,
    )
    with joined as batches:
        return batches.read_all()


def test_training_tables_are_the_same_bytes(crew, facts, tmp_path):
    limits = OfflineLimits(scratch=tmp_path)
    whole = table(*facts, limits, marks=True)
    shared = table(*facts, replace(limits, crew=crew), marks=True)
    assert whole.num_rows > 10_000
    assert set(whole["two@status"].to_pylist()) == {"PRESENT", "NULL", "MISSING"}
    assert whole.schema == shared.schema
    assert bytes_of(whole) == bytes_of(shared)


def bytes_of(rows):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows.combine_chunks())
    return sink.getvalue().to_pybytes()


def test_online_stores_are_the_same_bytes(crew, facts, tmp_path):
    view = View(name="facts", join_keys=("a", "b"), sql="SELECT * FROM facts", features=FEATURES)
    found = []
    for name, who in (("whole", ALONE), ("shared", crew)):
        store = open_store(f"lmdb://{tmp_path / name}", writable=True)
        done = materialize(
            store,
            BoundView(view=view, schema_id=3),
            sources=[facts[0]],
            until_us=1_500_000_000,
            now_us=9,
            limits=OfflineLimits(scratch=tmp_path, crew=who),
        )
        store.close()
        with lmdb.open(str(tmp_path / name), readonly=True) as environment, environment.begin() as reading:
            found.append((done, dict(reading.cursor())))
    assert found[0] == found[1]
    assert found[0][0].entities_written == 97 * 5


def test_what_is_small_is_done_here(facts, tmp_path):
    nowhere = RayCrew("127.0.0.1:1", shares=SHARES, rows_min=20_001)
    limits = OfflineLimits(scratch=tmp_path)
    shared = table(*facts, replace(limits, crew=nowhere), marks=False)
    assert bytes_of(shared) == bytes_of(table(*facts, limits, marks=False))


def test_shares_are_done_on_several_nodes(cluster):
    crew = RayCrew(cluster.address, shares=SHARES, rows_min=0)
    assert len(set(crew.run(crews.where, [2.0] * SHARES))) == SHARES


def test_a_cluster_that_is_not_there_is_told_by_its_address():
    with pytest.raises(CrewUnreachableError, match=r"127\.0\.0\.1:1 cannot be reached"):
        RayCrew("127.0.0.1:1").run(str, [1])
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(CrewUnreachableError, match=f"{address} does not answer"):
            RayCrew(address, connect_s_max=1).run(str, [1])


def test_a_node_with_other_code_is_refused_and_a_fault_is_told():
    from storage import ray_driver  # noqa: PLC0415  it loads Ray

    assert ray_driver.on_node(ray_driver.code_digest(), str, 1) == ("1", None)
    assert isinstance(ray_driver.on_node("another", str, 1)[1], CrewDiffersError)
    refused = ray_driver.on_node(ray_driver.code_digest(), crews.fail, 1)[1]
    assert isinstance(refused, ShareFailedError)
    assert refused.message.endswith("ValueError: of its own")


def test_what_a_share_refuses_is_refused_as_it_is_here(cluster, facts, tmp_path):
    source, labels = facts
    gone = Source(name="facts", kind="parquet", path=source.path)
    limits = OfflineLimits(scratch=tmp_path, crew=RayCrew(cluster.address, shares=2, rows_min=0))
    view = View(
        name="one",
        join_keys=("a",),
        sql="SELECT * REPLACE (1 / 0 = CAST('x' AS INT) AS v) FROM facts",
        features=FEATURES,
    )
    feature_set = FeatureSet(name="one", features=("one.v",), view_digests=(("one", ""),), requests=())
    joined = training_table(
        feature_set, [view], sources=[gone], label_sql=labels, start_us=None, end_us=None, limits=limits
    )
    with pytest.raises(FeatureSqlInvalidError, match="Could not convert string 'x'"), joined:
        pass


DEFINITIONS = """
[[source]]
name = "facts"
kind = "parquet"
path = "{path}"
[[view]]
name = "facts"
join_keys = ["a", "b"]
sql = "facts.sql"
[[view.features]]
name = "v"
"""


def test_a_step_of_a_run_leaves_by_the_cluster_what_it_leaves_by_a_child_here(cluster, tmp_path):
    here, there = (errands.hand_over(tmp_path / place, errands.LEARNS) for place in ("here", "there"))
    assert child.perform("train", here, Budget(), connected=False, lost=lambda: False).code == 0
    assert on_ray.perform(cluster.address, "train", there, Budget(), lost=lambda: False).code == 0
    assert finished(there, "train") == finished(here, "train")
    assert finished(there, "train")["search"]["tried"] + finished(there, "train")["search"]["pruned"] == 3
    for name in ("model.onnx", "probe.pb", "said.npz"):
        assert (there / name).read_bytes() == (here / name).read_bytes()
    tight = Budget(wall_time_s=1)
    with pytest.raises(StepFailedError, match="'train' took longer than 1 s"):
        on_ray.perform(cluster.address, "train", there, tight, lost=lambda: False)
    errand = on_ray.Errand("train", there, Budget(), "of another job")
    with pytest.raises(SharedFolderError, match="is not the trainer's"):
        on_ray.run_errand(errand)


@pytest.mark.soak
def test_a_step_whose_ray_worker_is_killed_is_done_again_and_one_that_nobody_waits_for_ends(cluster, tmp_path):
    folder, mark = errands.hand_over(tmp_path / "run", {"script": "own"}), tmp_path / "mark"
    with ThreadPoolExecutor(1) as aside:
        stopped = threading.Event()

        def begin():
            done = aside.submit(on_ray.perform, cluster.address, "train", folder, Budget(), lost=stopped.is_set)
            while not (mark.exists() and mark.read_text()):
                time.sleep(0.05)
            return done, int(mark.read_text())

        done, leader = begin()
        stat = Path(f"/proc/{leader}/stat").read_text().rpartition(")")[2].split()
        os.kill(int(stat[1]), signal.SIGKILL)  # the Ray worker, which has started the child
        assert done.result(120).code == 3
        assert "the second time" in failure(folder, "train")["sentence"]
        assert not Path(f"/proc/{leader}").exists()
        mark.unlink()
        done, leader = begin()
        stopped.set()
        with pytest.raises(ClaimLostError):
            done.result(120)
        until = time.monotonic() + 60
        while Path(f"/proc/{leader}").exists():
            assert time.monotonic() < until, "the cluster goes on with what nobody waits for"
            time.sleep(0.1)
    with pytest.raises(StepFailedError, match=r"'train' was not done: the Ray cluster at 127\.0\.0\.1:1 cannot"):
        on_ray.perform("127.0.0.1:1", "train", folder, Budget(), lost=lambda: False)


@pytest.fixture
def served(launch, cluster, facts, tmp_path):
    """Return the features of a gateway that works by the cluster, with one view."""
    flags = ("--ray", cluster.address, "--ray-shares", str(SHARES), "--ray-rows-min", "0")
    running = launch(tmp_path / "state", *flags)
    with running.control_channel() as channel:
        stub = feature_service_pb2_grpc.FeatureServiceStub(channel)
        texts = {"features.toml": DEFINITIONS.format(path=facts[0].path), "facts.sql": "SELECT * FROM facts"}
        files = [pb.DefinitionFile(path=path, text=text) for path, text in texts.items()]
        stub.ApplyFeatures(pb.ApplyFeaturesRequest(files=files, base_dir=str(tmp_path)))
        yield stub
    running.stop()


def test_a_gateway_works_by_the_cluster_and_refuses_when_it_is_lost(served, cluster, tmp_path, monkeypatch):
    [view] = served.Materialize(pb.MaterializeRequest(until_us=1_500_000_000)).views
    assert view.entities_written == 97 * 5
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "2")
    mark = tmp_path / "begun"

    def kill():
        while not mark.exists():
            time.sleep(0.05)
        cluster.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(CrewLostError, match="lost before all shares were done"):
        RayCrew(cluster.address).run(crews.last, [mark])
    killer.join()
    with pytest.raises(grpc.RpcError) as refused:
        served.Materialize(pb.MaterializeRequest(until_us=1_900_000_000))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert f"the Ray cluster at {cluster.address} cannot be reached" in refused.value.details()


def test_an_address_that_is_none_is_refused_at_the_start(tmp_path):
    for address in ("ray://head:10001", "head", ":6379"):
        with pytest.raises(SettingInvalidError, match=r"--ray .* is not HOST:PORT"):
            read_settings(["--state", str(tmp_path), "--ray", address])


class Elsewhere(Alone):
    """Does shares where nobody sees what it makes."""

    def run(self, work, tasks):
        made = super().run(work, tasks)
        for task in tasks:
            task.share.path.unlink()
        return made


def test_a_share_that_is_not_seen_here_is_refused(facts, tmp_path):
    limits = OfflineLimits(scratch=tmp_path, crew=Elsewhere(shares=SHARES))
    with pytest.raises(SharedFolderError, match="none are here: the state folder must be one folder"):
        table(*facts, limits, marks=False)
