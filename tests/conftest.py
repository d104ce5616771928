"""What every area's tests may start: a real gateway, in processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

READY_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway: its process, its ports, its state folder."""

    process: subprocess.Popen
    data: int
    http: int
    control: int
    pids: list[int]
    state: Path

    @property
    def data_address(self):
        return f"127.0.0.1:{self.data}"

    @property
    def control_address(self):
        return f"127.0.0.1:{self.control}"

    @contextlib.contextmanager
    def data_channel(self):
        # A pool of its own, so that every channel is a connection of its own and SO_REUSEPORT spreads them.
        with grpc.insecure_channel(self.data_address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            yield channel

    @contextlib.contextmanager
    def control_channel(self):
        with grpc.insecure_channel(self.control_address) as channel:
            yield channel

    def stop(self, timeout_s=30.0):
        """Ask the gateway to end and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def kill(self):
        """Kill every process of the gateway at once, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def start_gateway(state, *flags, workers=1, timeout_s=READY_TIMEOUT_S):
    """Start a gateway on a state folder and return it when all its workers answer."""
    state.mkdir(parents=True, exist_ok=True)
    ready = state / "ready.json"
    ready.unlink(missing_ok=True)
    log = (state / "gateway.log").open("ab")
    ports = ("--data-port", "0", "--http-port", "0", "--control-port", "0")
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gateway",
            "--state",
            str(state),
            "--workers",
            str(workers),
            "--ready-file",
            str(ready),
            *ports,
            *flags,
        ],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        cwd=Path(__file__).parents[1],
    )
    log.close()
    until = time.monotonic() + timeout_s
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > until:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise RuntimeError(f"the gateway did not start:\n{(state / 'gateway.log').read_text()[-4000:]}")
        time.sleep(0.02)
    facts = json.loads(ready.read_text())
    return Gateway(process, facts["data"], facts["http"], facts["control"], facts["pids"], state)


@pytest.fixture(scope="session")
def launch():
    """Return the function that starts a gateway; every gateway it started is killed at the end of the session."""
    started = []

    def start(state, *flags, **options):
        gateway = start_gateway(Path(state), *flags, **options)
        started.append(gateway)
        return gateway

    yield start
    for gateway in started:
        gateway.kill()


@pytest.fixture(scope="module")
def gateway(launch, tmp_path_factory):
    """Return a gateway with one worker that this module's tests share."""
    running = launch(tmp_path_factory.mktemp("gateway") / "state")
    yield running
    running.stop()
