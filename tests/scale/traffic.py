"""What a rig is asked while its pieces fail: predictions with outcomes, and changes; each with what was answered."""

from __future__ import annotations

import contextlib
import http.server
import json
import random
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb
import grpc
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from turnout import Client, errors
from turnout.control import Control
from turnout.experiments.v1 import experiment_service_pb2 as epb
from turnout.experiments.v1 import ramp_pb2
from turnout.features.v1 import feature_service_pb2 as fpb
from turnout.registry.v1 import registry_service_pb2 as rpb
from turnout.registry.v1 import webhook_service_pb2 as wpb

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from rig import Rig

MODEL, SPLIT, RAMPED, DECOY = "m", "s", "r", 4
RAMP_STEPS = 50
DRIVERS = 20
DEFINITIONS = """
[[source]]
name = "rides"
kind = "parquet"
path = "rides.parquet"

[[view]]
name = "driver"
join_keys = ["driver"]
sql = "driver.sql"
refresh = "3s"
[[view.features]]
name = "trips"
default = -1.0

[[set]]
name = "ride"
features = ["driver.trips", "request.hour"]
"""


def furnish(rig: Rig, folder: Path, *, step_s: float = 1.0) -> None:
    """Walk the loop's first half: features, versions, a champion, an experiment, a ramp; and a version nobody promotes.

    The ramp has fifty steps, each of which lasts so long at the least.
    """
    folder.mkdir()
    (folder / "ride.toml").write_text(DEFINITIONS)
    (folder / "driver.sql").write_text("SELECT driver, moment AS event_time, trips FROM rides")
    rows = f"SELECT 'd' || i AS driver, TIMESTAMP '2024-01-01' AS moment, i * 1.0 AS trips FROM range({DRIVERS}) t(i)"
    duckdb.execute(f"COPY ({rows}) TO '{folder / 'rides.parquet'}' (FORMAT parquet)")
    with Control(rig.control_address(rig.names[0])) as control:
        control.apply_features(folder)
        control.features.Materialize(fpb.MaterializeRequest())
        for model, versions in ((MODEL, DECOY), (SPLIT, 2), (RAMPED, 2)):
            for version in range(1, versions + 1):
                path = folder / f"{model}{version}.onnx"
                path.write_bytes(scaling_model(float(version)))
                facts = rpb.VersionFacts(feature_set="ride")
                control.publish_version(model, path, facts=facts, alias="" if version > 1 else "champion")
        start_experiment(control, "split", SPLIT)
        step_us = int(step_s * 1e6)
        shares = [place / (2 * RAMP_STEPS) for place in range(1, RAMP_STEPS + 1)]
        steps = [ramp_pb2.RampStep(share=share, minimum_time_us=step_us, minimum_units=0) for share in shares]
        errors_only = [ramp_pb2.RampGuardrail(kind=ramp_pb2.RAMP_GUARDRAIL_KIND_ERROR_RATE)]
        start_experiment(control, "ramp", RAMPED, ramp_pb2.Ramp(steps=steps, guardrails=errors_only))
    for name in rig.names:
        with Control(rig.control_address(name)) as control:
            control.wait_for_revision()


def start_experiment(control: Control, name: str, model: str, ramp: ramp_pb2.Ramp | None = None) -> None:
    variants = [
        epb.Variant(variant="control", version=1, share=0.5, control=True),
        epb.Variant(variant="treatment", version=2, share=0.5),
    ]
    kind, direction = epb.METRIC_KIND_MEAN, epb.DIRECTION_INCREASE
    metric = epb.Metric(metric="late", kind=kind, outcome="late", direction=direction, role=epb.METRIC_ROLE_SUCCESS)
    experiment = epb.Experiment(model=f"models/{model}", variants=variants, coverage=1.0, metrics=[metric], ramp=ramp)
    control.experiments.CreateExperiment(epb.CreateExperimentRequest(experiment_id=name, experiment=experiment))
    control.experiments.StartExperiment(epb.StartExperimentRequest(name=f"experiments/{name}"))


def scaling_model(scale: float) -> bytes:
    """Return the bytes of a graph whose output is its input of two columns times a number."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "scale"], ["score"])],
        "scaling",
        [value("x", TensorProto.FLOAT, [None, 2])],
        [value("score", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(np.array([scale], np.float32), "scale")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


@dataclass(frozen=True, slots=True)
class Answer:
    """One answered prediction; times are on the monotonic clock."""

    request_id: str
    model: str
    version: int
    scale: float
    asked: float
    answered: float


@dataclass(slots=True)
class Change:
    """One change that was asked for: what names it in the audit, and when it was asked for and acknowledged."""

    kind: str
    key: str
    asked: float
    version: int = 0
    answered: float = float("inf")
    revision: int = 0


class Receiver:
    """A webhook's receiver, which counts how often it is told of each revision."""

    def __init__(self, host: str) -> None:
        self.told: Counter[int] = Counter()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                event = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.told[event["data"]["revision"]] += 1
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((host, 0), Handler)
        self._url = f"http://{host}:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def register(self, control: Control) -> None:
        """Be told of what happens to the model's aliases."""
        hook = wpb.Webhook(name="webhooks/hook", url=self._url, event_kinds=["alias.*"], models=[f"models/{MODEL}"])
        control.webhooks.CreateWebhook(wpb.CreateWebhookRequest(webhook=hook))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass(slots=True)
