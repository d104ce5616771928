"""The one table of metrics: each name with its kind, its labels and what it means.

Names follow Prometheus' conventions: base units at the end, ``_total`` on counters. Workers and the control plane count
by these names; the HTTP port shows nothing that does not stand here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a family's numbers are."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"
    """A sum and a count, without quantiles."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric.

    Attributes
    ----------
    name
        Its full name.
    kind
        What its numbers are.
    help
        What it means, in a sentence.
    labels
        The names of its labels.
    bounds
        A histogram's upper bounds, in its own integers: microseconds for times, pieces for sizes.
    unit
        What one of those integers is in the unit of the name.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[int, ...] = ()
    unit: float = 1.0


MICROSECOND = 1e-6

CALL_BOUNDS_US = tuple(round(32 * 2 ** (step / 2)) for step in range(38))
"""From 32 µs to 12 s, two to each doubling."""
WORK_BOUNDS_US = tuple(1000 * 2**step for step in range(18))
"""From 1 ms to 131 s, doubling: loads, swaps, calls of the control port."""
RUN_BOUNDS_US = tuple(8 * 2**step for step in range(18))
"""From 8 µs to 1 s, doubling: runs of a version, reads of the online store."""
SIZE_BOUNDS = tuple(2**step for step in range(11))
"""From 1 to 1024, doubling."""

_VERSION = ("model", "version")
_ARM = ("model", "version", "experiment", "variant")


def _counter(name: str, text: str, *labels: str) -> Family:
    return Family(name, Kind.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: str) -> Family:
    return Family(name, Kind.GAUGE, text, labels)


def _times(name: str, text: str, *labels: str, bounds: tuple[int, ...]) -> Family:
    return Family(name, Kind.HISTOGRAM, text, labels, bounds, MICROSECOND)


