"""What became of the requests and outcomes that a replay sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What every result has: what was sent, and what came back.

    Attributes
    ----------
    samples
        One row a request; see `trainer.demo.sender.SAMPLES`.
    failures
        What the first failed requests were told.
    outcomes_acknowledged, outcomes_refused
        Outcomes that the gateway said are recorded, and those that were not.
    duration_s
        How long all of it took.
    clean_stop
        Whether the gateway ended by itself when told to, with exit code 0.
    """

    samples: pa.Table
    failures: Sequence[str]
    outcomes_acknowledged: int
    outcomes_refused: int
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

    def latency_ms(self, quantile: float, *, among: NDArray[np.bool_] | None = None) -> float:
        """Return a quantile of the latency, of all requests or of the chosen ones; NaN when there are none."""
        latencies = self.column("latency_ms")
        chosen = latencies if among is None else latencies[among]
        return float(np.quantile(chosen, quantile)) if len(chosen) else float("nan")

    def lost(self) -> list[str]:
        """Return what failed or was lost, a sentence each."""
        broken = []
        if self.failed_requests:
            broken.append(f"{self.failed_requests} of {self.requests} requests failed: {'; '.join(self.failures[:3])}")
        if self.outcomes_refused:
            broken.append(f"{self.outcomes_refused} outcomes were not recorded")
        if not self.clean_stop:
            broken.append("the gateway did not stop cleanly")
        return broken


def rounded(value: float) -> float | None:
    """Return the value to three places, or None for NaN, which JSON does not have."""
    return None if np.isnan(value) else round(value, 3)
