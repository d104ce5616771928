"""What a worker is made of, put together once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from features.guard import GuardedStore
from features.store import open_store
from gateway.journal.writer import JournalWriter
from gateway.rpc import data_plane
from gateway.rpc.gate import Gate
from gateway.rpc.status import number_of
from gateway.rpc.traced import TracedDataPlane
from gateway.serving.outcomes import OutcomeRecorder
from gateway.serving.pipeline import Pipeline, PipelineLimits
from gateway.serving.shadow_runs import ShadowRuns
from gateway.serving.shadows import Shadows
from gateway.serving.tally import Tally
from gateway.telemetry.meter import Meter
from gateway.telemetry.tracing import Tracer
from gateway.transport.port import Limits, Wiring
from gateway.transport.select import open_transport
from gateway.transport.tls import Certificates, TlsFiles
from storage.clock import ReplayClock, SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from features.store import OnlineStore
    from gateway.access.access import Access
    from gateway.config import WorkerConfig
    from gateway.transport.port import Transport
    from storage.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts that answer calls, and what they share.

    Attributes
    ----------
    clock
        What ages features and stamps events.
    meter, tally, tracer
        The numbers, what counts the calls into them, and what notes traces; None where nobody traces.
    journal, store
        Where calls are written and features are read.
    pipeline, shadows, shadow_runs
        What answers, what follows it in quiet moments, and what that runs.
    """

    clock: Clock
    meter: Meter
    tally: Tally
    tracer: Tracer | None
    journal: JournalWriter
    store: OnlineStore
    pipeline: Pipeline
    shadows: Shadows
    shadow_runs: ShadowRuns


def make_parts(config: WorkerConfig, in_flight: Callable[[], int]) -> Parts:
    """Return the parts of a worker; shadows ask how many calls are in flight."""
    folders = config.folders
    clock: Clock = ReplayClock(folders.clock) if config.clock == "replay" else SystemClock()
    meter = Meter(config.metric_label_sets_max)
    tally = Tally(meter, number_of)
    tracer = None
    if config.trace_ratio is not None:
        tracer = Tracer(f"worker-{config.slot}", ratio=config.trace_ratio, meter=meter)
    open_journal = partial(
        JournalWriter,
        folders.journal,
        clock=clock,
        segment_bytes_max=config.segment_bytes_max,
        segment_age_max_s=config.segment_age_max_s,
        free_bytes_min=config.disk_free_bytes_min,
    )
    journal = open_journal(name=f"worker-{config.slot}", sync_interval_ms=config.sync_interval_ms)
    store = _open_online(config)
    limits = PipelineLimits(
        slow_run_s=config.slow_run_ms / 1000, calls_max=config.calls_max, wave_calls_max=config.wave_calls_max
    )
    pipeline = Pipeline(store=store, journal=journal, clock=clock, tally=tally, code_of=number_of, limits=limits)
    open_shadow_journal = partial(open_journal, name=f"shadow-{config.slot}")
    shadow_runs = ShadowRuns(store=store, open_journal=open_shadow_journal, clock=clock, code_of=number_of)
    shadows = Shadows(
        run=shadow_runs.run,
        table=lambda: pipeline.table,
        others_cpu_s=lambda: time.process_time() - time.thread_time(),
        in_flight=in_flight,
        meter=meter,
    )
    pipeline.shadow_by(shadows)
    return Parts(
        clock=clock,
        meter=meter,
        tally=tally,
        tracer=tracer,
        journal=journal,
        store=store,
        pipeline=pipeline,
        shadows=shadows,
        shadow_runs=shadow_runs,
    )


def make_plane(config: WorkerConfig, parts: Parts, access: Access) -> data_plane.DataPlane:
    """Return the edge that the port's calls go through."""
    make = data_plane.DataPlane if parts.tracer is None else partial(TracedDataPlane, parts.tracer)
    return make(
        pipeline=parts.pipeline,
        outcomes=OutcomeRecorder(journal=parts.journal, tally=parts.tally),
        clock=parts.clock,
        meter=parts.meter,
        batch_rows_max=config.batch_rows_max,
        gate=Gate(access, data_plane.PATHS) if access.asks else None,
    )


def open_port(
    config: WorkerConfig, plane: data_plane.DataPlane, add_services: Callable[[grpc.Server], None]
) -> Transport:
    """Return the transport of the worker's port, which does not take calls yet."""
    tls = _tls_of(config)
    limits = Limits(
        request_bytes_max=config.request_bytes_max,
        calls_max=config.calls_max,
        wave_calls_max=config.wave_calls_max,
        streams_max=config.streams_max,
        stream_calls_max=config.stream_calls_max,
        connection_age_max_s=config.connection_age_max_s,
        connection_grace_s=config.connection_grace_s,
    )
    wiring = Wiring(
        address=f"{config.host}:{config.port}",
        methods=data_plane.METHODS,
        streams=data_plane.STREAMS,
        answer=plane.answer,
        add_services=add_services,
        limits=limits,
        shed=plane.shed,
        close=plane.close,
        kind_of=plane.kind_of,
        opens=plane.opens,
        tls=None if tls is None else Certificates(tls),
    )
    return open_transport(config.transport, wiring)


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
