"""What is measured: the floors and real gateways, each pinned to the server's core."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as pq
from load import PREDICT, Asked, pinned
from model import FEATURES, INPUT, MODEL, batch_request, entity_request, make_rows, streamed, tensor_request

from turnout import resources, tensors
from turnout.control import Control
from turnout.events.v1 import event_service_pb2
from turnout.experiments.v1 import experiment_service_pb2 as experiments_pb
from turnout.features.v1 import feature_service_pb2
from turnout.registry.v1 import registry_service_pb2
from turnout.serving.v1 import prediction_service_pb2 as pb

STREAM_PREDICT = "/turnout.serving.v1.PredictionService/StreamPredict"
BATCH_PREDICT = "/turnout.serving.v1.PredictionService/BatchPredict"
ROOT = Path(__file__).parents[1]
VIEWS = ("alpha", "beta", "gamma")
ENTITIES = 1000
BODIES = 4
CONCURRENCIES = (1, 32, 128)
MANY_CONCURRENCIES = (1, 4)
"""Of batches and of streams, each of which is many predictions in flight."""
BATCH_ROWS = 256
STREAM_MESSAGES = 200
PROBE_ROWS = 128
READY_S_MAX = 60.0
STOP_S_MAX = 30.0
REPORT_INTERVAL_S = 0.2
REPORT_S_MAX = 20.0
"""The workers report their counters every second, or later when the machine is busy."""
_TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True, kw_only=True)
class Target:
    """One thing to measure: where it listens, what it is asked, whose CPU time counts."""

    name: str
    port: int
    pid: int
    bodies: list[bytes]
    gateway: Gateway | None = None
    asked: Asked = field(default_factory=Asked)
    concurrencies: tuple[int, ...] = CONCURRENCIES

    def cpu_us(self) -> float:
        """Return the CPU time that the server has used, user and system, all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_US


