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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from features.guard import GuardedStore
from features.store import open_store
from gateway.access.access import Access
from gateway.bootstrap.link import Link
from gateway.bootstrap.services import DataServices
from gateway.bootstrap.stopping import StopRequest
from gateway.config import WorkerConfig
from gateway.inference.grpc_service_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from gateway.journal.writer import JournalWriter
from gateway.models.loader import load_slot
from gateway.models.session import PROVIDERS
from gateway.models.turns import Turns
from gateway.rpc import data_plane
from gateway.rpc.gate import Gate
from gateway.rpc.guard import guarded
from gateway.rpc.inference_service import InferenceService
from gateway.rpc.status import number_of
from gateway.rpc.traced import TracedDataPlane
from gateway.serving.installer import Installer
from gateway.serving.outcomes import OutcomeRecorder
from gateway.serving.pipeline import Pipeline, PipelineLimits
from gateway.serving.shadow_runs import ShadowRuns
from gateway.serving.shadows import Shadows
from gateway.serving.standing import NOTHING_APPLIED, Progress
from gateway.serving.tally import Tally
from gateway.telemetry.logs import start_logs
from gateway.telemetry.meter import Meter
from gateway.telemetry.tracing import Tracer
from gateway.telemetry.vitals import put_vitals
from gateway.transport.port import Limits, Wiring
from gateway.transport.select import open_transport
from gateway.transport.tls import Certificates, TlsFiles
from registry.keys import TrustedKeys
from storage.clock import ReplayClock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import grpc

    from features.store import OnlineStore
    from gateway.models.slots import Slot, VersionKey
    from gateway.telemetry.logs import Logs
    from gateway.transport.port import Transport
    from storage.clock import Clock

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
        folders = config.folders
        clock: Clock = ReplayClock(folders.clock) if config.clock == "replay" else SystemClock()
        self._meter = Meter(config.metric_label_sets_max)
        self._tally = Tally(self._meter, number_of)
        self._tracer = None
        if config.trace_ratio is not None:
            self._tracer = Tracer(f"worker-{config.slot}", ratio=config.trace_ratio, meter=self._meter)
        open_journal = partial(
            JournalWriter,
            folders.journal,
            clock=clock,
            segment_bytes_max=config.segment_bytes_max,
            segment_age_max_s=config.segment_age_max_s,
        )
        self._journal = open_journal(name=f"worker-{config.slot}", sync_interval_ms=config.sync_interval_ms)
        self._store = _open_online(config)
        pipeline = Pipeline(
            store=self._store,
            journal=self._journal,
            clock=clock,
            tally=self._tally,
            code_of=number_of,
            limits=PipelineLimits(
                slow_run_s=config.slow_run_ms / 1000,
                calls_max=config.calls_max,
                wave_calls_max=config.wave_calls_max,
            ),
        )
        self._turns = Turns(folders.run / "loading")
        waves = self._meter.series("turnout_wave_calls")
        self._shadow_runs = ShadowRuns(
            store=self._store,
            open_journal=partial(open_journal, name=f"shadow-{config.slot}"),
            clock=clock,
            code_of=number_of,
        )
        self._shadows = Shadows(
            run=self._shadow_runs.run,
            table=lambda: pipeline.table,
            others_cpu_s=lambda: time.process_time() - time.thread_time(),
            in_flight=self._calls_in_flight,
            meter=self._meter,
        )
        pipeline.shadow_by(self._shadows)
        self._keys = TrustedKeys(
            Path(config.trusted_keys) if config.trusted_keys else None, required=config.require_signatures
        )
        self._installer = Installer(
            pipeline=pipeline,
            load=self._load,
            make_heads=data_plane.heads_of,
            report=self._report,
            activity=lambda: waves.total,
            resident_bytes_max=config.resident_bytes_max,
            spread_hold=self._send_hold,
        )
        self._inference = InferenceService(  # type: ignore[abstract]  # inferences are answered in waves
            table=lambda: pipeline.table,
            wishes=self._installer.wishes,
            counts_of=self._tally.of_version,
            is_ready=lambda: self._ready and not self._stop.is_asked,
        )
        self._services = DataServices(data_plane.SERVICES)
        open_plane = data_plane.DataPlane if self._tracer is None else partial(TracedDataPlane, self._tracer)
        tls = _tls_of(config)
        access = Access(Path(config.tokens) if config.tokens else None, certificates=bool(config.tls_client_ca))
        plane = open_plane(
            pipeline=pipeline,
            outcomes=OutcomeRecorder(journal=self._journal, tally=self._tally),
            clock=clock,
            meter=self._meter,
            batch_rows_max=config.batch_rows_max,
            gate=Gate(access, data_plane.PATHS) if access.asks else None,
        )
        self._transport: Transport = open_transport(
            config.transport,
            Wiring(
                address=f"{config.host}:{config.port}",
                methods=data_plane.METHODS,
                streams=data_plane.STREAMS,
                answer=plane.answer,
                add_services=lambda server: self._add_services(guarded(server, access)),
                limits=Limits(
                    request_bytes_max=config.request_bytes_max,
                    calls_max=config.calls_max,
                    wave_calls_max=config.wave_calls_max,
                    streams_max=config.streams_max,
                    stream_calls_max=config.stream_calls_max,
                    connection_age_max_s=config.connection_age_max_s,
                    connection_grace_s=config.connection_grace_s,
                ),
                shed=plane.shed,
                close=plane.close,
                kind_of=plane.kind_of,
                opens=plane.opens,
                tls=None if tls is None else Certificates(tls),
            ),
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
            document = json.loads(Path(message["table"]).read_text())
            self._offered_at[document["revision"]] = time.monotonic()
            self._installer.wishes.offer(document)
        self._stop.ask()

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
            "traced": self._tracer.take() if self._tracer is not None else [],
        }

    def _gauge(self) -> None:
        """Bring what is not counted as it happens up to date."""
        meter = self._meter
        worker = (str(self._config.slot),)
        self._tally.settle()
        self._logs.put_counts(meter)
        put_vitals(meter, f"worker-{self._config.slot}")
        if isinstance(self._store, GuardedStore):
            guard = self._store.facts()
            meter.put("turnout_online_store_open", worker, int(guard.is_open))
            meter.put("turnout_online_store_opens_total", worker, guard.opened)
            meter.put("turnout_online_store_reads_failed_total", worker, guard.failed)
            meter.put("turnout_online_store_reads_skipped_total", worker, guard.skipped)
        facts = self._journal.facts()
        meter.put("turnout_journal_records_total", (), facts.records)
        meter.put("turnout_journal_bytes_total", (), facts.appended_bytes)
        meter.put("turnout_journal_syncs_total", ("done",), facts.syncs)
        meter.put("turnout_journal_syncs_total", ("failed",), facts.failed_syncs)
        meter.put("turnout_journal_refusals_total", (), facts.failed_appends)
        meter.put("turnout_journal_unsynced_bytes", worker, facts.unsynced_bytes)
        meter.put("turnout_journal_unsynced_age_seconds", worker, facts.unsynced_s)
        counts = self._progress.counts
        if counts:
            hurried = counts["freed_in_a_hurry"]
            meter.put("turnout_version_frees_total", (*worker, "quiet"), counts["freed"] - hurried)
            meter.put("turnout_version_frees_total", (*worker, "hurry"), hurried)
            meter.put("turnout_version_free_seconds_total", worker, counts["free_s_sum"])
            meter.put("turnout_version_free_max_seconds", worker, counts["free_s_max"])
            meter.put("turnout_versions_resident_bytes", (*worker, "ready"), counts["resident_bytes"])
            meter.put("turnout_versions_resident_bytes", (*worker, "leaving"), counts["leaving_bytes"])
        meter.put("turnout_calls_in_flight", worker, self._transport.calls_in_flight())

    def _drain(self) -> None:
        """Finish what was accepted, put it on the disk, and say goodbye."""
        self._services.not_serving()
        self._installer.wishes.close()
        started = time.monotonic()
        finished = self._transport.drain(self._config.grace_s) if self._ready else True
        self._shadows.close()
        self._shadow_runs.close()
        self._journal.close()
        self._store.close()
        self._send()
        _log.info(
            "worker %d drained in %.2f s%s",
            self._config.slot,
            time.monotonic() - started,
            "" if finished else "; calls were cut off",
        )


def _us_since(began: float) -> int:
    return int((time.monotonic() - began) * 1e6)


def _tls_of(config: WorkerConfig) -> TlsFiles | None:
    """Return where the port's certificate is; None: it speaks without TLS."""
    if not config.tls_cert:
        return None
    client_ca = Path(config.tls_client_ca) if config.tls_client_ca else None
    return TlsFiles(certificate=Path(config.tls_cert), key=Path(config.tls_key), client_ca=client_ca)


def _open_online(config: WorkerConfig) -> OnlineStore:
    """Return the online store, behind a guard where it is far."""
    url = config.online or config.folders.online_url
    store = open_store(url, writable=False, read_budget_ms=config.online_budget_ms)
    return GuardedStore(store, read_budget_ms=config.online_budget_ms) if store.far else store


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
