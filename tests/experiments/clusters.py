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
    """A Ray cluster of two nodes of one processor each, on this machine alone, whose processes end with this object."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="ry", dir="/tmp"))
        self.log = self.folder / "log"
        self.processes = []
        client, agent, other_agent = free_ports(3)
        self._start(
            "--head",
            "--port=0",
            "--include-dashboard=false",
            f"--temp-dir={self.folder}",
            f"--ray-client-server-port={client}",
            f"--dashboard-agent-listen-port={agent}",
        )
        told = self.folder / "ray_current_cluster"
        self._wait(lambda: told.exists() and told.read_text().strip())
        self.address = told.read_text().strip()
        self._start(f"--address={self.address}", f"--dashboard-agent-listen-port={other_agent}")
        self._wait(lambda: self.log.read_text().count("Ray runtime started") == len(self.processes))

    def _start(self, *options):
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats", *options]
        sizes = ("--num-cpus=1", f"--object-store-memory={OBJECT_BYTES}", "--min-worker-port=0", "--max-worker-port=0")
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*command, *sizes],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
            )
        self.processes.append(process)

    def _wait(self, done):
        until = time.monotonic() + START_S_MAX
        while not done():
            if any(each.poll() is not None for each in self.processes) or time.monotonic() > until:
                words = self.log.read_text()[-2000:]
                self.kill()
                raise RuntimeError(words)
            time.sleep(0.05)

    def kill(self):
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
