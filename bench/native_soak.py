"""Does the native transport keep its memory and its promises over time?

`python bench/native_soak.py SECONDS [--gateway] [--rate CALLS_PER_S] [--json FILE]` starts Turnout's native transport
under bare predict, or with `--gateway` a whole gateway on it, and treats it badly in every way that a client can: calls
with and without deadlines, cancelled calls, deadlines that pass, huge bodies, readers that never read, connections that
come and go, and bursts of h2load at 32 and 128 calls in flight. It samples the server's resident memory, and ends with
two SIGTERMs.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import grpc
import numpy as np
from floors import PREDICT
from model import MODEL, make_rows, tensor_request, write_model
from rig import Gateway

from turnout.serving.v1 import prediction_service_pb2 as pb

SAMPLE_INTERVAL_S = 5.0
WARM_UP_SHARE = 0.2
THREADS = 4
BURST_INTERVAL_S = 60.0
BURST_CALLS = 4000
SLOW_READER_INTERVAL_S = 10.0
HUGE_INTERVAL_S = 30.0
HUGE_BYTES = 15 * 1024 * 1024
CONNECTION_CALLS = 500
CANCEL_SHARE = 0.01
TIGHT_SHARE = 0.01
TIGHT_S = 0.0002
DEADLINE_S = 30.0


class Tally:
    """Counts by what happened; an increment under the lock, since all threads count."""

    def __init__(self) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def add(self, what: str, count: int = 1) -> None:
        with self._lock:
            self.counts[what] += count


def channel_to(port: int) -> grpc.Channel:
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.max_receive_message_length", -1),
    ]
    return grpc.insecure_channel(f"127.0.0.1:{port}", options=options)


def call_steadily(port: int, rate: float, stop: threading.Event, tally: Tally) -> None:
    """Call at a steady rate over connections that come and go; cancel some calls, give some too little time."""
    rows, _ = make_rows(256)
    bodies = [tensor_request(row) for row in rows]
    chance = random.Random(threading.get_ident())  # noqa: S311  (a load generator, not cryptography)
    while not stop.is_set():
        with channel_to(port) as channel:
            predict = channel.unary_unary(PREDICT)
            for _ in range(CONNECTION_CALLS):
                began = time.monotonic()
                one_call(predict, chance.choice(bodies), chance.random(), tally)
                if stop.wait(max(0.0, 1.0 / rate - (time.monotonic() - began))):
                    return


def one_call(predict: grpc.UnaryUnaryMultiCallable, body: bytes, lot: float, tally: Tally) -> None:
    if lot < CANCEL_SHARE:
        predict.future(body).cancel()
        tally.add("cancelled")
        return
    tight = lot < CANCEL_SHARE + TIGHT_SHARE
    try:
        answer = predict(body, timeout=TIGHT_S if tight else DEADLINE_S if lot < 0.5 else None, metadata=(("k", "v"),))
    except grpc.RpcError as error:
        tally.add("too late, as asked" if tight else f"failed: {error.code()}")
        return
    good = len(pb.PredictResponse.FromString(answer).outputs) == 2
    tally.add("ok" if good else "wrong answer")


def send_huge(port: int, stop: threading.Event, tally: Tally) -> None:
    """Send a body just under the limit, and one over it, now and then."""
    row = make_rows(1)[0][0]
    huge = pb.PredictRequest.FromString(tensor_request(row))
    huge.attributes["filler"] = "x" * HUGE_BYTES
    over = bytes(HUGE_BYTES + 2 * 1024 * 1024)
    while not stop.wait(HUGE_INTERVAL_S):
        with channel_to(port) as channel:
            predict = channel.unary_unary(PREDICT)
            try:
                predict(huge.SerializeToString(), timeout=DEADLINE_S)
                tally.add("huge ok")
            except grpc.RpcError as error:
                tally.add(f"huge failed: {error.code()}")
            try:
                predict(over, timeout=DEADLINE_S)
                tally.add("wrong: over the limit and answered")
            except grpc.RpcError as error:
                tally.add(f"over the limit: {error.code()}")


def read_never(port: int, body: bytes, stop: threading.Event, tally: Tally) -> None:
    """Ask over a bare socket with a window of zero, never read, and go away."""

    def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
        return struct.pack(">I", len(content))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + content

    def text(value: str) -> bytes:
        return bytes([len(value)]) + value.encode()

    headers = {":method": "POST", ":scheme": "http", ":path": PREDICT, ":authority": "x", "te": "trailers"}
    headers["content-type"] = "application/grpc"
    block = b"".join(b"\x00" + text(key) + text(value) for key, value in headers.items())
    no_window = struct.pack(">HI", 4, 0)
    while not stop.wait(SLOW_READER_INTERVAL_S):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, no_window))
            for stream in range(1, 200, 2):
                connection.sendall(frame(1, 4, stream, block))
                connection.sendall(frame(0, 1, stream, b"\x00" + struct.pack(">I", len(body)) + body))
            stop.wait(1.0)
        tally.add("slow readers")


def burst(port: int, body_file: Path, stop: threading.Event, tally: Tally) -> None:
    """Let h2load press now and then, where it is installed."""
    if shutil.which("h2load") is None:
        return
    while not stop.wait(BURST_INTERVAL_S):
        for connections, streams in ((4, 8), (4, 32)):
            command = ["h2load", "-n", str(BURST_CALLS), "-c", str(connections), "-m", str(streams), "-d", body_file]
            command += [
                "-H",
                "content-type: application/grpc",
                "-H",
                "te: trailers",
                f"http://127.0.0.1:{port}{PREDICT}",
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            good = f"{BURST_CALLS} succeeded, 0 failed" in done.stdout
            tally.add(f"burst calls at {connections * streams}" if good else "burst failed", BURST_CALLS)


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("the server has ended")


class BareServer:
    """The native transport under bare predict: one process."""

    def __init__(self, folder: Path) -> None:
        program = str(Path(__file__).with_name("floors.py"))
        command = [sys.executable, program, "transport-native-predict", str(folder / "model.onnx")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.pid = self.process.pid

    def served(self) -> object:
        return json.loads(self.process.stdout.readline())


class WholeGateway:
    """A gateway with one worker on the native transport: its own codec, validation, pipeline and journal."""

    def __init__(self, folder: Path) -> None:
        self._gateway = Gateway("native", folder / "state", None)
        self._gateway.start()
        self._gateway.furnish(folder / "model.onnx")
        self.process = self._gateway.process
        self.port = self._gateway.ports["data"]
        self.pid = self._gateway.worker
        self._log = folder / "state" / "gateway.log"

    def served(self) -> object:
        return self._log.read_text().splitlines()[-2:]


def soak(seconds: float, rate: float, samples_to: Path | None, *, gateway: bool) -> dict[str, object]:
    os.nice(10)
    folder = Path(tempfile.mkdtemp(prefix="native-soak-"))
    write_model(folder / "model.onnx")
    body = tensor_request(make_rows(1)[0][0])
    (folder / "body").write_bytes(b"\x00" + struct.pack(">I", len(body)) + body)
    server = WholeGateway(folder) if gateway else BareServer(folder)
    port = server.port
    stop, tally = threading.Event(), Tally()
    jobs = [(call_steadily, (port, rate / THREADS, stop, tally))] * THREADS
    jobs += [
        (send_huge, (port, stop, tally)),
        (read_never, (port, body, stop, tally)),
        (burst, (port, folder / "body", stop, tally)),
    ]
    threads = [threading.Thread(target=job, args=arguments, daemon=True) for job, arguments in jobs]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    samples: list[tuple[float, float]] = []
    while (at := time.monotonic() - began) < seconds:
        samples.append((round(at, 1), resident_mib(server.pid)))
        if samples_to is not None:
            samples_to.write_text(json.dumps(report(samples, tally, rate)))
        time.sleep(min(SAMPLE_INTERVAL_S, max(0.1, seconds - at)))
    stop.set()
    for thread in threads:
        thread.join(DEADLINE_S)
    samples.append((round(time.monotonic() - began, 1), resident_mib(server.pid)))
    server.process.send_signal(signal.SIGTERM)
    server.process.send_signal(signal.SIGTERM)
    result = report(samples, tally, rate)
    result["exit_code"] = server.process.wait(30)
    result["served"] = server.served()
    shutil.rmtree(folder)
    if samples_to is not None:
        samples_to.write_text(json.dumps(result))
    return result


def report(samples: list[tuple[float, float]], tally: Tally, rate: float) -> dict[str, object]:
    """Return what was seen; the slope is a straight line through the samples after the warm-up."""
    seconds = samples[-1][0]
    settled = [(at, mib) for at, mib in samples if at >= seconds * WARM_UP_SHARE]
    slope = float(np.polyfit(*zip(*settled, strict=True), 1)[0]) * 3600 if len(settled) > 2 else 0.0
    quarters = np.array_split([mib for _, mib in settled], 4) if len(settled) >= 4 else []
    return {
        "model": MODEL,
        "seconds": seconds,
        "rate_asked_per_s": rate,
        "counts": dict(tally.counts),
        "rss_first_mib": samples[0][1],
        "rss_last_mib": samples[-1][1],
        "rss_max_mib": max(mib for _, mib in samples),
        "rss_median_by_quarter_mib": [round(float(np.median(quarter)), 1) for quarter in quarters],
        "slope_mib_per_hour": round(slope, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--gateway", action="store_true", help="soak a whole gateway")
    parser.add_argument("--rate", type=float, default=200.0, help="steady calls per second (default 200)")
    parser.add_argument("--json", type=Path, help="write the report here, anew at every sample")
    arguments = parser.parse_args()
    result = soak(arguments.seconds, arguments.rate, arguments.json, gateway=arguments.gateway)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
