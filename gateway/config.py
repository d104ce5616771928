"""What a worker is told at its start."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from features.store import READ_BUDGET_MS
from gateway.telemetry.meter import LABEL_SETS_MAX

if TYPE_CHECKING:
    from gateway.telemetry.logs import LogFormat, LogLevel

ClockKind = Literal["system", "replay"]
TransportKind = Literal["auto", "native", "grpcio"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """The settings of one worker.

    Attributes
    ----------
    slot
        Its place among the workers, from 0.
    state
        The state folder.
    host, port
        Where it serves; all workers share the port.
    transport
        Which transport to open.
    clock
        Which time ages features.
    online, online_budget_ms
        The address of the online store, and how long it may take to answer.
    sync_interval_ms
        How long an event may be with the kernel only; 0 puts it on the disk before the answer.
    segment_bytes_max, segment_age_max_s
        When a segment of the journal is sealed.
    disk_free_bytes_min
        What the journal leaves free of its disk.
    request_bytes_max, calls_max, wave_calls_max, streams_max, stream_calls_max
        The transport's limits.
    slow_run_ms
        A version whose median run takes longer is slow.
    batch_rows_max
        How many rows a batch may have.
    connection_age_max_s, connection_grace_s
        How long a connection may last, and how long its calls may go on after that; an age of 0: for ever.
    resident_bytes_max
        How much memory all versions may take together; 0: no bound.
    grace_s
        How long calls in flight may take to finish at the stop.
    metric_label_sets_max
        How many label sets a metric may have.
    log_format, log_level
        How its log is written, and from which level on.
    trace_ratio
        Which share of the calls whose callers say nothing is traced; None: no call is, whatever its caller says.
    trusted_keys
        The folder of the keys whose signatures are taken; empty: none.
    require_signatures
        Whether only versions that one of them signed are loaded.
    tokens
        The file of identities; empty: none.
    tls_cert, tls_key, tls_client_ca
        The port's certificate, its key, and whose certificates clients must show; empty: none.
    """

    slot: int
    state: str
    host: str
    port: int
    transport: TransportKind = "auto"
    clock: ClockKind = "system"
    online: str = ""
    online_budget_ms: int = READ_BUDGET_MS
    sync_interval_ms: float = 50.0
    segment_bytes_max: int = 64 * 1024 * 1024
    segment_age_max_s: float = 300.0
    disk_free_bytes_min: int = 0
    request_bytes_max: int = 16 * 1024 * 1024
    calls_max: int = 256
    wave_calls_max: int = 64
    slow_run_ms: float = 5.0
    streams_max: int = 64
    stream_calls_max: int = 32
    batch_rows_max: int = 4096
    connection_age_max_s: float = 0.0
    connection_grace_s: float = 30.0
    resident_bytes_max: int = 0
    grace_s: float = 10.0
    metric_label_sets_max: int = LABEL_SETS_MAX
    log_format: LogFormat = "text"
    log_level: LogLevel = "info"
    trace_ratio: float | None = None
    trusted_keys: str = ""
    require_signatures: bool = False
    tokens: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_client_ca: str = ""

    @property
    def folders(self) -> StateFolders:
        """Where things are."""
        return StateFolders(Path(self.state))

    def document(self) -> dict[str, Any]:
        """Return the settings as JSON knows them."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class StateFolders:
    """Where a gateway keeps what; everything is below one folder."""

    state: Path

    @property
    def database_url(self) -> str:
        """The address of the embedded metadata database."""
        return f"sqlite:///{self.state / 'turnout.db'}"

    @property
    def artifacts(self) -> Path:
        """ONNX files and probe rows by their digests."""
        return self.state / "artifacts"

    @property
    def online_url(self) -> str:
        """The address of the embedded online store."""
        return f"lmdb://{self.state / 'online'}"

    @property
    def journal(self) -> Path:
        """Segments that are written or wait for compaction."""
        return self.state / "journal"

    @property
    def tables(self) -> Path:
        """Desired sets by revision."""
        return self.state / "tables"

    @property
    def clock(self) -> Path:
        """The replay clock's cell."""
        return self.state / "clock"

    @property
    def run(self) -> Path:
        """What belongs to the running processes only."""
        return self.state / "run"

    @property
    def shared(self) -> Path:
        """What machines that do shares of one piece of work tell each other, while they do."""
        return self.state / "shared"
