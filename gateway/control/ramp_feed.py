"""The calls of ramped experiments, from the journal as they are written.

The journal has each call before its answer leaves, with what assigned it and what became of it: so nothing is counted
on the way of a prediction, and what a ramp is judged by is what an analysis would find. Frames that do not name a
followed experiment are passed over unread. What came before the feed began is not given out: whoever begins anew
counts anew.
"""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from experiments.ramp.definition import GuardrailKind
from experiments.ramp.safety import Sighting
from experiments.ramp.usual import Took
from features.lookup import MISSING, STALE, UNAVAILABLE
from gateway.journal.errors import RecordUnreadableError, SegmentDamagedError
from gateway.journal.record import PREDICTION_KIND, Prediction, decode
from gateway.journal.segment import HEADER_BYTES, SEALED, list_segments, read_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from experiments.ramp.definition import Guardrail, Ramp
    from gateway.journal.record import Output

CALLS_PER_POLL_MAX = 20_000
"""Calls of an experiment that are looked at in one poll; the rest of a greater crowd is passed over, good or bad."""
_DEFAULTS = frozenset({MISSING, STALE, UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which calls of an experiment count.

    Parameters
    ----------
    epoch, since_us
        Those of this split, recorded from then on.
    control
        The control's name: any other variant is the candidate.
    by_request
        Whether each request is a unit.
    """

    experiment: str
    ramp: Ramp
    epoch: int
    since_us: int
    control: str
    by_request: bool


@dataclass(frozen=True, slots=True)
class Caught:
    """Calls in the order of their coming, and when the last one of the control and of the candidate came."""

    sightings: Sequence[Sighting]
    last_us: tuple[int, int]


class RampFeed:
    """Reads what is new in the journal. Not safe to call from several threads.

    Parameters
    ----------
    folder
        The journal's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ends: dict[str, int] | None = None

    def stop(self) -> None:
        """Forget how far was read: the next poll begins with what comes after it."""
        self._ends = None

    def poll(self, wanted: Sequence[Wanted]) -> Mapping[str, Caught]:
        """Return the calls that came since the last poll, by experiment; the first one gives none."""
        begins = self._ends is None
        needles = {each.experiment: (msgspec.msgpack.encode(each.experiment), each) for each in wanted}
        found: dict[str, list[Sighting]] = {each.experiment: [] for each in wanted}
        last: dict[str, list[int]] = {each.experiment: [0, 0] for each in wanted}
        for payload in self._new():
            if begins or payload[0] != PREDICTION_KIND:
                continue
            for name, (needle, each) in needles.items():
                if needle not in payload or len(found[name]) >= CALLS_PER_POLL_MAX:
                    continue
                call = _read(payload, each)
                if call is not None:
                    sighting = sight(call, each)
                    found[name].append(sighting)
                    last[name][sighting.candidate] = max(last[name][sighting.candidate], call.time_us)
        return {name: Caught(calls, (last[name][0], last[name][1])) for name, calls in found.items()}

    def _new(self) -> Iterator[bytes]:
        """Give the records that were appended since the last time."""
        before = self._ends
        ends: dict[str, int] = {}
        self._ends = ends
        if not self._folder.is_dir():
            return
        for segment in list_segments(self._folder):
            start = HEADER_BYTES if before is None else before.get(segment.name, HEADER_BYTES)
            try:
                descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
            except (
                FileNotFoundError
            ):  # sealed or compacted since it was listed: looked for under its new name next time
                ends[segment.name] = start
                continue
            try:
                size = os.fstat(descriptor).st_size
                if before is None and segment.suffix == SEALED:  # it never changes, and is not looked at
                    ends[segment.name] = size
                    continue
                # A writer may take back a wave that it never acknowledged.
                start = min(start, size)
                ends[segment.name] = start
                if size > start:
                    for frames in read_chunks(descriptor, start):
                        yield from frames.payloads
                        ends[segment.name] = frames.end
            except SegmentDamagedError:
                continue  # the compaction says so
            finally:
                os.close(descriptor)


def _read(payload: bytes, wanted: Wanted) -> Prediction | None:
    """Return the call when it is one that counts."""
    try:
        call = decode(payload)
    except RecordUnreadableError:
        return None
    if (
        not isinstance(call, Prediction)
        or call.experiment != wanted.experiment
        or call.epoch != wanted.epoch
        or call.time_us < wanted.since_us
        or call.fallback  # the control's version answered for the candidate's: it says nothing of either
    ):
        return None
    return call


def sight(call: Prediction, wanted: Wanted) -> Sighting:
    """Return what a ramp looks at in a call."""
    unit = call.request_id if wanted.by_request else call.unit_id
    return Sighting(
        unit=int.from_bytes(hashlib.blake2b(unit.encode(), digest_size=8).digest(), "little"),
        candidate=call.variant != wanted.control,
        took=Took(call.latency_us - call.others_us, call.run_us, call.run_rows),
        bad=tuple(_bad(call, guardrail) for guardrail in wanted.ramp.guardrails),
    )


def _bad(call: Prediction, guardrail: Guardrail) -> bool | None:
    """Return whether the call is bad by a guardrail; None for a latency, which is judged against others."""
    if guardrail.kind is GuardrailKind.LATENCY:
        return None
    if guardrail.kind is GuardrailKind.ERROR_RATE:
        return call.status != 0
    if guardrail.kind is GuardrailKind.FEATURE_DEFAULT_RATE:
        return not _DEFAULTS.isdisjoint(call.view_status)
    found = next((output for output in call.outputs if output.name == guardrail.output), None)
    return found is not None and not _in_range(found, guardrail)


def _in_range(output: Output, guardrail: Guardrail) -> bool:
    if output.dtype == "string":
        return True
    values = np.frombuffer(output.data, dtype=output.dtype)
    if guardrail.output_index >= len(values):
        return True
    value = float(values[guardrail.output_index])
    low = -math.inf if guardrail.lower is None else guardrail.lower
    high = math.inf if guardrail.upper is None else guardrail.upper
    return math.isfinite(value) and low <= value <= high
