"""Traces: which calls are traced, and what is noted of them on the way.

A call is traced when its caller traces it (W3C Trace Context), or by lot when its caller says nothing. What is noted of
it is put into a bounded queue, from which a report takes it to the control plane; nothing here knows how traces leave
the machine, and a call never waits for that. A process whose tracing is off has no tracer at all.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.telemetry.meter import Meter

TRACES_MAX = 2048
"""How many traced calls wait to be taken; further ones are dropped, and counted."""

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1
_STATE_CHARS_MAX = 512
_NS = 1_000_000_000


class Parent(NamedTuple):
    """Where a trace comes from: its id, the caller's span and the vendors' state; all empty for a trace that begins."""

    trace_id: str = ""
    span_id: str = ""
    state: str = ""


class TracedCall(NamedTuple):
    """What is noted of one call. Times are nanoseconds since the Unix epoch.

    Attributes
    ----------
    name
        The method.
    process
        Who answered.
    parent
        Where the trace comes from.
    begin_ns, end_ns
        From the arrival to the answer.
    steps
        What was done from the beginning on, each with the time of its end.
    attributes
        What is known of the call.
    error
        Why it failed; empty when it did not.
    """

    name: str
    process: str
    parent: Parent
    begin_ns: int
    end_ns: int
    steps: list[tuple[str, int]]
    attributes: dict[str, str | int]
    error: str

    @classmethod
    def from_json(cls, parts: list[Any]) -> TracedCall:
        """Return what another process noted and sent as JSON."""
        name, process, parent, begin_ns, end_ns, steps, attributes, error = parts
        return cls(name, process, Parent(*parent), begin_ns, end_ns, [(s, t) for s, t in steps], attributes, error)


class Tracer:
    """Decides which calls are traced, and keeps what was noted of them until it is taken.

    Parameters
    ----------
    process
        What this process is called.
    ratio
        Which share of the calls whose callers say nothing is traced.
    meter
        Counts what was dropped.
    """

    def __init__(self, process: str, *, ratio: float, meter: Meter) -> None:
        self.process = process
        self._ratio = ratio
        self._meter = meter
        self._kept: deque[TracedCall] = deque()
        self._lock = threading.Lock()

    def parent_of(self, metadata: Sequence[tuple[str, str | bytes]]) -> Parent | None:
        """Return where a call's trace comes from; None when the call is not traced."""
        for key, value in metadata:
            if key == "traceparent":
                found = _TRACEPARENT.fullmatch(_text(value))
                if found is None:
                    break  # as the standard has it: who cannot be understood has said nothing
                trace_id, span_id, flags, _ = found.groups()
                return Parent(trace_id, span_id, _state_in(metadata)) if int(flags, 16) & _SAMPLED else None
        return Parent() if random.random() < self._ratio else None  # noqa: S311  (a lot, not a secret)

    def note(
        self,
        name: str,
        parent: Parent,
        *,
        began: float,
        steps: Sequence[tuple[str, float]],
        attributes: dict[str, str | int],
        error: str = "",
    ) -> None:
        """Keep what is known of a call that was answered now; the times are those of the monotonic clock."""
        end_ns = time.time_ns()
        epoch_ns = end_ns - time.monotonic_ns()
        noted = [(step, epoch_ns + int(end * _NS)) for step, end in steps]
        begin_ns = epoch_ns + int(began * _NS)
        call = TracedCall(name, self.process, parent, begin_ns, end_ns, noted, attributes, error)
        with self._lock:
            dropped = len(self._kept) >= TRACES_MAX
            if not dropped:
                self._kept.append(call)
        if dropped:
            self._meter.count("turnout_traced_calls_total", ("dropped",))

    def take(self) -> list[TracedCall]:
        """Return what was kept, and keep it no more."""
        with self._lock:
            taken, self._kept = list(self._kept), deque()
        return taken


class Watch:
    """When a wave with traced calls did what.

    Attributes
    ----------
    began
        When it was taken up, on the monotonic clock.
    steps
        What was done since a call's arrival, each with the time of its end.
    """

    __slots__ = ("began", "steps")

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.steps: list[tuple[str, float]] = [("queue", self.began)]

    def mark(self, step: str) -> None:
        """Say that a step ends now."""
        self.steps.append((step, time.monotonic()))

    @staticmethod
    def now(step: str) -> tuple[str, float]:
        """Return a step of one call that ends now."""
        return step, time.monotonic()


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("ascii", "replace")


def _state_in(metadata: Sequence[tuple[str, str | bytes]]) -> str:
    state = next((_text(value) for key, value in metadata if key == "tracestate"), "")
    return state if len(state) <= _STATE_CHARS_MAX else ""
