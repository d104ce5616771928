"""What becomes of those within the bound when a flood comes?

`python bench/flood.py [--transport native] [--concurrency 2000] [--seconds 6]` starts a gateway with one worker, and a
few polite callers, one call at a time on a connection each. It lets h2load (Debian: nghttp2-client) keep first as many
calls in flight as the bound allows, then many more, then none, and prints what the polite callers saw of each: how many
of their calls were accepted and how many refused, how long either took, and the worker's memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import psutil
from forest import forest
from load import PREDICT, pinned
from model import MODEL, make_rows, tensor_request
from rig import Gateway

from turnout.control import Control

CALLERS = 4
CALLS_MAX = 256
FLOOD_CONNECTIONS = 20
MODEL_BYTES = 100_000
LOOK_S = 0.05
_WARM_UP_S = 1.0


@dataclass(slots=True)
class Seen:
    """What the polite callers saw of one phase: the latencies of the accepted and of the refused calls, in seconds."""

    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    resident_mb_max: float = 0.0

    def summary(self) -> dict[str, object]:
        return {
            "accepted": len(self.accepted),
            "refused": len(self.refused),
            "failed_otherwise": len(self.others),
            "otherwise": sorted(set(self.others))[:3],
            "accepted_p50_ms": quantile_ms(self.accepted, 50),
            "accepted_p99_ms": quantile_ms(self.accepted, 99),
            "refused_p50_ms": quantile_ms(self.refused, 50),
            "refused_p99_ms": quantile_ms(self.refused, 99),
            "resident_mb_max": self.resident_mb_max,
        }


def quantile_ms(latencies: list[float], percent: float) -> float:
    return float(np.percentile(latencies, percent)) * 1e3 if latencies else float("nan")


class Callers:
    """The polite ones, and who watches the worker's memory."""

    def __init__(self, gateway: Gateway, body: bytes) -> None:
        self._address = f"127.0.0.1:{gateway.ports['data']}"
        self._body = body
        self._process = psutil.Process(gateway.worker)
        self._seen = Seen()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]
        self._threads.append(threading.Thread(target=self._watch))
        for thread in self._threads:
            thread.start()

    def begin(self) -> Seen:
        """Return where everything is noted from now on."""
        self._seen = Seen()
        return self._seen

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(LOOK_S):
            resident_mb = self._process.memory_info().rss / 1e6
            self._seen.resident_mb_max = max(self._seen.resident_mb_max, resident_mb)

    def _call(self) -> None:
        with grpc.insecure_channel(self._address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            predict = channel.unary_unary(PREDICT)
            while not self._stop.is_set():
                began = time.perf_counter()
                seen = self._seen
                try:
                    predict(self._body, timeout=30)
                except grpc.RpcError as error:
                    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                        seen.refused.append(time.perf_counter() - began)
                    else:
                        seen.others.append(f"{error.code()}: {error.details()}")
                else:
                    seen.accepted.append(time.perf_counter() - began)
                time.sleep(0.001)


@contextlib.contextmanager
def flood(gateway: Gateway, body: Path, *, connections: int, concurrency: int, core: int) -> object:
    """Keep so many calls in flight for the time of the body."""
    command = ["h2load", "-D", "600", "-c", str(connections), "-m", str(concurrency // connections), "-d", str(body)]
    command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    command += [f"http://127.0.0.1:{gateway.ports['data']}{PREDICT}"]
    process = pinned(command, core, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(_WARM_UP_S)
        yield
        if process.poll() is not None:
            raise RuntimeError("h2load ended early")
    finally:
        process.kill()
        process.wait()


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, dict[str, object]]:
    """Run the phases and return what was seen of each."""
    model, file = folder / "model.onnx", folder / "body"
    model.write_bytes(forest(MODEL_BYTES, seed=1))
    rows, _ = make_rows(1)
    body = tensor_request(rows[0])
    file.write_bytes(b"\x00" + struct.pack(">I", len(body)) + body)
    gateway = Gateway(
        transport=arguments.transport, state=folder / "state", core=0, flags=("--calls-max", str(CALLS_MAX))
    )
    gateway.start()
    try:
        with Control(f"127.0.0.1:{gateway.ports['control']}") as control:
            control.publish_version(MODEL, model, alias="champion")
            control.wait_for_revision()
        callers = Callers(gateway, body)
        phases: dict[str, Seen] = {}

        def phase(name: str) -> None:
            phases[name] = callers.begin()
            time.sleep(arguments.seconds)

        phase("idle")
        within = CALLS_MAX - 2 * CALLERS
        callers.begin()
        with flood(gateway, file, connections=CALLERS, concurrency=within, core=1):
            phase("at the bound")
            callers.begin()
        with flood(gateway, file, connections=FLOOD_CONNECTIONS, concurrency=arguments.concurrency, core=1):
            phase("flood")
            callers.begin()
        phase("after")
        callers.stop()
        return {name: seen.summary() for name, seen in phases.items()} | {
            "counted": {
                name: value for name, value in gateway.metrics().items() if name.startswith("turnout_calls_shed")
            }
        }
    finally:
        gateway.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description="Flood a gateway and see what becomes of those within the bound.")
    parser.add_argument("--transport", default="native", choices=["native", "grpcio"])
    parser.add_argument("--concurrency", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=6.0)
    arguments = parser.parse_args()
    if shutil.which("h2load") is None:
        print("h2load is needed (Debian: nghttp2-client)", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(arguments, Path(folder)), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
