"""Measure ModelInfer on other servers, each in an environment of its own, under the load that Turnout is given.

`python bench/peers/run.py [--json FILE] [--seconds S] [--rounds N] [--only NAME …]` (or `make bench-peers ARGS=…`).
Each peer is installed from PyPI into a virtual environment in the cache folder, never into the project. The model, the
bodies, the load and the cores are those of `bench/run.py`: the server's processes on the first core, the load on the
last. The first answers are compared with ONNX Runtime's own, the lengths of all others with the first ones'.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import grpc
import numpy as np
import onnxruntime
import psutil
from load import Asked, WrongAnswerError, generator, pinned, press
from model import FEATURES, INPUT, MODEL, TREES, make_rows, write_model
from rig import BODIES, Gateway

from gateway.inference import grpc_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
CONCURRENCIES = (1, 32)
READY_S_MAX = 120.0
STOP_S_MAX = 20.0
HERE = Path(__file__).resolve().parent
PEERS = {
    "mlserver": ("mlserver==1.7.1", "onnxruntime==1.32.0"),
    "kserve": ("kserve==0.21.0", "onnxruntime==1.32.0"),
    "pytriton": ("nvidia-pytriton==0.7.0", "onnxruntime==1.32.0"),
}
TURNOUT = ("turnout-native", "turnout-grpcio")
TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Server:
    """A server that stands ready: its name, its port, and the process that it descends from."""

    name: str
    port: int
    pid: int

    def cpu_us(self) -> float:
        """Return the CPU time of all its processes, user and system."""
        root = psutil.Process(self.pid)
        return sum(sum(each.cpu_times()[:2]) for each in (root, *root.children(recursive=True))) * 1e6


def environment(peer: str, cache: Path) -> Path:
    """Return the Python of a peer's environment, which is made at the first use."""
    folder = cache / peer
    python = folder / "bin" / "python"
    wanted = "\n".join(PEERS[peer])
    mark = folder / "installed"
    # Triton's Python backend has an early Python 3.11 inside, which later 3.11s' standard library does not fit.
    base = (shutil.which("python3", path=os.defpath) or sys.executable) if peer == "pytriton" else sys.executable
    if not mark.exists() or mark.read_text() != wanted:
        print(f"installing {' '.join(PEERS[peer])} into {folder}", file=sys.stderr)
        subprocess.run([base, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEERS[peer]], check=True)
        mark.write_text(wanted)
    return python


def requests() -> list[bytes]:
    """Return the bodies: one row each, as raw contents."""
    rows, _ = make_rows(BODIES)
    tensor = pb.ModelInferRequest.InferInputTensor(name=INPUT, datatype="FP32", shape=[1, FEATURES])
    return [
        pb.ModelInferRequest(
            model_name=MODEL, inputs=[tensor], raw_input_contents=[row.astype("<f4").tobytes()]
        ).SerializeToString()
        for row in rows
    ]


def probabilities_of(answer: bytes) -> np.ndarray:
    """Return the float output of an answer, raw or typed."""
    response = pb.ModelInferResponse.FromString(answer)
    for place, output in enumerate(response.outputs):
        if output.datatype == "FP32":
            raw = response.raw_output_contents
            return np.frombuffer(raw[place], "<f4") if raw else np.array(output.contents.fp32_contents, np.float32)
    raise WrongAnswerError("the answer has no FP32 output")


def check(server: Server, model: Path) -> None:
    """Raise WrongAnswerError unless the server gives the outputs that ONNX Runtime gives."""
    rows, _ = make_rows(BODIES)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    expected = next(array for array in session.run(None, {INPUT: rows}) if array.dtype == np.float32)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        infer = channel.unary_unary(MODEL_INFER)
        for body, row in zip(requests(), expected, strict=True):
            if np.abs(probabilities_of(infer(body, timeout=30)) - row).max() > TOLERANCE:
                raise WrongAnswerError(f"{server.name} answers something else than ONNX Runtime")