_ALL = (
    # Calls and predictions.
    _counter("turnout_calls_total", "Calls of the data port that were answered, by status code.", "method", "code"),
    _counter("turnout_calls_shed_total", "Calls that were refused unread: `overload` or `draining`.", "reason"),
    _counter(
        "turnout_shadow_calls_total",
        "Sampled calls by what became of them in the shadow: paired, failed or dropped.",
        "model",
        "version",
        "result",
    ),
    _gauge("turnout_calls_in_flight", "Calls that a worker has taken and not answered.", "worker"),
    _times("turnout_call_queue_seconds", "From a call's arrival to the beginning of its wave.", bounds=CALL_BOUNDS_US),
    Family("turnout_wave_calls", Kind.HISTOGRAM, "Predictions in a wave; its count is that of waves.", (), SIZE_BOUNDS),
    _counter(
        "turnout_predictions_total",
        "Predictions by what answered them; a version of 0 is none, `reason` is empty when the code is OK.",
        "method",
        *_ARM,
        "code",
        "reason",
    ),
    _times(
        "turnout_prediction_seconds",
        "From a call's arrival to its record in the journal, of predictions that a version answered.",
        *_ARM,
        bounds=CALL_BOUNDS_US,
    ),
    _counter(
        "turnout_predictions_lost_total",
        "Predictions that were answered and could not be journalled.",
        "experiment",
        "variant",
    ),
    _counter(
        "turnout_predictions_fallback_total",
        "Predictions that the control answered because the variant's version is not loaded.",
        "experiment",
        "variant",
    ),
    # Versions.
    _times("turnout_version_run_seconds", "One run of a version over a wave.", *_VERSION, bounds=RUN_BOUNDS_US),
    _counter("turnout_version_rows_total", "Rows that a version ran over.", *_VERSION),
    _counter("turnout_version_loads_total", "Loads of a model's versions: `ready` or `failed`.", "model", "result"),
    _times(
        "turnout_version_load_seconds", "Reading, checking and warming up a version.", "model", bounds=WORK_BOUNDS_US
    ),
    _times(
        "turnout_swap_seconds", "From a desired set's arrival at a worker to its being served.", bounds=WORK_BOUNDS_US
    ),
    _counter(
        "turnout_version_frees_total",
        "Retired versions that were freed, at a `quiet` moment or in a `hurry` when none came.",
        "worker",
        "moment",
    ),
    _counter("turnout_version_free_seconds_total", "How long freeing held the interpreter.", "worker"),
    _gauge("turnout_version_free_max_seconds", "The longest time that freeing one version held it.", "worker"),
    _gauge(
        "turnout_versions_resident_bytes",
        "Memory that versions hold, as far as it was measured: `ready` ones, or `leaving` ones.",
        "worker",
        "state",
    ),
    _gauge("turnout_version_state", "1 for the state that a version is in at a worker.", "worker", *_VERSION, "state"),
    # Features.
    _counter("turnout_feature_reads_total", "Views read for a prediction, by what was found.", "view", "status"),
    Family(
        "turnout_feature_age_seconds",
        Kind.SUMMARY,
        "Ages of the values that were found, by view.",
        ("view",),
        unit=1e-6,
    ),
    _gauge("turnout_feature_age_max_seconds", "The greatest age in the last one to two minutes, by view.", "view"),
    _times("turnout_online_store_read_seconds", "One read of the online store, for a wave.", bounds=RUN_BOUNDS_US),
    _counter("turnout_online_store_failures_total", "Lookups of a wave that the online store did not answer."),
    _gauge(
        "turnout_online_store_open",
        "1 while a worker's circuit is open: the store does not answer and is left alone until it does.",
        "worker",
    ),
    _counter("turnout_online_store_opens_total", "How often that came to be.", "worker"),
    _counter("turnout_online_store_reads_failed_total", "Reads that a worker waited for in vain.", "worker"),
    _counter(
        "turnout_online_store_reads_skipped_total", "Reads that were spared while the circuit was open.", "worker"
    ),
    # Events.
    _counter("turnout_outcomes_total", "Outcomes by what became of them.", "code", "reason"),
    _counter("turnout_journal_records_total", "Records that were appended to the journal."),
    _counter("turnout_journal_bytes_total", "Bytes that were appended to the journal."),
    _counter("turnout_journal_syncs_total", "How often the journal was put on the disk: `done` or `failed`.", "result"),
    _counter("turnout_journal_refusals_total", "Appends that the journal refused."),
    _gauge("turnout_journal_unsynced_bytes", "Appended bytes that are with the kernel only.", "worker"),
    _gauge("turnout_journal_unsynced_age_seconds", "For how long the oldest of them has been.", "worker"),
    _gauge("turnout_journal_segments", "Segments that are not Parquet yet: `open` or `sealed`.", "state"),
    _gauge("turnout_journal_segment_bytes", "Their bytes.", "state"),
    _gauge("turnout_compaction_lag_seconds", "For how long the oldest sealed segment has waited to become Parquet."),
    _counter("turnout_compaction_runs_total", "Runs of the compaction: `done` or `failed`.", "result"),
    _counter("turnout_compaction_records_total", "Records that became Parquet."),
    _gauge("turnout_compaction_failing_segments", "Segments that the last run could not compact."),
    _counter("turnout_shared_segments_total", "Segments exchanged with other gateways: `shipped` or `fetched`.", "way"),
    _counter("turnout_shared_exchanges_failed_total", "Exchanges of events with other gateways that failed."),
    _gauge("turnout_shared_waiting_segments", "Segments that are Parquet here and not in the shared bucket."),
    _gauge("turnout_shared_waiting_bytes", "How long they are."),
    _gauge("turnout_shared_erasures_open", "Erasures that some gateway has not confirmed for what it had shipped."),
    _counter("turnout_journal_cut_bytes_total", "Bytes that were cut off segments whose writer had died."),
    # Processes.
    _gauge("turnout_worker_ready", "Whether a worker answers.", "worker"),
    _gauge("turnout_worker_revision", "The revision that a worker serves.", "worker"),
    _counter("turnout_worker_restarts_total", "How often a worker's process was started again.", "worker"),
    _gauge("turnout_database_silent_seconds", "For how long the metadata database has not answered; 0: it does."),
    _gauge("turnout_revision", "The newest revision that the workers were told of."),
    _counter("turnout_process_cpu_seconds_total", "Processor time, user and system.", "process"),
    _gauge("turnout_process_resident_memory_bytes", "Resident memory.", "process"),
    _gauge("turnout_process_open_fds", "Open file descriptors.", "process"),
    _gauge("turnout_build_info", "1; the version that runs.", "version"),
    # The control port, and telling itself.
    _counter("turnout_control_calls_total", "Calls of the control port, by status code.", "method", "code"),
    _times("turnout_control_call_seconds", "Calls of the control port.", "method", bounds=WORK_BOUNDS_US),
    _counter("turnout_log_messages_total", "Log messages, those held back included.", "process", "level"),
    _counter(
        "turnout_traced_calls_total",
        "Traced calls: `sent`, `failed` to be, or `dropped` since too many waited.",
        "result",
    ),
    _counter(
        "turnout_metric_labels_overflowed_total",
        "How often something was counted under `other` because its family has as many label sets as it may.",
        "family",
    ),
)

FAMILIES: dict[str, Family] = {family.name: family for family in _ALL}
"""All metrics by name."""

OTHER = "other"
"""The value of every label of what is past the bound on label sets."""

OVERFLOWED = "turnout_metric_labels_overflowed_total"

CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""gRPC's status codes by number."""
