"""The load: prepared request bodies sent as fast as a number of calls in flight allows, pinned to a core of its own.

h2load does it where it is installed (Debian: nghttp2-client), since a client in Python would be what is measured; a
client in Python otherwise. Either way every answer is checked, and the latency of every call is kept.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import numpy as np

PREDICT = "/turnout.serving.v1.PredictionService/Predict"
PROCESSES_MAX = 4
WARM_UP_CALLS = 400
CALLS_MAX = 1_000_000
TIMEOUT_S = 300.0
_DATA_BYTES = re.compile(r"traffic:.*\((\d+)\) data")
_DONE = re.compile(r"requests: (\d+) total, \d+ started, \d+ done, (\d+) succeeded, (\d+) failed, (\d+) errored")


class WrongAnswerError(Exception):
    """Not every answer was OK: the numbers would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a call of the load is: the method, how often it sends its body, and how many predictions that asks for."""

    path: str = PREDICT
    messages: int = 1
    predictions: int = 1

    @property
    def streams(self) -> bool:
        """Whether the method takes and gives several messages."""
        return self.messages > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one run showed; latencies in microseconds, of whole calls. All counts are of predictions.

    `calls` were measured; `all_calls` has those of the warm-up and of learning the right answers too.
    """

    concurrency: int
    calls: int
    rps: float
    p50_us: float
    p90_us: float
    p99_us: float
    all_calls: int = 0
    cpu_us_per_call: float = 0.0
    mean_wave: float | None = None


def generator() -> str:
    """Return which load generator is used."""
    return "h2load" if shutil.which("h2load") else "python"


