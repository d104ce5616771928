"""What the year came to, and whether it is what the demo promises."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.demo.scale import us_of
from trainer.demo.year.history import found
from turnout.trainer.v1 import run_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from trainer.demo.year.history import History

KEEP, IMPOSSIBLE = "keep", "impossible"
SHIFT_US = tuple(us_of(datetime(2013, month, 1, tzinfo=UTC)) for month in (3, 9))
"""The months in which winter becomes summer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What the year came to.

    Attributes
    ----------
    samples
        One row a request; see `trainer.demo.sender.SAMPLES`.
    failures
        What the first failed requests were told.
    outcomes_acknowledged, outcomes_refused
        Outcomes that the gateway said are recorded, and those that were not.
    history
        Checks, runs, ramps and versions, as the gateway keeps them.
    duration_s
        How long all of it took.
    clean_stop
        Whether the gateway ended by itself when told to, with exit code 0.
    """

    samples: pa.Table
    failures: Sequence[str]
    outcomes_acknowledged: int
    outcomes_refused: int
    history: History
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

    @property
    def promoted(self) -> list[run_pb2.Run]:
        """The runs that a trigger made and whose ramp came to its end."""
        return [run for run in self.history.runs_of(KEEP, run_pb2.RUN_STATE_DEPLOYED) if run.check and run.experiment]

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of the samples."""
        return np.asarray(self.samples.column(name).to_numpy(zero_copy_only=False))

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON knows it."""
        latency_ms = self.column("latency_ms")
        quantiles = np.quantile(latency_ms, (0.5, 0.99)) if len(latency_ms) else (0.0, 0.0)
        return {
            "requests": self.requests,
            "failed_requests": self.failed_requests,
            "outcomes_acknowledged": self.outcomes_acknowledged,
            "p50_ms": round(float(quantiles[0]), 3),
            "p99_ms": round(float(quantiles[1]), 3),
            "promoted": [run.name for run in self.promoted],
            "duration_s": round(self.duration_s, 3),
            **self.history.to_json(),
        }

    def broken_promises(self) -> list[str]:
        """Return what was promised and did not come true, a sentence each."""
        broken = []
        if self.failed_requests:
            broken.append(f"{self.failed_requests} of {self.requests} requests failed: {'; '.join(self.failures[:3])}")
        if self.outcomes_refused:
            broken.append(f"{self.outcomes_refused} outcomes were not recorded")
        if not self.clean_stop:
            broken.append("the gateway did not stop cleanly")
        in_shift = [run for run in self.promoted if SHIFT_US[0] <= run.create_time_us < SHIFT_US[1]]
        if not in_shift:
            broken.append("no run that a trigger made between winter and summer was promoted")
        for run in in_shift:
            broken += _unproved(run)
        refused = self.history.runs_of(IMPOSSIBLE)
        if not any(run.state == run_pb2.RUN_STATE_REFUSED for run in refused):
            broken.append("the policy with the impossible gate was not put to the test")
        if any(run.version for run in refused):
            broken.append("the policy with the impossible gate published a version")
        return broken


def _unproved(run: run_pb2.Run) -> list[str]:
    """Return what a run that was promoted did not show."""
    broken: list[str] = []
    if found(run, run_pb2.RUN_STEP_EVALUATE).get("verdict") != "BLESSED":
        broken.append(f"{run.name} was promoted without a blessing")
    if found(run, run_pb2.RUN_STEP_TRAIN).get("parity") not in ("AGREES", "AGREES_WITH_STEPS"):
        broken.append(f"{run.name} was promoted without a certificate of parity")
    return broken
