"""A data-plane worker: what one process of it is made of, and its life.

Started by the supervisor as ``python -m gateway.bootstrap.worker FD``.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.access.access import Access
from gateway.bootstrap.gauges import put_gauges
from gateway.bootstrap.link import Link
from gateway.bootstrap.parts import make_parts, make_plane, open_port
from gateway.bootstrap.services import DataServices
from gateway.bootstrap.stopping import StopRequest
from gateway.config import WorkerConfig
from gateway.inference.grpc_service_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from gateway.models.loader import load_slot
from gateway.models.session import PROVIDERS
from gateway.models.turns import Turns
from gateway.rpc import data_plane
from gateway.rpc.guard import guarded
from gateway.rpc.inference_service import InferenceService
from gateway.serving.installer import Installer
from gateway.serving.standing import NOTHING_APPLIED, Progress
from gateway.telemetry.logs import start_logs
from registry.keys import TrustedKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import grpc

    from gateway.models.slots import Slot, VersionKey
    from gateway.telemetry.logs import Logs
    from gateway.transport.port import Transport

COUNTS_INTERVAL_S = 1.0
GC_THRESHOLD = 10_000
"""Containers that are made before the youngest are looked at; a wave makes some twenty for each of its calls."""

SWITCH_INTERVAL_S = 0.0005
"""A background load must not keep the pipeline waiting for the interpreter's usual 5 ms."""

_log = logging.getLogger(__name__)


