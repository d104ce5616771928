"""What a gateway may be told."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  (pydantic reads the annotations when the class is made)
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from features.store import READ_BUDGET_MS
from gateway.config import ClockKind, StateFolders, TransportKind, WorkerConfig
from gateway.telemetry.logs import LogFormat, LogLevel  # noqa: TC001  (pydantic reads them)
from gateway.telemetry.meter import LABEL_SETS_MAX
from gateway.transport.tls import TlsFiles
from storage.ray_crew import ROWS_MIN, SHARES

Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """The settings of a gateway; `gateway.bootstrap.sources` says where they come from.

    Attributes
    ----------
    state
        The folder that holds everything.
    workers
        How many worker processes answer predictions.
    host
        The address that all ports are bound to.
    zone
        Where this gateway is, in your words: told to those who list the gateways.
    data_port, http_port, control_port
        The ports; 0 picks a free one.
    ready_file
        Written when all workers answer: JSON with data, http, control, pids.
    clock
        Which time everything ages by; `replay` stands still until an admin moves it.
    transport
        Which transport the workers open.
    database
        The address of the metadata database; empty: the embedded one. Where it holds a password,
        give it by the environment.
    online
        The address of the online store; empty: the embedded one. Where it holds a password, give it by the environment.
    wakeups
        The address of a Redis, as for `online`, by which gateways on one metadata database tell each other at once that
        something was changed; empty: each finds out by looking, four times a second.
    stale_max_s
        After how long without the metadata database's word predictions are refused with UNAVAILABLE; 0: what is known
        is served for ever.
    online_budget_ms
        How long an online store that is reached over a network may take to answer a prediction's read.
    artifacts
        Where artifacts are kept, as ``s3://bucket/prefix?endpoint=…&region=…``, with credentials from the environment
        (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY); empty: in the state folder, which otherwise holds copies.
    events
        The bucket that gateways on one metadata database share their events in, as ``s3://bucket/prefix?endpoint=…``;
        empty: this gateway analyses what it journalled itself, which is all where it is the only one.
    sync_interval_ms
        How long an event may be with the kernel only; 0 puts it on the disk before the answer.
    segment_bytes_max, segment_age_max_s
        When a segment of the journal is sealed and the next one begun.
    disk_free_bytes_min
        What the journal leaves free of its disk: while there is less, predictions are answered and counted as lost, and
        outcomes are refused, as on a full disk. It bounds what piles up while the bucket of `events` is away.
    compact_interval_s
        How often sealed segments become Parquet.
    predictions_kept_days, outcomes_kept_days
        For how many days events are kept once they are Parquet; 0: for ever.
    query_bytes_max
        How much memory a reading of the events may take, an analysis for example, before it goes to temporary files.
    ray
        The address of a Ray cluster, HOST:PORT of its head, that does what outgrows one machine: analyses, training
        tables and materializations; empty: all is done here. This machine is one of its nodes, and all of them see
        the state folder and the sources under their paths here.
    ray_shares
        Into how many shares such work is cut; at best as many as the cluster has processors.
    ray_rows_min
        Work on fewer rows than these, events or labels or rows of a view, is done here all the same.
    request_bytes_max, calls_max, wave_calls_max, streams_max, stream_calls_max, batch_rows_max
        The data port's limits, per worker.
    slow_run_ms
        A version whose median run over the calls of a wave takes longer is slow: its calls are answered beside the
        waves, hold up no others, and may be half of `calls_max` at the most.
    connection_age_max_s
        How long a connection to the data port may last before its client is asked to open another one, so that clients
        spread over the workers; 0: for ever.
    connection_grace_s
        How long the calls on such a connection may go on.
    resident_bytes_max
        How much memory the versions in one worker may take together; 0: no bound.
    resident_previous
        How many champions before the present one stay loaded, so that a rollback to them is instant.
    channels
        The TOML file that says which channels people are told by (mail, Slack and others), and where each one's address
        is; none: there are none.
    webhook_private
        Whether webhooks may point to this machine and to private networks.
    webhook_timeout_s
        How long a receiver may take to answer.
    webhook_retry_s, webhook_attempts_max
        The pause before the second attempt, which doubles with each further one, and after how many attempts a delivery
        is given up.
    grace_s
        How long calls in flight may take to finish at the stop.
    metric_label_sets_max
        How many label sets a metric may have, in each process and in the sum; further ones are counted as `other`.
    log_format, log_level
        How the logs are written, `text` or `json`, and from which level on: `debug`, `info`, `warning` or `error`.
    trace_otlp
        Where traces are sent, by OTLP over HTTP, for example `http://127.0.0.1:4318`; empty: nothing is traced.
    trace_ratio
        Which share of the calls is traced whose callers say nothing of it; a caller's own decision is followed.
    feature_code
        A folder with the Python modules whose functions feature views may name; none: views are SQL.
    trusted_keys
        A folder with the public keys, ``NAME.pub``, of those whose signatures are taken; none: nobody's are.
    require_signatures
        Whether only versions that a trusted key signed are published and loaded.
    tokens
        The file that says who may do what, as `turnout tokens` writes it; none: callers are asked for no token.
    tls_cert, tls_key
        The certificate of all ports and its private key, PEM; none: no TLS.
    tls_client_ca
        Whose certificates clients must show; none: they show none. The HTTP port lets in those that show none, for its
        health.
    http_origins
        The sites whose pages may call the HTTP port from a browser, as origins with commas between them
        (``https://app.example.com``); ``*``: all; empty: none.
    insecure
        Whether a port that strangers reach may be open to all, or may take tokens in clear.
    """

    model_config = SettingsConfigDict(env_prefix="TURNOUT_", extra="ignore", frozen=True)

    state: Path
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    host: str = "127.0.0.1"
    zone: Annotated[str, Field(max_length=64)] = ""
    data_port: Port = 8001
    http_port: Port = 8002
    control_port: Port = 8003
    ready_file: Path | None = None
    clock: ClockKind = "system"
    transport: TransportKind = "auto"
    database: str = ""
    online: str = ""
    wakeups: str = ""
    stale_max_s: Annotated[float, Field(ge=0, le=31_536_000)] = 0.0
    online_budget_ms: Annotated[int, Field(ge=1, le=10_000)] = READ_BUDGET_MS
    artifacts: str = ""
    events: str = ""
    sync_interval_ms: Annotated[float, Field(ge=0, le=60_000)] = 50.0
    segment_bytes_max: Annotated[int, Field(ge=64 * 1024, le=1 << 30)] = 64 * 1024 * 1024
    segment_age_max_s: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    disk_free_bytes_min: Annotated[int, Field(ge=0)] = 0
    compact_interval_s: Annotated[float, Field(gt=0, le=86_400)] = 30.0
    predictions_kept_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    outcomes_kept_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    query_bytes_max: Annotated[int, Field(ge=64 * 1024 * 1024)] = 1024 * 1024 * 1024
    ray: str = ""
    ray_shares: Annotated[int, Field(ge=1, le=4096)] = SHARES
    ray_rows_min: Annotated[int, Field(ge=0)] = ROWS_MIN
    request_bytes_max: Annotated[int, Field(ge=1024, le=1 << 30)] = 16 * 1024 * 1024
    calls_max: Annotated[int, Field(ge=1, le=65_536)] = 256
    wave_calls_max: Annotated[int, Field(ge=1, le=1024)] = 64
    slow_run_ms: Annotated[float, Field(gt=0, le=60_000)] = 5.0
    streams_max: Annotated[int, Field(ge=1, le=1024)] = 64
    stream_calls_max: Annotated[int, Field(ge=1, le=1024)] = 32
    batch_rows_max: Annotated[int, Field(ge=1, le=65_536)] = 4096
    connection_age_max_s: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    connection_grace_s: Annotated[float, Field(gt=0, le=3600)] = 30.0
    resident_bytes_max: Annotated[int, Field(ge=0)] = 0
    resident_previous: Annotated[int, Field(ge=0, le=8)] = 1
    channels: Path | None = None
    webhook_private: bool = False
    webhook_timeout_s: Annotated[float, Field(gt=0, le=60)] = 10.0
    webhook_retry_s: Annotated[float, Field(gt=0, le=3600)] = 1.0
    webhook_attempts_max: Annotated[int, Field(ge=1, le=100)] = 20
    grace_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    metric_label_sets_max: Annotated[int, Field(ge=1, le=100_000)] = LABEL_SETS_MAX
    log_format: LogFormat = "text"
    log_level: LogLevel = "info"
    trace_otlp: str = ""
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    feature_code: Path | None = None
    trusted_keys: Path | None = None
    require_signatures: bool = False
    tokens: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    http_origins: str = ""
    insecure: bool = False

    @property
    def tls(self) -> TlsFiles | None:
        """Where the certificate of all ports is; None: they speak without TLS."""
        if self.tls_cert is None or self.tls_key is None:
            return None
        return TlsFiles(certificate=self.tls_cert, key=self.tls_key, client_ca=self.tls_client_ca)

    @property
    def folders(self) -> StateFolders:
        """Where things are."""
        return StateFolders(self.state.absolute())

    @property
    def database_url(self) -> str:
        """The address of the metadata database."""
        return self.database or self.folders.database_url

    @property
    def online_url(self) -> str:
        """The address of the online store."""
        return self.online or self.folders.online_url

    def worker(self, slot: int, data_port: int) -> WorkerConfig:
        """Return what a worker is told."""
        return WorkerConfig(
            slot=slot,
            state=str(self.state.absolute()),
            host=self.host,
            port=data_port,
            transport=self.transport,
            clock=self.clock,
            online=self.online_url,
            online_budget_ms=self.online_budget_ms,
            sync_interval_ms=self.sync_interval_ms,
            segment_bytes_max=self.segment_bytes_max,
            segment_age_max_s=self.segment_age_max_s,
            disk_free_bytes_min=self.disk_free_bytes_min,
            request_bytes_max=self.request_bytes_max,
            calls_max=self.calls_max,
            wave_calls_max=self.wave_calls_max,
            slow_run_ms=self.slow_run_ms,
            streams_max=self.streams_max,
            stream_calls_max=self.stream_calls_max,
            batch_rows_max=self.batch_rows_max,
            connection_age_max_s=self.connection_age_max_s,
            connection_grace_s=self.connection_grace_s,
            resident_bytes_max=self.resident_bytes_max,
            grace_s=self.grace_s,
            metric_label_sets_max=self.metric_label_sets_max,
            log_format=self.log_format,
            log_level=self.log_level,
            trace_ratio=self.trace_ratio if self.trace_otlp else None,
            trusted_keys=_text(self.trusted_keys),
            require_signatures=self.require_signatures,
            tokens=_text(self.tokens),
            tls_cert=_text(self.tls_cert),
            tls_key=_text(self.tls_key),
            tls_client_ca=_text(self.tls_client_ca),
        )


def _text(path: Path | None) -> str:
    """Return a path that a worker understands wherever it runs; empty for none."""
    return "" if path is None else str(path.absolute())
