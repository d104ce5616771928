"""How many outcomes one worker takes a second, in batches: `python bench/outcomes.py`.

Every one is acknowledged, at the default sync interval. First with compaction at rest; then with a segment sealed every
megabyte and a compactor that never rests, so that it is at work throughout.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from itertools import count
from pathlib import Path

import grpc

from turnout.events.v1 import event_service_pb2, event_service_pb2_grpc
from turnout.outcomes.v1 import outcome_service_pb2 as pb
from turnout.outcomes.v1 import outcome_service_pb2_grpc

BATCH = 1000
SECONDS = 10.0
SENDERS = 2
READY_S_MAX = 60.0
PHASES = {
    "at rest": ("--compact-interval-s", "3600"),
    "compacting": ("--compact-interval-s", "0.01", "--segment-bytes-max", str(1024 * 1024)),
}


def measure(flags: tuple[str, ...]) -> tuple[float, int, int]:
    """Return acknowledged outcomes a second, how many they were, and how many segments became Parquet meanwhile."""
    with tempfile.TemporaryDirectory(prefix="turnout-outcomes-") as folder:
        state = Path(folder)
        ready = state / "ready.json"
        ports = ("--data-port", "0", "--http-port", "0", "--control-port", "0")
        command = [sys.executable, "-m", "gateway", "--state", folder, "--ready-file", str(ready), *ports, *flags]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + READY_S_MAX
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("the gateway did not start")
                time.sleep(0.05)
            facts = json.loads(ready.read_text())
            acknowledged, seconds = _send(facts["data"])
            commits = state / "events" / "commits"
            segments = len(list(commits.iterdir())) if commits.is_dir() else 0
            with grpc.insecure_channel(f"127.0.0.1:{facts['control']}") as channel:
                stub = event_service_pb2_grpc.EventServiceStub(channel)
                kept = stub.CountEvents(event_service_pb2.CountEventsRequest()).outcomes
            if kept != acknowledged:
                raise RuntimeError(f"{acknowledged} outcomes were acknowledged, {kept} are there")
            return acknowledged / seconds, acknowledged, segments
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _send(port: int) -> tuple[int, float]:
    """Send batches from several threads and return how many outcomes were acknowledged in how long."""
    numbers, acknowledged = count(), [0] * SENDERS
    ends = time.monotonic() + SECONDS

    def send(place: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = outcome_service_pb2_grpc.OutcomeServiceStub(channel)
            while time.monotonic() < ends:
                batch = next(numbers)
                answer = stub.RecordOutcomes(
                    pb.RecordOutcomesRequest(
                        outcomes=[
                            pb.Outcome(request_id=f"{batch:08x}-{each:04x}", name="late", value=1.0)
                            for each in range(BATCH)
                        ]
                    )
                )
                acknowledged[place] += sum(one.status == pb.OUTCOME_STATUS_RECORDED for one in answer.results)

    started = time.monotonic()
    senders = [threading.Thread(target=send, args=(place,)) for place in range(SENDERS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    return sum(acknowledged), time.monotonic() - started


def main() -> None:
    """Measure both and print a line for each."""
    sys.stdout.write(f"load average {os.getloadavg()[0]:.1f}, batches of {BATCH}, {SENDERS} senders\n")
    rates = {}
    for phase, flags in PHASES.items():
        rates[phase], acknowledged, segments = measure(flags)
        sys.stdout.write(f"{phase:>10} {rates[phase]:9.0f} /s of {acknowledged}, {segments} segments compacted\n")
    sys.stdout.write(f"while compacting {rates['compacting'] / rates['at rest']:.0%} of the rate at rest\n")


if __name__ == "__main__":
    main()
