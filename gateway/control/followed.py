"""What a gateway knows of a ramp that it looks after."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from experiments.ramp.controller import Action, Decision, Live

if TYPE_CHECKING:
    from experiments.ramp.outcomes import OutcomeReading
    from experiments.ramp.safety import SafetyWatch
    from storage.leases import Lease


@dataclass(slots=True)
class Followed:
    """What this gateway knows of a ramp that it has the lease of.

    Parameters
    ----------
    lease
        What proves that it is this gateway's.
    step, window
        What the calls were counted for.
    outcomes, outcomes_due_s
        What the outcomes said when they were last looked at in this step, and when to look again (monotonic clock).
    promotion_due_s
        When to try again to make the candidate the champion, where the registry has refused it (monotonic clock).
    """

    lease: Lease
    step: int
    window: int
    watch: SafetyWatch
    last_us: tuple[int, int] = (0, 0)
    outcomes: OutcomeReading | None = None
    outcomes_due_s: float = 0.0
    promotion_due_s: float = 0.0
    decision: Decision = field(default_factory=lambda: Decision(Action.WAIT, ()))

    @property
    def live(self) -> Live:
        """What the calls say."""
        return Live(
            readings=self.watch.readings(),
            units=(self.watch.units[0], self.watch.units[1]),
            last_us=self.last_us,
            exposed_share=self.watch.exposed_share,
        )


def evidence_of(decision: Decision, known: Followed) -> str:
    """Return the numbers that something was decided on, as a JSON text."""
    outcomes = known.outcomes
    return json.dumps(
        {
            "action": decision.action.value,
            "step": known.step,
            "window": known.window,
            "units": list(known.watch.units),
            "exposed_share": known.watch.exposed_share,
            "guardrails": [
                {
                    "guardrail": each.name,
                    "control_units": each.units[0],
                    "candidate_units": each.units[1],
                    "control_bad": each.bad[0],
                    "candidate_bad": each.bad[1],
                    "evidence": each.evidence,
                    "bar": each.bar,
                    "limit_us": each.limits.own_us,
                    "run_limit_us": each.limits.run_us,
                    "breached": each.breached,
                }
                for each in known.watch.readings()
            ],
            "matured": None if outcomes is None else list(outcomes.matured),
            "worse": [] if outcomes is None else list(outcomes.worse),
            "unproven": [] if outcomes is None else list(outcomes.unproven),
            "holding": [] if outcomes is None else list(outcomes.holding),
            "doubts": [] if outcomes is None else list(outcomes.doubts),
        }
    )
