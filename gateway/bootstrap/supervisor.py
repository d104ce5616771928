"""Keeping the workers alive: starting them, telling them what to serve, starting the dead ones again."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from gateway.bootstrap.link import Link
from gateway.control.fleet import Fleet, Loaded
from gateway.journal.recovery import seal_dead
from gateway.telemetry.meter import Meter
from gateway.telemetry.tracing import TracedCall

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.bootstrap.settings import Settings

RESTART_PAUSE_S = 0.1
RESTART_PAUSE_MAX_S = 5.0
WORKER_ENVIRONMENT = {
    # Large blocks are taken from the system one by one and go back to it when they are freed. By default the C library
    # raises this bound to what was freed last, keeps such blocks, and a worker that swaps versions grows.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
}
STEADY_S = 10.0
"""A worker that lived this long is started again at once; one that dies young, after ever longer pauses."""

_log = logging.getLogger(__name__)


class Supervisor:
    """The worker processes of a gateway.

    Parameters
    ----------
    settings
        What the workers are told.
    data_port
        The port that they share.
    fleet
        Is told what they say of themselves.
    take_traces
        Is told what they traced.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        data_port: int,
        fleet: Fleet,
        take_traces: Callable[[list[TracedCall]], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._data_port = data_port
        self._fleet = fleet
        self._take_traces = take_traces
        self._lock = threading.Lock()
        self._links: dict[int, Link] = {}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._table: Path | None = None
        self._holds: dict[str, str] = {}
        self._stale = False
        self._holding = threading.Lock()  # held while holds are sent: each worker gets the newest one last
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start all workers; what segments dead ones left is sealed first."""
        self._settings.folders.journal.mkdir(parents=True, exist_ok=True)
        seal_dead(self._settings.folders.journal)
        for slot in range(self._settings.workers):
            thread = threading.Thread(target=self._keep, args=(slot,), name=f"keeper-{slot}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def announce(self, table: Path) -> None:
        """Tell all workers where the newest desired set is."""
        with self._lock:
            self._table = table
        self._send_all({"table": str(table)})

    def set_stale(self, stale: bool) -> None:  # noqa: FBT001  (what is told on as it is)
        """Tell all workers, those that are started later too, whether what they know is too old to be served."""
        with self._holding:
            self._stale = stale
            self._send_all({"stale": stale})

    def ask(self, number: int) -> None:
        """Ask all workers for a report of that number."""
        self._send_all({"report": number})

    def stop(self, grace_s: float) -> bool:
        """Let the workers finish and stop them; return whether all did within the time."""
        self._stopping.set()
        with self._lock:
            processes = list(self._processes.values())
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        until = time.monotonic() + grace_s
        clean = True
        for process in processes:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                clean = False
                process.kill()
                process.wait()
        for thread in self._threads:
            thread.join(timeout=5.0)
        return clean

    def _send_all(self, message: dict[str, Any]) -> None:
        with self._lock:
            links = list(self._links.values())
        for link in links:
            link.send(message)

    def _keep(self, slot: int) -> None:
        """Start a slot's process again and again until the stop."""
        pause_s = RESTART_PAUSE_S
        restarts = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            code = self._live(slot, restarts)
            self._fleet.bury(slot)
            seal_dead(self._settings.folders.journal, f"worker-{slot}")
            if self._stopping.is_set():
                return
            lived_s = time.monotonic() - started
            pause_s = RESTART_PAUSE_S if lived_s > STEADY_S else min(pause_s * 2, RESTART_PAUSE_MAX_S)
            _log.warning("worker %d ended with %s after %.1f s; starting it again", slot, code, lived_s)
            restarts += 1
            self._stopping.wait(pause_s)

    def _live(self, slot: int, restarts: int) -> int:
        """Run a slot's process to its end and return its exit code."""
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-m", "gateway.bootstrap.worker", str(theirs.fileno())]
        with self._lock:
            if self._stopping.is_set():
                return 0
            process = subprocess.Popen(  # noqa: S603  (our own module, our own settings)
                command,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env=WORKER_ENVIRONMENT | os.environ,
            )
            theirs.close()
            link = Link(ours)
            # Not among the arguments, which all users of the machine see: addresses may have passwords in them.
            link.send(self._settings.worker(slot, self._data_port).document())
            self._processes[slot] = process
            self._links[slot] = link
            table = self._table
        self._fleet.update(slot, pid=process.pid, restarts=restarts)
        with self._holding:
            link.send({"holds": self._holds, "forgiven": ""})
            link.send({"stale": self._stale})
        if table is not None:
            link.send({"table": str(table)})
        for message in link.messages():
            self._take(slot, message)
        with self._lock:
            self._links.pop(slot, None)
        link.close()
        return process.wait()

    def _hold(self, model: str, reason: str | None) -> None:
        """Tell all workers, those that are started later too, which models are held, now that one more or less is."""
        with self._holding:
            others = {name: why for name, why in self._holds.items() if name != model}
            self._holds = others if reason is None else {**others, model: reason}
            self._send_all({"holds": self._holds, "forgiven": model if reason is None else ""})

    def _take(self, slot: int, message: dict[str, Any]) -> None:
        if "hold" in message:
            self._hold(message["hold"], message["reason"])
            return
        self._fleet.update(
            slot,
            ready=message["ready"],
            revision=message["revision"],
            transport=message["transport"],
            why=message["why"],
            versions=tuple(Loaded(**each) for each in message["versions"]),
            providers=tuple(message["providers"]),
            counts=Meter.from_report(message["counts"]),
            report=message["report"],
        )
        if message["traced"]:
            self._take_traces([TracedCall.from_json(each) for each in message["traced"]])
