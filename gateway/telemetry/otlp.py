"""Traces on their way out: spans by the OpenTelemetry SDK, sent by OTLP over HTTP. The one module that knows both.

Only the control plane loads it, and only when it was told where traces go (the extra `turnout[otel]`).
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from gateway.telemetry.meter import Meter
    from gateway.telemetry.tracing import TracedCall

CALLS_MAX = 8192
"""How many traced calls wait to be sent; further ones are dropped, and counted."""
BATCH_CALLS_MAX = 256
SEND_INTERVAL_S = 0.5
SEND_TIMEOUT_S = 3.0

_PATH = "/v1/traces"
_log = logging.getLogger(__name__)


class SpanSender:
    """Sends what was traced, on a thread of its own.

    Parameters
    ----------
    url
        Where to: an OTLP receiver's address over HTTP; a path may be left out.
    version
        The version of Turnout, for the receiver.
    meter
        Counts the calls that were sent, that failed to be, and that there was no room for.
    more
        Gives what else was traced, whenever something is sent.
    """

    def __init__(self, url: str, *, version: str, meter: Meter, more: Callable[[], Iterable[TracedCall]]) -> None:
        endpoint = url if urlsplit(url).path.strip("/") else url.rstrip("/") + _PATH
        self._exporter = OTLPSpanExporter(endpoint=endpoint, timeout=SEND_TIMEOUT_S)
        self._version = version
        self._meter = meter
        self._more = more
        self._resources: dict[str, Resource] = {}
        self._scope = InstrumentationScope("turnout", version)
        self._waiting: deque[TracedCall] = deque()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def offer(self, calls: Iterable[TracedCall]) -> None:
        """Take traced calls to be sent, as far as there is room."""
        dropped = 0
        with self._lock:
            for call in calls:
                if len(self._waiting) < CALLS_MAX:
                    self._waiting.append(call)
                else:
                    dropped += 1
        if dropped:
            self._meter.count("turnout_traced_calls_total", ("dropped",), dropped)

    def close(self) -> None:
        """Send what waits, once, and stop."""
        self._stop.set()
        self._thread.join(SEND_TIMEOUT_S + SEND_INTERVAL_S)
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _run(self) -> None:
        stopping = False
        while not stopping:
            stopping = self._stop.wait(SEND_INTERVAL_S)
            self.offer(self._more())
            while self._send():
                pass

    def _send(self) -> bool:
        """Send a batch; return whether more wait."""
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_CALLS_MAX))]
        if not batch:
            return False
        try:
            sent = self._exporter.export([span for call in batch for span in self._spans(call)])
            failed = sent is not SpanExportResult.SUCCESS
        except Exception:  # noqa: BLE001  (the thread must outlive whatever a receiver answers)
            _log.exception("traces could not be sent")
            failed = True
        self._meter.count("turnout_traced_calls_total", ("failed" if failed else "sent",), len(batch))
        return not failed and bool(self._waiting)

    def _spans(self, call: TracedCall) -> Iterator[ReadableSpan]:
        """Give a call's span and those of its steps."""
        trace_id = int(call.parent.trace_id, 16) if call.parent.trace_id else random.getrandbits(128) or 1
        state = TraceState.from_header([call.parent.state]) if call.parent.state else None
        parent = _context(trace_id, int(call.parent.span_id, 16), state) if call.parent.span_id else None
        own = _context(trace_id, _span_id(), state)
        resource = self._resource(call.process)
        status = Status(StatusCode.ERROR, call.error) if call.error else Status(StatusCode.UNSET)
        yield ReadableSpan(
            call.name,
            own,
            parent,
            resource,
            call.attributes,
            kind=SpanKind.SERVER,
            status=status,
            start_time=call.begin_ns,
            end_time=call.end_ns,
            instrumentation_scope=self._scope,
        )
        begin_ns = call.begin_ns
        for step, end_ns in call.steps:
            yield ReadableSpan(
                step,
                _context(trace_id, _span_id(), state),
                own,
                resource,
                start_time=begin_ns,
                end_time=end_ns,
                instrumentation_scope=self._scope,
            )
            begin_ns = end_ns

    def _resource(self, process: str) -> Resource:
        found = self._resources.get(process)
        if found is None:
            found = self._resources[process] = Resource.create(
                {"service.name": "turnout", "service.version": self._version, "service.instance.id": process}
            )
        return found


def _span_id() -> int:
    return random.getrandbits(64) or 1


def _context(trace_id: int, span_id: int, state: TraceState | None) -> SpanContext:
    return SpanContext(
        trace_id, span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED), trace_state=state
    )