class Traffic:
    """Predictions and outcomes from round-robin clients, and changes through one gateway after another."""

    rig: Rig
    seed: int
    rate_per_s: float = 60.0
    threads: int = 3
    answers: list[Answer] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    refused_outcomes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    receiver: Receiver = field(init=False)
    _stop: threading.Event = field(default_factory=threading.Event)
    _running: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.receiver = Receiver(self.rig.network.host("client"))
        with Control(self.rig.control_address(self.rig.names[0])) as control:
            self.receiver.register(control)
        self._running = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.threads)]
        self._running.append(threading.Thread(target=self._change))
        for thread in self._running:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask no more, and return when what was asked is answered."""
        self._stop.set()
        for thread in self._running:
            thread.join()

    def wait_for(self, answers: int, timeout_s: float = 60.0) -> None:
        """Return when so many more answers have come."""
        goal, until = len(self.answers) + answers, time.monotonic() + timeout_s
        while len(self.answers) < goal:
            assert time.monotonic() < until, self.failures[:3]
            time.sleep(0.01)

    def _ask(self, number: int) -> None:
        pause_s = self.threads / self.rate_per_s
        addresses = [self.rig.data_address(name) for name in self.rig.names]
        chance = random.Random(self.seed * 100 + number)
        with Client(addresses, timeout_s=15.0, attempts_max=5) as client:
            due = time.monotonic()
            while not self._stop.is_set():
                self._predict(client, chance)
                due = max(due + pause_s, time.monotonic() - 1)
                self._stop.wait(max(0.0, due - time.monotonic()))

    def _predict(self, client: Client, chance: random.Random) -> None:
        model, request_id, asked = chance.choice((MODEL, SPLIT, RAMPED)), str(uuid.uuid4()), time.monotonic()
        try:
            answer = client.predict(
                model,
                entities={"driver": f"d{chance.randrange(DRIVERS)}"},
                features={"hour": 7.0},
                unit_id=uuid.uuid4().hex,
                request_id=request_id,
            )
        except errors.TurnoutError as error:
            self.failures.append(f"{model} after {time.monotonic() - asked:.1f} s: {error!r}")
            return
        scale = float(answer.outputs["score"].ravel()[1]) / 7.0
        self.answers.append(Answer(request_id, model, answer.version, scale, asked, time.monotonic()))
        try:
            client.record_outcome("late", 1.0, request_id=request_id)
        except errors.TurnoutError as error:
            self.refused_outcomes.append(repr(error))
        else:
            self.recorded.append(request_id)

    def _change(self) -> None:
        chance, number = random.Random(self.seed), 0
        controls = [Control(self.rig.control_address(name)) for name in self.rig.names]
        while not self._stop.wait(0.5):
            number += 1
            kind = chance.choices(("promote", "split", "brief"), (3, 1, 1))[0]
            change = Change(kind, f"{kind}-{number}", time.monotonic(), version=chance.randrange(1, DECOY))
            self.changes.append(change)
            with contextlib.suppress(errors.TurnoutError, grpc.RpcError):
                change.revision = self._make(chance.choice(controls), change, number)
                change.answered = time.monotonic()
        for control in controls:
            control.close()

    def _make(self, control: Control, change: Change, number: int) -> int:
        if change.kind == "promote":
            name = f"models/{MODEL}/versions/{change.version}"
            request = rpb.PromoteVersionRequest(name=name, reason=change.key)
            return control.registry.PromoteVersion(request, timeout=10).revision
        if change.kind == "split":
            share = round(0.2 + number / 10_000, 6)
            change.key = repr(share)
            request = epb.SetTrafficSplitRequest(
                name="experiments/split", shares={"control": share, "treatment": 1 - share}
            )
            return control.experiments.SetTrafficSplit(request, timeout=10).revision
        request = rpb.SetAliasRequest(
            name=f"models/{MODEL}/versions/{change.version}",
            alias=change.key,
            reason=change.key,
            expire_time_us=time.time_ns() // 1000 + 1_500_000,
        )
        return control.registry.SetAlias(request, timeout=10).revision
