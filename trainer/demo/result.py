"""What a run of the demo found, and whether it is what the demo promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.demo.sent import Sent, rounded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from trainer.demo.swaps import SwapWindow
    from trainer.demo.trial import Decision, EffectPoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Sent):
    """What a run found; beside what was sent, as `Sent` says.

    Attributes
    ----------
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
    outcomes_analyzed
        Outcomes that its analysis joined to predictions.
    versions
        What was trained, as JSON knows it.
    """

    swaps: Sequence[SwapWindow]
    effects: Sequence[EffectPoint]
    decided_us: int
    experiment: dict[str, Any]
    decision: Decision
    outcomes_analyzed: int
    versions: Sequence[dict[str, Any]]

    def during_swaps(self) -> NDArray[np.bool_]:
        """Return for each request whether it was waiting at any moment of a swap's window."""
        sent_s = self.column("sent_s")
        answered_s = sent_s + self.column("latency_ms") / 1000
        inside = np.zeros(len(sent_s), dtype=bool)
        for window in self.swaps:
            inside |= (answered_s >= window.begin_s) & (sent_s <= window.end_s)
        return inside

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
            "p50_ms": rounded(self.latency_ms(0.5)),
            "p99_ms": rounded(self.latency_ms(0.99)),
            "p99_during_swap_ms": rounded(self.latency_ms(0.99, among=self.during_swaps())),
            "versions": list(self.versions),
            "duration_s": rounded(self.duration_s),
        }

    def broken_promises(self) -> list[str]:
        """Return what was promised and did not come true, a sentence each."""
        broken = self.lost()
        if self.outcomes_analyzed != self.outcomes_acknowledged:
            broken.append(
                f"{self.outcomes_acknowledged} outcomes were acknowledged and {self.outcomes_analyzed} are analyzed"
            )
        return broken