class Floor:
    """A floor in a process of its own."""

    def __init__(self, kind: str, model: Path, core: int | None) -> None:
        command = [sys.executable, str(ROOT / "bench" / "floors.py"), kind, str(model)]
        self._process = pinned(command, core, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout is not None
        rows, _ = make_rows(BODIES)
        self.target = Target(
            name=kind,
            port=int(self._process.stdout.readline()),
            pid=self._process.pid,
            bodies=[tensor_request(row) for row in rows],
        )

    def stop(self) -> None:
        self._process.kill()  # a floor keeps nothing
        self._process.wait(STOP_S_MAX)


@dataclass(slots=True)
class Gateway:
    """A real gateway with one worker, three models, features in LMDB, and an experiment that runs."""

    transport: str
    state: Path
    core: int | None
    workers: int = 1
    flags: tuple[str, ...] = ()
    ports: dict[str, int] = field(default_factory=dict)
    worker: int = 0
    answered: int = 0
    process: subprocess.Popen | None = None

    def start(self) -> None:
        self.state.mkdir(parents=True)
        ready = self.state / "ready.json"
        command = [sys.executable, "-m", "gateway", "--state", str(self.state), "--workers", str(self.workers)]
        command += ["--transport", self.transport, "--data-port", "0", "--http-port", "0", "--control-port", "0"]
        # Compaction is the control plane's work and would share the worker's core here.
        command += ["--ready-file", str(ready), "--compact-interval-s", "3600", *self.flags]
        with (self.state / "gateway.log").open("wb") as log:
            self.process = pinned(command, self.core, stdout=log, stderr=log, cwd=ROOT)
        until = time.monotonic() + READY_S_MAX
        while not ready.exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((self.state / "gateway.log").read_text())
            time.sleep(0.05)
        facts = json.loads(ready.read_text())
        self.ports = {name: facts[name] for name in ("data", "http", "control")}
        self.worker = facts["pids"][1]

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOP_S_MAX)

    def furnish(self, model: Path) -> None:
        """Publish the models, fill the online store, start the experiment, and wait until the worker serves it all."""
        write_definitions(self.state / "definitions")
        with Control(f"127.0.0.1:{self.ports['control']}") as control:
            control.apply_features(self.state / "definitions")
            views = [resources.view_name(view) for view in VIEWS]
            control.features.Materialize(feature_service_pb2.MaterializeRequest(feature_views=views))
            with_features = registry_service_pb2.VersionFacts(feature_set=MODEL)
            probe = probe_of(
                model
            )  # with it a worker can prove that stacking rows changes nothing, as the trainer's does
            for name, facts in ((MODEL, None), (f"{MODEL}-features", with_features)):
                control.publish_version(name, model, facts=facts, probe=probe, alias="champion")
            for _ in range(2):
                control.publish_version(
                    f"{MODEL}-experiment", model, facts=with_features, probe=probe, alias="champion"
                )
            control.experiments.CreateExperiment(_experiment())
            control.experiments.StartExperiment(experiments_pb.StartExperimentRequest(name="experiments/bench"))
            control.wait_for_revision()

    def targets(self) -> list[Target]:
        """Return what is asked of it: the same model, given its tensor, reading its features, in an experiment.

        The last is asked as streams and batches too.
        """
        rows, _ = make_rows(BODIES)
        entities = [{f"{view}_id": str(17 * place) for view in VIEWS} for place in range(BODIES)]
        asked = {
            "tensors": [tensor_request(row) for row in rows],
            "features": [_of(f"{MODEL}-features", entity_request(one)) for one in entities],
            "experiment": [
                _of(f"{MODEL}-experiment", entity_request(one, unit=f"unit-{place}"))
                for place, one in enumerate(entities)
            ],
        }
        single = Asked()
        stream = Asked(path=STREAM_PREDICT, messages=STREAM_MESSAGES, predictions=STREAM_MESSAGES)
        batch = Asked(path=BATCH_PREDICT, predictions=BATCH_ROWS)
        shapes = [(what, bodies, single, CONCURRENCIES) for what, bodies in asked.items()]
        shapes.append(("stream", [streamed(body) for body in asked["experiment"]], stream, MANY_CONCURRENCIES))
        shapes.append(("batch", _batches(), batch, MANY_CONCURRENCIES))
        return [
            Target(
                name=f"turnout-{self.transport}-{what}",
                port=self.ports["data"],
                pid=self.worker,
                bodies=bodies,
                gateway=self,
                asked=shape,
                concurrencies=concurrencies,
            )
            for what, bodies, shape, concurrencies in shapes
        ]

    def settled(self, ok: float) -> dict[str, float]:
        """Return the counters when they show that many answers that were OK, or the last ones after a long wait."""
        until = time.monotonic() + REPORT_S_MAX
        while (counters := self.counters())["ok"] < ok and time.monotonic() < until:
            time.sleep(REPORT_INTERVAL_S)
        return counters

    def metrics(self) -> dict[str, float]:
        """Return what the gateway says of itself, by name and labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http']}/metrics", timeout=10) as answer:
            lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def counters(self) -> dict[str, float]:
        """Return waves, calls in waves, and answers that were OK, as the worker reported them last."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http']}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        counters = {"waves": 0.0, "calls": 0.0, "ok": 0.0}
        for line in lines:
            name, _, value = line.rpartition(" ")
            if name == "turnout_wave_calls_count":
                counters["waves"] += float(value)
            elif name == "turnout_wave_calls_sum":
                counters["calls"] += float(value)
            elif name.startswith("turnout_predictions_total") and 'reason=""' in name:
                counters["ok"] += float(value)
        return counters

    def journalled(self) -> int:
        """Return how many predictions the journal holds."""
        with Control(f"127.0.0.1:{self.ports['control']}") as control:
            return control.events.CountEvents(event_service_pb2.CountEventsRequest()).predictions


