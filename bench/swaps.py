"""Does anybody notice a promotion?

`python bench/swaps.py [--promotions 200] [--megabytes 1] [--rate 1000] [--resident-previous 1]` starts a gateway of two
workers, promotes three versions in turn under a steady load of 8 connections (open loop), and lets
one load in five fail: the artifact is away when the workers look, and back when they try again. It prints how many
requests failed, the 99th percentile within the swaps and outside of them, and the workers' memory before and after.

A swap's window begins with the promotion's call and ends when every worker has loaded what is wanted and freed what is
not. Between two windows there are as many milliseconds without one as `--pause-ms` says.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import psutil
from forest import forest
from load import WrongAnswerError
from model import INPUT, MODEL, make_rows, tensor_request
from rig import Gateway

from turnout import tensors
from turnout.admin.v1 import admin_service_pb2
from turnout.control import Control
from turnout.load.crew import Crew
from turnout.load.plan import Plan
from turnout.registry.v1 import registry_service_pb2

VERSIONS = 3
CONNECTIONS = 8
WORKERS = 2
FAILING_SHARE = 0.2
SETTLED_S_MAX = 60.0
ANSWERED_S_MAX = 60.0
MEMORY_SETTLES_S = 3.0
NICENESS = 19
LOOK_S = 0.02
_READY = admin_service_pb2.LOAD_STATE_READY
_FAILED = admin_service_pb2.LOAD_STATE_FAILED


@dataclass(frozen=True, slots=True)
class Swap:
    """One promotion: when it was asked for and done, in microseconds of the epoch, and whether loads failed first."""

    began_us: float
    ended_us: float
    failed_first: bool


class Swaps:
    """A gateway, its three versions, and the promotions among them."""

    def __init__(
        self, gateway: Gateway, control: Control, paths: list[Path], *, seed: int, resident_previous: int
    ) -> None:
        self._resident_previous = resident_previous
        self._gateway = gateway
        self._control = control
        self._random = random.Random(seed)  # noqa: S311  (chooses faults)
        self._champion = 1
        self._recent = [1]
        rows, _ = make_rows(8)
        self._artifacts = []
        for place, path in enumerate(paths):
            outputs = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {INPUT: rows})
            probe = registry_service_pb2.Probe(
                inputs=tensors.to_tensors({INPUT: rows}), outputs=tensors.to_tensors({"score": outputs[0]})
            )
            alias = "champion" if place == 0 else ""
            version = control.publish_version(MODEL, path, probe=probe, alias=alias).version
            sha256 = version.artifact_sha256
            self._artifacts.append(gateway.state / "artifacts" / "sha256" / sha256[:2] / sha256)
        control.wait_for_revision()

    def next(self, *, may_fail: bool = True) -> Swap:
        """Promote the next version and return when every worker has nothing left to do for it."""
        self._champion = self._champion % VERSIONS + 1
        is_there = self._champion in self._recent
        fails = may_fail and not is_there and self._random.random() < FAILING_SHARE
        began = time.time()
        with self._away(self._artifacts[self._champion - 1]) if fails else contextlib.nullcontext():
            self._control.promote(MODEL, self._champion)
            if fails:
                self._until(lambda versions: versions.get(self._champion) == _FAILED)
        others = [version for version in self._recent if version != self._champion]
        self._recent = [self._champion, *others][: self._resident_previous + 1]
        wanted = set(self._recent)
        self._until(lambda versions: set(versions) == wanted and set(versions.values()) == {_READY})
        return Swap(began * 1e6, time.time() * 1e6, fails)

    def resident_bytes(self) -> int:
        """Return the memory of the workers."""
        workers = self._status().workers
        return sum(psutil.Process(worker.pid).memory_info().rss for worker in workers)

    def _status(self) -> admin_service_pb2.GetServingStatusResponse:
        return self._control.admin.GetServingStatus(admin_service_pb2.GetServingStatusRequest())

    def _until(self, condition: object) -> None:
        until = time.monotonic() + SETTLED_S_MAX
        while True:
            answer = self._status()
            found = [{one.version: one.state for one in worker.versions} for worker in answer.workers]
            if all(worker.revision == answer.revision for worker in answer.workers) and all(map(condition, found)):
                return
            if time.monotonic() > until:
                raise TimeoutError(str(answer))
            time.sleep(LOOK_S)

    @contextlib.contextmanager
    def _away(self, artifact: Path) -> object:
        aside = artifact.with_suffix(".away")
        artifact.rename(aside)
        try:
            yield
        finally:
            aside.rename(artifact)


class Load:
    """A steady load on all connections; each call counts from when it was due."""

    def __init__(self, port: int, *, rate: int, seconds: float) -> None:
        rows, _ = make_rows(1)
        plan = Plan(
            address=f"127.0.0.1:{port}",
            bodies="",
            rate_per_s=rate,
            seconds=seconds,
            connections=CONNECTIONS,
            timeout_s=ANSWERED_S_MAX,
            spans=True,
        )
        self._crew = Crew(plan, [tensor_request(rows[0])])
        self._crew.begin()

    @property
    def is_running(self) -> bool:
        return self._crew.is_running

    def spans(self) -> np.ndarray:
        """Return begin and latency of each call in microseconds when it is over, or raise WrongAnswerError."""
        with self._crew:
            tally = self._crew.tally()
        if tally.failed:
            raise WrongAnswerError(f"not all calls were answered: {dict(tally.statuses)}")
        return np.array(tally.spans, dtype=np.float64)


def p99_ms(spans: np.ndarray) -> float:
    return float(np.percentile(spans[:, 1], 99)) / 1e3 if len(spans) else float("nan")


def within(spans: np.ndarray, swaps: list[Swap]) -> np.ndarray:
    """Return for each call whether any part of it was within a swap's window."""
    found = np.zeros(len(spans), bool)
    for swap in swaps:
        found |= (spans[:, 0] <= swap.ended_us) & (spans[:, 0] + spans[:, 1] >= swap.began_us)
    return found


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Run it all and return the figures."""
    paths = []
    for number in range(VERSIONS):
        paths.append(folder / f"v{number + 1}.onnx")
        paths[-1].write_bytes(forest(round(arguments.megabytes * 1e6), seed=number))
    flags = ("--resident-previous", str(arguments.resident_previous))
    gateway = Gateway(transport=arguments.transport, state=folder / "state", core=None, workers=WORKERS, flags=flags)
    gateway.start()
    try:
        with Control(f"127.0.0.1:{gateway.ports['control']}") as control:
            swaps = Swaps(gateway, control, paths, seed=arguments.seed, resident_previous=arguments.resident_previous)
            for _ in range(2 * VERSIONS):
                swaps.next(may_fail=False)
            time.sleep(MEMORY_SETTLES_S)
            slot_s = arguments.slot_ms / 1e3
            load = Load(gateway.ports["data"], rate=arguments.rate, seconds=arguments.promotions * slot_s)
            os.nice(NICENESS)  # whoever promotes is elsewhere: here its work must not be taken for the gateway's
            time.sleep(1.0)
            before = swaps.resident_bytes()
            done = []
            while len(done) < arguments.promotions and load.is_running:
                done.append(swaps.next())
                time.sleep(arguments.pause_ms / 1e3)
            under_load = len(done)
            spans = load.spans()
            time.sleep(MEMORY_SETTLES_S)
            after = swaps.resident_bytes()
            figures = control_figures(gateway)
    finally:
        gateway.stop()
    inside = within(spans, done)
    plain = within(spans, [swap for swap in done if not swap.failed_first])
    return {
        "transport": arguments.transport,
        "megabytes": arguments.megabytes,
        "promotions": under_load,
        "failed_first": sum(swap.failed_first for swap in done),
        "requests": len(spans),
        "requests_failed": 0,
        "requests_within": int(inside.sum()),
        "window_ms_median": float(np.median([swap.ended_us - swap.began_us for swap in done])) / 1e3,
        "p99_ms_within": p99_ms(spans[inside]),
        "p99_ms_within_without_failures": p99_ms(spans[plain]),
        "p99_ms_outside": p99_ms(spans[~inside]),
        "p99_ratio": p99_ms(spans[inside]) / p99_ms(spans[~inside]),
        "longest_ms_within": float(spans[inside, 1].max()) / 1e3,
        "longest_ms_outside": float(spans[~inside, 1].max()) / 1e3,
        "resident_mb_before": before / 1e6,
        "resident_mb_after": after / 1e6,
        "memory_ratio": after / before,
        **figures,
    }


def control_figures(gateway: Gateway) -> dict[str, float]:
    """Return what the gateway itself counted of its loads and swaps."""
    return {name: value for name, value in gateway.metrics().items() if name.startswith("turnout_version_free")}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure what a promotion costs those who ask meanwhile.")
    parser.add_argument("--transport", default="native", choices=["native", "grpcio"])
    parser.add_argument("--promotions", type=int, default=200)
    parser.add_argument("--megabytes", type=float, default=1.0)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--pause-ms", type=float, default=150.0)
    parser.add_argument(
        "--slot-ms", type=float, default=400.0, help="what one promotion with its pause is thought to take"
    )
    parser.add_argument(
        "--resident-previous", type=int, default=1, help="2: every version stays, and nothing is loaded"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(arguments, Path(folder))
    for name, value in figures.items():
        print(f"{name:32} {value:.2f}" if isinstance(value, float) else f"{name:32} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
