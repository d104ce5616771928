"""A far store that is killed, frozen or slow under load: predictions go on by their sets' policies, and recover."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import partial

import duckdb
import grpc
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from turnout.control import Control
from turnout.features.v1 import feature_service_pb2
from turnout.registry.v1 import registry_service_pb2
from turnout.serving.v1 import prediction_service_pb2 as pb
from turnout.serving.v1 import prediction_service_pb2_grpc

DEFINITIONS = """
[[source]]
name = "rides"
kind = "parquet"
path = "rides.parquet"
[[view]]
name = "driver"
join_keys = ["driver"]
sql = "driver.sql"
ttl = "1000d"
features = [
    { name = "a", default = -1.0 },
    { name = "b", default = -1.0 },
    { name = "c", default = -1.0 },
    { name = "d", default = -1.0 },
]
[[set]]
name = "plain"
features = ["driver.a", "driver.b", "driver.c", "driver.d"]
[[set]]
name = "lenient"
features = ["driver.a", "driver.b", "driver.c", "driver.d"]
stale_up_to = "1h"
[[set]]
name = "strict"
features = ["driver.a", "driver.b", "driver.c", "driver.d"]
refuse = ["unavailable", "missing"]
"""
DRIVERS = 10
SETS = ("plain", "lenient", "strict")
DEADLINE_S = 10.0
PATIENCE_S = 60.0
DELAY_S = 0.5
PRESENT, UNAVAILABLE, STALE_SERVED = pb.VIEW_STATUS_PRESENT, pb.VIEW_STATUS_UNAVAILABLE, pb.VIEW_STATUS_STALE_SERVED
HEALTHY = ("OK", PRESENT, "stored")

# What each set answers while the store does not: its code, its status and its value.
DOWN = {
    "plain": ("OK", UNAVAILABLE, "default"),
    "lenient": ("OK", STALE_SERVED, "stored"),
    "strict": ("UNAVAILABLE", None, ""),
}


@dataclass
class Load:
    """Calls without a pause from some threads for each set, and what they were answered since `turn`."""

    address: str
    threads: int
    answers: defaultdict = field(default_factory=lambda: defaultdict(Counter))
    slowest_s: float = 0.0
    recovered: dict = field(default_factory=dict)

    def __enter__(self):
        self._stop = threading.Event()
        self._running = [
            threading.Thread(target=self._call, args=(name, offset)) for name in SETS for offset in range(self.threads)
        ]
        for thread in self._running:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._running:
            thread.join()

    def turn(self):
        """Begin to count anew."""
        self.answers = defaultdict(Counter)
        self.slowest_s = 0.0
        self.recovered = {}

    def seen(self, name):
        return set(self.answers[name])

    def _call(self, name, offset):
        with grpc.insecure_channel(self.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            number = offset
            while not self._stop.is_set():
                number = (number + 1) % DRIVERS
                began = time.monotonic()
                answer = ask(predictions, name, number)
                now = time.monotonic()
                self.answers[name][answer] += 1
                self.slowest_s = max(self.slowest_s, now - began)
                if answer == HEALTHY:
                    self.recovered.setdefault(name, now)


def ask(predictions, name, number):
    """Return the code, the view's status and the kind of the value of one prediction."""
    request = pb.PredictRequest(model=name, entities={"driver": f"d{number}"})
    try:
        response = predictions.Predict(request, timeout=DEADLINE_S)
    except grpc.RpcError as error:
        return error.code().name, None, ""
    [value] = set(np.frombuffer(response.outputs[0].data, np.float32).tolist())
    kind = {float(number): "stored", -1.0: "default"}.get(value, f"{value} for {number}")
    return "OK", response.feature_status[0].status, kind


def wait_for(check, why):
    give_up = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < give_up, why
        time.sleep(0.01)


@contextlib.contextmanager
def furnished(launch, tmp_path, start_redis, open_relay, onnx_bytes, operate):
    """Give a gateway with a model for each set, its Redis, and the relay between the two."""
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "ride.toml").write_text(DEFINITIONS)
    (folder / "driver.sql").write_text(
        "SELECT driver, moment AS event_time, trips AS a, trips AS b, trips AS c, trips AS d FROM rides"
    )
    rows = f"SELECT 'd' || i AS driver, now()::TIMESTAMP AS moment, i * 1.0 AS trips FROM range({DRIVERS}) t(i)"
    duckdb.execute(f"COPY ({rows}) TO '{folder / 'rides.parquet'}' (FORMAT parquet)")
    (tmp_path / "redis").mkdir()
    redis = start_redis(tmp_path / "redis")
    relay = open_relay(tmp_path / "relay", tmp_path / "redis" / "s")
    gateway = launch(tmp_path / "state", "--online", relay.url)
    with Control(gateway.control_address) as control:
        control.apply_features(folder)
    operator = operate(gateway)
    for name in SETS:
        facts = registry_service_pb2.VersionFacts(feature_set=name)
        operator.publish_file(name, onnx_bytes(1.0), alias="champion", facts=facts)
    operator.wait()
    yield gateway, redis, relay
    assert gateway.stop() == 0
    redis.kill()