@contextlib.contextmanager
def peer_server(peer: str, model: Path, *, folder: Path, cache: Path, core: int) -> Iterator[Server]:
    """Start a peer and wait until it answers; stop it at the end."""
    command = [str(environment(peer, cache)), str(HERE / f"serve_{peer}.py"), str(model), str(port := free_port())]
    log = folder / f"{peer}.log"
    with log.open("wb") as out:
        process = pinned(command, core, stdout=out, stderr=out, cwd=folder, start_new_session=True)
    server = Server(peer, port, process.pid)
    try:
        until = time.monotonic() + READY_S_MAX
        while not answers(server):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{peer} did not start:\n{log.read_text()[-4000:]}")
            time.sleep(0.2)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S_MAX)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def answers(server: Server) -> bool:
    """Return whether a server answers yet."""
    with grpc.insecure_channel(f"127.0.0.1:{server.port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            channel.unary_unary(MODEL_INFER)(requests()[0], timeout=5)
        except grpc.RpcError:
            return False
    return True


def free_port() -> int:
    """Return a port with two free ones behind it, for what a peer opens besides."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(socket.socket())
        first.bind(("127.0.0.1", 0))
        port = int(first.getsockname()[1])
        for place in (1, 2):
            stack.enter_context(socket.socket()).bind(("127.0.0.1", port + place))
        return port


@contextlib.contextmanager
def turnout_server(name: str, model: Path, *, folder: Path, core: int) -> Iterator[Server]:
    """Start a gateway of one worker with the model; stop it at the end."""
    gateway = Gateway(name.partition("-")[2], folder / name, core)
    gateway.start()
    try:
        gateway.furnish(model)
        yield Server(name, gateway.ports["data"], gateway.worker)
    finally:
        gateway.stop()


def measure(server: Server, *, concurrency: int, seconds: float, core: int) -> dict[str, float]:
    """Return one run's figures."""
    cpu = server.cpu_us()
    run = press(
        server.port,
        requests(),
        asked=Asked(path=MODEL_INFER),
        concurrency=concurrency,
        seconds=seconds,
        core=core,
    )
    cpu = (server.cpu_us() - cpu) / run.all_calls
    return {"rps": run.rps, "p50_us": run.p50_us, "p90_us": run.p90_us, "p99_us": run.p99_us, "cpu_us": cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run (default 3)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, of which the median counts (default 3)")
    parser.add_argument("--only", nargs="*", default=[*TURNOUT, *PEERS], help="which servers")
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "turnout-peers",
        help="where the peers' environments are",
    )
    arguments = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    print(f"{len(cores)} cores; servers on core {cores[0]}, load on core {cores[-1]}; {generator()}")
    print(f"ModelInfer, raw contents, one row; {TREES} trees over {FEATURES} features; every answer checked")
    folder = Path(tempfile.mkdtemp(prefix="turnout-peers-"))
    model = folder / "model.onnx"
    write_model(model)
    rows = []
    try:
        for name in arguments.only:  # one after another: none shares the core with another that idles
            opened = (
                turnout_server(name, model, folder=folder, core=cores[0])
                if name in TURNOUT
                else peer_server(name, model, folder=folder, cache=arguments.cache, core=cores[0])
            )
            with opened as server:
                check(server, model)
                for concurrency in CONCURRENCIES:
                    runs = [
                        measure(server, concurrency=concurrency, seconds=arguments.seconds, core=cores[-1])
                        for _ in range(arguments.rounds)
                    ]
                    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
                    rows.append({"server": name, "concurrency": concurrency, **middle})
                    print(f"  {name} c={concurrency} {middle['rps']:.0f} rps", file=sys.stderr)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps({"generator": generator(), "peers": PEERS, "rows": rows}, indent=2))


def show(rows: list[dict[str, object]]) -> None:
    head = ("c", "rps", "p50 ms", "p90 ms", "p99 ms", "CPU µs/call")
    print(f"{'server':20}" + "".join(f"{name:>12}" for name in head))
    for row in rows:
        times = "".join(f"{row[name] / 1000:>12.2f}" for name in ("p50_us", "p90_us", "p99_us"))
        print(f"{row['server']:20}{row['concurrency']:>12}{row['rps']:>12.0f}{times}{row['cpu_us']:>12.1f}")


if __name__ == "__main__":
    main()
