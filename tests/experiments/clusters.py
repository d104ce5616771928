"""A Ray cluster that tests start."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

START_S_MAX = 60
OBJECT_BYTES = 80_000_000


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


class Cluster:
    """A Ray cluster of this machine alone, in processes that end with this object."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ry", dir="/tmp"))
        client, agent = free_ports(2)
        options = {
            "port": 0,
            "num-cpus": 2,
            "object-store-memory": OBJECT_BYTES,
            "include-dashboard": "false",
            "temp-dir": self.folder,
            "ray-client-server-port": client,
            "dashboard-agent-listen-port": agent,
            "min-worker-port": 0,
            "max-worker-port": 0,
        }
        command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--disable-usage-stats"]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *(f"--{name}={value}" for name, value in options.items())],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            )
        told = self.folder / "ray_current_cluster"
        until = time.monotonic() + START_S_MAX
        while not (told.exists() and told.read_text().strip()):
            if self.process.poll() is not None or time.monotonic() > until:
                self.kill()
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)
        self.address = told.read_text().strip()

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