class Worker:
    """One worker process.

    Parameters
    ----------
    config
        What it was told.
    link
        The line to the supervisor.
    logs
        What writes its log.
    """

    def __init__(self, config: WorkerConfig, link: Link, logs: Logs) -> None:
        self._config = config
        self._link = link
        self._logs = logs
        self._parts = parts = make_parts(config, self._calls_in_flight)
        self._meter = parts.meter
        self._turns = Turns(config.folders.run / "loading")
        self._keys = TrustedKeys(
            Path(config.trusted_keys) if config.trusted_keys else None, required=config.require_signatures
        )
        waves = parts.meter.series("turnout_wave_calls")
        self._installer = Installer(
            pipeline=parts.pipeline,
            load=self._load,
            make_heads=data_plane.heads_of,
            report=self._report,
            activity=lambda: waves.total,
            resident_bytes_max=config.resident_bytes_max,
            spread_hold=self._send_hold,
        )
        self._inference = InferenceService(  # type: ignore[abstract]  # inferences are answered in waves
            table=lambda: parts.pipeline.table,
            wishes=self._installer.wishes,
            counts_of=parts.tally.of_version,
            is_ready=lambda: self._ready and not self._stop.is_asked and not self._plane.stale,
        )
        self._services = DataServices(data_plane.SERVICES)
        access = Access(Path(config.tokens) if config.tokens else None, certificates=bool(config.tls_client_ca))
        self._plane = make_plane(config, parts, access)
        self._transport: Transport = open_port(
            config, self._plane, lambda server: self._add_services(guarded(server, access))
        )
        self._ready = False
        self._progress = Progress(NOTHING_APPLIED, {})
        self._offered_at: dict[int, float] = {}
        self._reported = 0
        self._reporting = threading.Lock()
        self._stop = StopRequest()

    def run(self) -> None:
        """Serve until the supervisor says to stop or is gone."""
        self._stop.ask_on(signal.SIGTERM)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor decides
        threading.Thread(target=self._installer.run, name="installer", daemon=True).start()
        threading.Thread(target=self._listen, name="link", daemon=True).start()
        while not self._stop.wait(COUNTS_INTERVAL_S):
            self._send()
        self._drain()

    def _add_services(self, server: grpc.Server) -> None:
        """Add to the port's grpcio server what is not answered in waves."""
        add_GRPCInferenceServiceServicer_to_server(self._inference, server)
        self._services.add(server)

    def _calls_in_flight(self) -> int:
        return self._transport.calls_in_flight()

    def _listen(self) -> None:
        """Follow the supervisor's messages; stop when it is gone."""
        for message in self._link.messages():
            if "report" in message:
                self._reported = message["report"]
                self._send()
                continue
            if "holds" in message:
                self._installer.wishes.be_held(message["holds"], forgiven=message["forgiven"])
                continue
            if "stale" in message:
                self._set_stale(message["stale"])
                continue
            document = json.loads(Path(message["table"]).read_text())
            self._offered_at[document["revision"]] = time.monotonic()
            self._installer.wishes.offer(document)
        self._stop.ask()

    def _set_stale(self, stale: bool) -> None:  # noqa: FBT001  (as it was told)
        """Refuse predictions while what is known is too old to be served, and say so to who asks for the health."""
        if stale == self._plane.stale:
            return
        self._plane.set_stale(stale)
        if stale:
            self._services.not_serving()
        elif self._ready and not self._stop.is_asked:
            self._services.serving()

    def _send_hold(self, model: str, reason: str | None) -> None:
        """Ask the supervisor to tell all workers that a model is held, or is not any more."""
        self._link.send({"hold": model, "reason": reason})

    def _load(self, key: VersionKey, entry: Mapping[str, Any], go_on: Callable[[], None]) -> Slot:
        """Return a version that is ready to answer, and count its load; or raise what it raises."""
        began = time.monotonic()
        result = "failed"
        try:
            with self._turns.turn():
                go_on()
                slot = load_slot(key, entry, go_on, keys=self._keys)
            result = "ready"
        finally:
            self._meter.count("turnout_version_loads_total", (key.model, result))
        self._meter.observe("turnout_version_load_seconds", (key.model,), _us_since(began))
        return slot

    def _report(self, progress: Progress) -> None:
        """Open the door when the first desired set is applied, and say what is served."""
        self._progress = progress
        for revision in [revision for revision in list(self._offered_at) if revision <= progress.revision]:
            offered_at = self._offered_at.pop(revision)
            if revision == progress.revision:  # those before it were passed over for it
                self._meter.observe("turnout_swap_seconds", (), _us_since(offered_at))
        if not self._ready and progress.revision > NOTHING_APPLIED:
            port = self._transport.start()
            self._ready = True
            if not self._plane.stale:
                self._services.serving()
            settle_garbage_collector()
            _log.info("worker %d serves port %d by %s", self._config.slot, port, self._transport.name)
        self._send()

    def _send(self) -> None:
        with self._reporting:  # a report must not overtake a later one
            self._link.send(self._message())

    def _message(self) -> dict[str, Any]:
        reported = self._reported
        self._gauge()
        return {
            "ready": self._ready,
            "revision": self._progress.revision,
            "transport": self._transport.name,
            "why": self._transport.why,
            "providers": PROVIDERS,
            "versions": [
                {"model": key.model, "version": key.version, "state": standing.state.value, "reason": standing.reason}
                for key, standing in self._progress.standings.items()
            ],
            "counts": self._meter.to_report(),
            "report": reported,
            "traced": self._parts.tracer.take() if self._parts.tracer is not None else [],
        }

    def _gauge(self) -> None:
        """Bring what is not counted as it happens up to date."""
        self._logs.put_counts(self._meter)
        put_gauges(self._config.slot, self._parts, self._progress.counts)
        self._meter.put("turnout_calls_in_flight", (str(self._config.slot),), self._transport.calls_in_flight())

    def _drain(self) -> None:
        """Finish what was accepted, put it on the disk, and say goodbye."""
        parts = self._parts
        self._services.not_serving()
        self._installer.wishes.close()
        started = time.monotonic()
        finished = self._transport.drain(self._config.grace_s) if self._ready else True
        parts.shadows.close()
        parts.shadow_runs.close()
        parts.journal.close()
        parts.store.close()
        self._send()
        _log.info(
            "worker %d drained in %.2f s%s",
            self._config.slot,
            time.monotonic() - started,
            "" if finished else "; calls were cut off",
        )


def _us_since(began: float) -> int:
    return int((time.monotonic() - began) * 1e6)


def settle_garbage_collector() -> None:
    """Keep the collector away from what lives as long as the process: each scan costs milliseconds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)


def main(arguments: list[str]) -> None:
    """Be a worker: the argument is the link's file descriptor; its first message is the settings."""
    link = Link(socket.socket(fileno=int(arguments[0])))
    config = WorkerConfig(**next(link.messages()))
    logs = start_logs(f"worker-{config.slot}", form=config.log_format, level=config.log_level)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    Worker(config, link, logs).run()
    link.close()
    logging.shutdown()
    os._exit(0)  # threads of libraries must not hold up the end; everything of ours is flushed


if __name__ == "__main__":
    main(sys.argv[1:])
