"""What a run of the demo found, and whether it is what the demo promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from trainer.demo.swaps import SwapWindow
    from trainer.demo.trial import Decision, EffectPoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run found.

    Attributes
    ----------
    samples
        One row a request; see `trainer.demo.sender.SAMPLES`.
    failures
        What the first failed requests were told.
    swaps
        The changes of the champion under load.
    effects
        The effect as it stood in the course of the experiment.
    decided_us
        The replayed moment of the decision; 0 when there was none.
    experiment
        The last analysis, as JSON knows it.
    decision
        What was decided, and why.
    outcomes_acknowledged, outcomes_analyzed
        Outcomes that the gateway said are recorded; outcomes that its analysis joined to predictions.
    outcomes_refused
        Outcomes that were not recorded.
    versions
        What was trained, as JSON knows it.
    duration_s
        How long all of it took.
    clean_stop
        Whether the gateway ended by itself when told to, with exit code 0.
    """

    samples: pa.Table
    failures: Sequence[str]
    swaps: Sequence[SwapWindow]
    effects: Sequence[EffectPoint]
    decided_us: int
    experiment: dict[str, Any]
    decision: Decision
    outcomes_acknowledged: int
    outcomes_analyzed: int
    outcomes_refused: int
    versions: Sequence[dict[str, Any]]
    duration_s: float
    clean_stop: bool = True

    @property
    def requests(self) -> int:
        """How many requests were sent."""
        return int(self.samples.num_rows)

    @property
    def failed_requests(self) -> int:
        """How many of them failed."""
        return int((~self.column("ok").astype(bool)).sum())

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of the samples."""
        return np.asarray(self.samples.column(name).to_numpy(zero_copy_only=False))

    def during_swaps(self) -> NDArray[np.bool_]:
        """Return for each request whether it was waiting at any moment of a swap's window."""
        sent_s = self.column("sent_s")
        answered_s = sent_s + self.column("latency_ms") / 1000
        inside = np.zeros(len(sent_s), dtype=bool)
        for window in self.swaps:
            inside |= (answered_s >= window.begin_s) & (sent_s <= window.end_s)
        return inside

    def latency_ms(self, quantile: float, *, among: NDArray[np.bool_] | None = None) -> float:
        """Return a quantile of the latency, of all requests or of the chosen ones; NaN when there are none."""
        latencies = self.column("latency_ms")
        chosen = latencies if among is None else latencies[among]
        return float(np.quantile(chosen, quantile)) if len(chosen) else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON knows it."""
        return {
            "requests": self.requests,
            "failed_requests": self.failed_requests,
            "swaps": len(self.swaps),
            "outcomes_acknowledged": self.outcomes_acknowledged,
            "outcomes_analyzed": self.outcomes_analyzed,
            "experiment": self.experiment,
            "decision": self.decision.recommendation,
            "p50_ms": _rounded(self.latency_ms(0.5)),
            "p99_ms": _rounded(self.latency_ms(0.99)),
            "p99_during_swap_ms": _rounded(self.latency_ms(0.99, among=self.during_swaps())),
            "versions": list(self.versions),
            "duration_s": _rounded(self.duration_s),
        }

    def broken_promises(self) -> list[str]:
        """Return what was promised and did not come true, a sentence each."""
        broken = []
        if self.failed_requests:
            broken.append(f"{self.failed_requests} of {self.requests} requests failed: {'; '.join(self.failures[:3])}")
        if self.outcomes_refused:
            broken.append(f"{self.outcomes_refused} outcomes were not recorded")
        if self.outcomes_analyzed != self.outcomes_acknowledged:
            broken.append(
                f"{self.outcomes_acknowledged} outcomes were acknowledged and {self.outcomes_analyzed} are analyzed"
            )
        if not self.clean_stop:
            broken.append("the gateway did not stop cleanly")
        return broken


def _rounded(value: float) -> float | None:
    """Return the value to three places, or None for NaN, which JSON does not have."""
    return None if np.isnan(value) else round(value, 3)
