"""What the workers say of themselves, and waiting for what they should say."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gateway.control.traffic import History, Totals
from gateway.telemetry.families import Kind
from gateway.telemetry.meter import LABEL_SETS_MAX, Meter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """One version in one worker: where it stands, and why."""

    model: str
    version: int
    state: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerReport:
    """What one worker says of itself.

    Attributes
    ----------
    slot, pid, restarts
        Its place, its process, how often the place's process was started again.
    ready
        Whether it answers calls.
    revision
        The revision that it serves; -1 before the first.
    transport, why
        Its transport, and why that one.
    versions
        What it holds.
    providers
        The execution providers that its runtime has.
    counts
        Its numbers.
    report
        The number of the newest request for a report that it has answered.
    """

    slot: int
    pid: int = 0
    restarts: int = 0
    ready: bool = False
    revision: int = -1
    transport: str = ""
    why: str = ""
    versions: Sequence[Loaded] = ()
    providers: Sequence[str] = ()
    counts: Meter = field(default_factory=Meter)
    report: int = 0


class Fleet:
    """The newest report of each worker.

    Parameters
    ----------
    size
        How many workers there are.
    label_sets_max
        How many label sets a metric may have in the sum.
    """

    def __init__(self, size: int, *, label_sets_max: int = LABEL_SETS_MAX) -> None:
        self._reports = [WorkerReport(slot=slot) for slot in range(size)]
        self._label_sets_max = label_sets_max
        self._dead = Meter(label_sets_max)
        self._histories = [History() for _ in range(size)]
        self._ask: Callable[[int], None] | None = None
        self._asked = 0
        self._changed = threading.Condition()

    def reports(self) -> list[WorkerReport]:
        """Return the newest reports, by slot."""
        with self._changed:
            return list(self._reports)

    def update(self, slot: int, **changes: Any) -> None:
        """Take over what a worker says."""
        with self._changed:
            self._reports[slot] = replace(self._reports[slot], **changes)
            if "counts" in changes:
                self._histories[slot].add(changes["counts"])
            elif "pid" in changes:
                self._histories[slot].begin()
            self._changed.notify_all()

    def bury(self, slot: int) -> None:
        """Keep what a worker that has died had counted, so that no sum ever falls."""
        with self._changed:
            gone = self._reports[slot]
            self._dead.merge(gone.counts, lambda kind: kind is not Kind.GAUGE)
            self._reports[slot] = WorkerReport(slot=slot, restarts=gone.restarts)
            self._changed.notify_all()

    def ask_by(self, ask: Callable[[int], None]) -> None:
        """Say how the workers are asked for a report, whose number is passed on."""
        self._ask = ask

    def refresh(self, timeout_s: float) -> bool:
        """Ask every worker how it stands now; return whether all that are ready said so within the time."""
        if self._ask is None:
            return False
        with self._changed:
            self._asked += 1
            number = self._asked
        self._ask(number)
        with self._changed:
            return self._changed.wait_for(
                lambda: all(report.report >= number for report in self._reports if report.ready), timeout_s
            )

    def recent(self) -> list[Totals | None]:
        """Return what each worker counted in the last minute, by slot; None for one that has not reported."""
        with self._changed:
            return [
                history.recent() if report.pid else None
                for report, history in zip(self._reports, self._histories, strict=True)
            ]

    def figures(self) -> Meter:
        """Return the sum of what all workers counted, the dead ones included."""
        total = Meter(self._label_sets_max)
        with self._changed:
            total.merge(self._dead)
            for report in self._reports:
                total.merge(report.counts)
        return total

    def providers(self) -> frozenset[str]:
        """Return the execution providers that every worker has; none while no worker has said so."""
        with self._changed:
            said = [frozenset(report.providers) for report in self._reports if report.providers]
        return frozenset.intersection(*said) if said else frozenset()

    def lowest_revision(self) -> int:
        """Return the lowest revision that any live worker serves; -1 when none does."""
        with self._changed:
            return self._lowest()

    def wait_ready(self, timeout_s: float) -> bool:
        """Return whether all workers answered within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: all(report.ready for report in self._reports), timeout_s)

    def wait_revision(self, revision: int, timeout_s: float) -> bool:
        """Return whether every live worker served the revision within the time."""
        until = time.monotonic() + timeout_s
        with self._changed:
            while self._lowest() < revision:
                left = until - time.monotonic()
                if left <= 0 or not self._changed.wait(left):
                    return self._lowest() >= revision
            return True

    def _lowest(self) -> int:
        live = [report.revision for report in self._reports if report.pid]
        return min(live) if live else -1
