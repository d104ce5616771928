"""What the year came to, and whether it is what the demo promises."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trainer.demo.scale import us_of
from trainer.demo.sent import Sent, rounded
from trainer.demo.year.history import found
from turnout.trainer.v1 import run_pb2

if TYPE_CHECKING:
    from trainer.demo.year.history import History

KEEP, IMPOSSIBLE = "keep", "impossible"
SHIFT_US = tuple(us_of(datetime(2013, month, 1, tzinfo=UTC)) for month in (3, 9))
"""The months in which winter becomes summer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Sent):
    """What the year came to; beside what was sent, as `Sent` says.

    Attributes
    ----------
    history
        Checks, runs, ramps and versions, as the gateway keeps them.
    """

    history: History

    @property
    def promoted(self) -> list[run_pb2.Run]:
        """The runs that a trigger made and whose ramp came to its end."""
        return [run for run in self.history.runs_of(KEEP, run_pb2.RUN_STATE_DEPLOYED) if run.check and run.experiment]

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON knows it."""
        return {
            "requests": self.requests,
            "failed_requests": self.failed_requests,
            "outcomes_acknowledged": self.outcomes_acknowledged,
            "p50_ms": rounded(self.latency_ms(0.5)),
            "p99_ms": rounded(self.latency_ms(0.99)),
            "promoted": [run.name for run in self.promoted],
            "duration_s": rounded(self.duration_s),
            **self.history.to_json(),
        }

    def broken_promises(self) -> list[str]:
        """Return what was promised and did not come true, a sentence each."""
        broken = self.lost()
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