def answers_of(target: Target) -> list[bytes]:
    """Return the answers to the bodies, under fixed identities and without the ages, which tell the time of asking."""
    answers = []
    with grpc.insecure_channel(f"127.0.0.1:{target.port}") as channel:
        predict = channel.unary_unary(PREDICT)
        for place, body in enumerate(target.bodies):
            request = pb.PredictRequest.FromString(body)
            request.request_id = f"same-on-both-{target.name.rpartition('-')[2]}-{place}"
            answer = predict(request.SerializeToString(), timeout=30)
            message = pb.PredictResponse.FromString(answer)
            if any(reading.HasField("age_ms") for reading in message.feature_status):
                for reading in message.feature_status:
                    reading.ClearField("age_ms")
                answer = message.SerializeToString()
            answers.append(answer)
    return answers


def probe_of(model: Path) -> registry_service_pb2.Probe:
    """Return rows with the outputs that the graph gives for them."""
    rows, _ = make_rows(PROBE_ROWS)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    outputs = dict(zip(names, session.run(names, {INPUT: rows}), strict=True))
    return registry_service_pb2.Probe(inputs=tensors.to_tensors({INPUT: rows}), outputs=tensors.to_tensors(outputs))


def write_definitions(folder: Path) -> None:
    """Write three views of ten features each, and the set of all thirty."""
    folder.mkdir()
    random = np.random.default_rng(11)
    each = FEATURES // len(VIEWS)
    text, names = [], []
    for view in VIEWS:
        columns = {f"{view}_id": [str(one) for one in range(ENTITIES)]}
        columns["event_time"] = pa.array([1_700_000_000_000_000] * ENTITIES, pa.timestamp("us"))
        columns |= {f"f{place}": random.normal(size=ENTITIES) for place in range(each)}
        pq.write_table(pa.table(columns), folder / f"{view}.parquet")
        (folder / f"{view}.sql").write_text(f"SELECT * FROM {view}_source\n")
        text.append(f'[[source]]\nname = "{view}_source"\nkind = "parquet"\npath = "{view}.parquet"\n')
        text.append(f'[[view]]\nname = "{view}"\njoin_keys = ["{view}_id"]\nsql = "{view}.sql"\n')
        for place in range(each):
            text.append(f'[[view.features]]\nname = "f{place}"\ndefault = 0.0\n')
            names.append(f'"{view}.f{place}"')
    text.append(f'[[set]]\nname = "{MODEL}"\nfeatures = [{", ".join(names)}]\n')
    (folder / "bench.toml").write_text("\n".join(text))


def _batches() -> list[bytes]:
    """Return batches of units in the experiment, each row with entities of its own."""
    batches = []
    for place in range(BODIES):
        rows = range(place * BATCH_ROWS, (place + 1) * BATCH_ROWS)
        entities = {f"{view}_id": [str(row % ENTITIES) for row in rows] for view in VIEWS}
        batches.append(batch_request(f"{MODEL}-experiment", entities, [f"unit-{row}" for row in rows]))
    return batches


def _of(model: str, body: bytes) -> bytes:
    request = pb.PredictRequest.FromString(body)
    request.model = model
    return request.SerializeToString()


def _experiment() -> experiments_pb.CreateExperimentRequest:
    variants = [
        experiments_pb.Variant(variant="control", version=1, share=0.5, control=True),
        experiments_pb.Variant(variant="treatment", version=2, share=0.5),
    ]
    metric = experiments_pb.Metric(
        metric="late",
        kind=experiments_pb.METRIC_KIND_MEAN,
        outcome="late",
        direction=experiments_pb.DIRECTION_DECREASE,
        role=experiments_pb.METRIC_ROLE_SUCCESS,
    )
    return experiments_pb.CreateExperimentRequest(
        experiment_id="bench",
        experiment=experiments_pb.Experiment(
            model=f"models/{MODEL}-experiment", coverage=1.0, variants=variants, metrics=[metric]
        ),
    )