def pinned(command: list[str], core: int | None, **options: object) -> subprocess.Popen:
    """Start a process on a core; the child inherits the affinity that this thread has for a moment."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        return subprocess.Popen(command, **options)
    finally:
        os.sched_setaffinity(0, before)


def press(
    port: int, bodies: list[bytes], *, asked: Asked, concurrency: int, seconds: float, core: int | None
) -> Measured:
    """Return the latencies under that many calls in flight, or raise WrongAnswerError unless every answer was OK."""
    sizes = _answer_sizes(port, bodies, asked)
    least = max(4 * concurrency, WARM_UP_CALLS // asked.predictions)
    warm = _run(port, bodies, sizes, asked=asked, concurrency=concurrency, calls=least, core=core)
    calls = min(CALLS_MAX, max(least, int(warm.rps / asked.predictions * seconds)))
    measured = _run(port, bodies, sizes, asked=asked, concurrency=concurrency, calls=calls, core=core)
    return replace(measured, all_calls=len(bodies) * asked.predictions + warm.calls + measured.calls)


def _answer_sizes(port: int, bodies: list[bytes], asked: Asked) -> list[int]:
    """Return how long the right answer to each body is, framing included."""
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        if asked.streams:
            stream = channel.stream_stream(asked.path)
            answers = [stream(iter([body] * asked.messages), timeout=30, wait_for_ready=True) for body in bodies]
            return [sum(5 + len(message) for message in several) for several in answers]
        predict = channel.unary_unary(asked.path)
        return [5 + len(predict(body, timeout=30, wait_for_ready=True)) for body in bodies]


def _run(
    port: int,
    bodies: list[bytes],
    sizes: list[int],
    *,
    asked: Asked,
    concurrency: int,
    calls: int,
    core: int | None,
) -> Measured:
    """Spread the calls over processes, one body each, and put what they saw together."""
    processes = min(concurrency, len(bodies), PROCESSES_MAX)
    each, streams = calls // processes, concurrency // processes
    run = _h2load if generator() == "h2load" else _python
    with tempfile.TemporaryDirectory() as folder:
        spans = run(
            port, Path(folder), bodies[:processes], asked=asked, sizes=sizes, each=each, streams=streams, core=core
        )
    took_s = (spans[:, 0] + spans[:, 1]).max() / 1e6 - spans[:, 0].min() / 1e6
    p50, p90, p99 = np.percentile(spans[:, 1], [50, 90, 99])
    done = len(spans) * asked.predictions
    return Measured(concurrency=concurrency, calls=done, rps=done / took_s, p50_us=p50, p90_us=p90, p99_us=p99)


def _h2load(
    port: int,
    folder: Path,
    bodies: list[bytes],
    *,
    asked: Asked,
    sizes: list[int],
    each: int,
    streams: int,
    core: int | None,
) -> np.ndarray:
    """Return start and latency of each call in microseconds.

    h2load counts HTTP statuses, and gRPC says 200 whatever happened; but an error has no message. So all answers were
    OK exactly when the bytes of messages that arrived are those of that many right answers.
    """
    running = []
    for place, body in enumerate(bodies):
        file, log = folder / f"body-{place}", folder / f"log-{place}"
        file.write_bytes((b"\x00" + struct.pack(">I", len(body)) + body) * asked.messages)
        command = ["h2load", "-n", str(each), "-c", "1", "-m", str(streams), "-d", str(file), "--log-file", str(log)]
        command += [
            "-H",
            "content-type: application/grpc",
            "-H",
            "te: trailers",
            f"http://127.0.0.1:{port}{asked.path}",
        ]
        running.append((pinned(command, core, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True), log))
    spans = []
    for (process, log), size in zip(running, sizes, strict=False):
        said = process.communicate(timeout=TIMEOUT_S)[0]
        done, data = _DONE.search(said), _DATA_BYTES.search(said)
        if done is None or data is None or done.groups() != (str(each), str(each), "0", "0"):
            raise WrongAnswerError(f"h2load saw failures:\n{said}")
        if int(data[1]) != each * size:
            raise WrongAnswerError(f"{each} right answers have {each * size} bytes, {data[1]} arrived")
        spans.append(np.loadtxt(log, usecols=(0, 2), dtype=np.float64, ndmin=2))
    return np.concatenate(spans)


def _python(
    port: int,
    folder: Path,
    bodies: list[bytes],
    *,
    asked: Asked,
    sizes: list[int],
    each: int,
    streams: int,
    core: int | None,
) -> np.ndarray:
    """Return what clients in Python saw; they compare the size of every answer."""
    running = []
    for place, body in enumerate(bodies):
        file = folder / f"body-{place}"
        file.write_bytes(body)
        command = [sys.executable, __file__, str(port), asked.path, str(asked.messages), str(file)]
        command += [str(sizes[place]), str(each), str(streams)]
        running.append(pinned(command, core, stdout=subprocess.PIPE, text=True))
    spans = []
    for process in running:
        said = process.communicate(timeout=TIMEOUT_S)[0]
        if process.returncode != 0:
            raise WrongAnswerError("a client saw a failure or a wrong answer")
        spans.append(np.asarray(json.loads(said)))
    return np.concatenate(spans)


async def _call(
    port: int, asked: Asked, body: bytes, size: int, *, each: int, streams: int
) -> list[tuple[float, float]]:
    """Return start and latency of each call in microseconds."""
    spans: list[tuple[float, float]] = []
    left = iter(range(each))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.enable_http_proxy", 0)]) as channel:
        unary, stream = channel.unary_unary(asked.path), channel.stream_stream(asked.path)

        async def answer_size() -> int:
            if not asked.streams:
                return 5 + len(await unary(body))
            return sum([5 + len(message) async for message in stream(iter([body] * asked.messages))])

        async def one_after_another() -> None:
            for _ in left:
                began = time.time()
                if await answer_size() != size:
                    raise WrongAnswerError
                spans.append((began * 1e6, (time.time() - began) * 1e6))

        await asyncio.gather(*(one_after_another() for _ in range(streams)))
    return spans


if __name__ == "__main__":
    port, path, messages, file, size, each, streams = sys.argv[1:]
    asked = Asked(path=path, messages=int(messages))
    body = Path(file).read_bytes()
    print(json.dumps(asyncio.run(_call(int(port), asked, body, int(size), each=int(each), streams=int(streams)))))