def materialize(gateway):
    with Control(gateway.control_address) as control:
        control.features.Materialize(feature_service_pb2.MaterializeRequest(since_us=1))


def outage(gateway, metrics_of, load, name, begin, end):
    """Let the store fail under load and come back, and check what was answered meanwhile."""
    # Each thread has read every driver: what can be remembered is.
    read = 2 * DRIVERS * load.threads
    load.turn()
    wait_for(lambda: all(load.answers[each][HEALTHY] >= read for each in SETS), f"healthy before {name}")
    opened = metrics_of(gateway).value("turnout_online_store_opens_total")
    begin()
    load.turn()
    wait_for(lambda: all(load.answers[each][DOWN[each]] >= 20 for each in SETS), f"{name}: {dict(load.answers)}")
    wait_for(lambda: metrics_of(gateway).value("turnout_online_store_open") == 1, "the metrics tell")
    load.turn()  # what was on its way when it began is over
    time.sleep(0.5)
    down, slowest_s = {each: Counter(load.answers[each]) for each in SETS}, load.slowest_s
    end()
    load.turn()
    began = time.monotonic()
    wait_for(lambda: set(load.recovered) == set(SETS), f"{name}: {dict(load.answers)}")
    recovery_s = max(load.recovered.values()) - began
    scraped = metrics_of(gateway)
    assert scraped.value("turnout_online_store_opens_total") > opened
    assert scraped.value("turnout_online_store_reads_skipped_total") > 0
    wait_for(lambda: metrics_of(gateway).value("turnout_online_store_open") == 0, "the metrics tell")
    for each in SETS:
        assert set(down[each]) <= {DOWN[each]}, (name, each, down[each])  # nothing else: no shed call, no late one
        assert not {code for code, *_ in load.seen(each)} & {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}
    answered = sum(sum(each.values()) for each in down.values())
    print(  # noqa: T201  (what the long form tells)
        f"{name:8} {answered / 0.5:7.0f} answers/s while down, slowest {slowest_s * 1000:6.1f} ms, back after "
        f"{recovery_s * 1000:6.1f} ms"
    )


def fail_in_turn(gateway, redis, relay, metrics_of, *, rounds, threads):
    materialize(gateway)

    def again():
        redis.start()
        materialize(gateway)

    with Load(gateway.data_address, threads) as load:
        for _ in range(rounds):
            freeze = partial(redis.process.send_signal, signal.SIGSTOP)
            outage(gateway, metrics_of, load, "frozen", freeze, partial(redis.process.send_signal, signal.SIGCONT))
            outage(gateway, metrics_of, load, "killed", redis.kill, again)
            slow = partial(setattr, relay, "delay_s")
            outage(gateway, metrics_of, load, "slow", partial(slow, DELAY_S), partial(slow, 0.0))
    failed = metrics_of(gateway).value("turnout_predictions_total", code="INTERNAL")
    assert failed == 0


class Scrape:
    """The metrics of a gateway at one moment."""

    def __init__(self, gateway):
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.http}/metrics", timeout=10) as answer:
            self._families = list(text_string_to_metric_families(answer.read().decode()))

    def value(self, name, **labels):
        wanted = set(labels.items())
        samples = [sample for family in self._families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if wanted <= set(sample.labels.items()))


@pytest.fixture
def metrics_of():
    """Return the function that reads the metrics of a gateway."""
    return Scrape


def test_a_store_that_fails_under_load_costs_what_its_sets_say_and_recovers_by_itself(
    launch, tmp_path, start_redis, open_relay, onnx_bytes, operate, metrics_of
):
    with furnished(launch, tmp_path, start_redis, open_relay, onnx_bytes, operate) as (gateway, redis, relay):
        fail_in_turn(gateway, redis, relay, metrics_of, rounds=1, threads=1)


@pytest.mark.soak
def test_a_store_fails_ten_times_in_each_way_under_more_load(
    launch, tmp_path, start_redis, open_relay, onnx_bytes, operate, metrics_of
):
    with furnished(launch, tmp_path, start_redis, open_relay, onnx_bytes, operate) as (gateway, redis, relay):
        fail_in_turn(gateway, redis, relay, metrics_of, rounds=10, threads=8)
