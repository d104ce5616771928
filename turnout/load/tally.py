"""What became of a load's calls."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from turnout.load.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OK = "OK"


@dataclass(slots=True)
class Tally:
    """Counts and latencies, in microseconds, of all calls whatever their status.

    Attributes
    ----------
    statuses
        How many calls ended how: the status, and the reason of a refusal after a space.
    latency
        From when a call was due until its end. A call that could not be sent when it was due is not excused: the time
        that it was held back is in it. In a closed loop a call is due when it is sent.
    service
        From when a call was sent until its end.
    late
        From when a call was due until it was sent: how far the generator was behind, or held back by its own bound.
    ended_us
        When the last call ended, since the counting began.
    spans
        Begin (since the Unix epoch) and latency of each call, where they are kept.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    latency: Histogram = field(default_factory=Histogram)
    service: Histogram = field(default_factory=Histogram)
    late: Histogram = field(default_factory=Histogram)
    ended_us: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """How many calls ended."""
        return self.statuses.total()

    @property
    def failed(self) -> int:
        """How many of them were not answered with OK."""
        return self.calls - self.statuses[OK]

    def record(self, ended: Iterable[tuple[int, int, int, str]], began_us: int, *, keep: bool) -> None:
        """Count calls: when each was due, was sent and ended, and its status; begins are told after `began_us`."""
        calls = list(ended)
        if not calls:
            return
        self.statuses.update(status for *_, status in calls)
        self.latency.record([end - due for due, _, end, _ in calls])
        self.service.record([end - sent for _, sent, end, _ in calls])
        self.late.record([sent - due for due, sent, _, _ in calls])
        self.ended_us = max(self.ended_us, *(end for _, _, end, _ in calls))
        if keep:
            self.spans += [(began_us + due, end - due) for due, _, end, _ in calls]

    def add(self, other: Tally) -> None:
        """Count all that another one has."""
        self.statuses += other.statuses
        self.latency.add(other.latency)
        self.service.add(other.service)
        self.late.add(other.late)
        self.ended_us = max(self.ended_us, other.ended_us)
        self.spans += other.spans

    def document(self) -> dict[str, object]:
        """Return it as JSON's values."""
        return {
            "statuses": dict(self.statuses),
            "latency": self.latency.document(),
            "service": self.service.document(),
            "late": self.late.document(),
            "ended_us": self.ended_us,
            "spans": self.spans,
        }

    @classmethod
    def of_document(cls, document: Mapping[str, object]) -> Self:
        """Return what `document` told."""
        histograms = {name: Histogram.of_document(document[name]) for name in ("latency", "service", "late")}  # type: ignore[arg-type]
        spans = [(begin, latency) for begin, latency in document["spans"]]  # type: ignore[attr-defined]
        return cls(Counter(document["statuses"]), **histograms, ended_us=int(document["ended_us"]), spans=spans)  # type: ignore[call-overload]
