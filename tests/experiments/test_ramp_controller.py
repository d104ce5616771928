"""What a ramp does next, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from experiments.ramp.controller import Action, Live, Scene, decide
from experiments.ramp.definition import HOUR_US, Ramp, Step
from experiments.ramp.outcomes import OutcomeReading
from experiments.ramp.safety import Reading
from experiments.ramp.standing import RampState, Standing
from experiments.ramp.usual import Limits

WELL = Reading("error_rate", units=(500, 500), bad=(0, 0), evidence=0.0, bar=7.0, limits=Limits(), breached=False)
BROKEN = replace(WELL, bad=(0, 40), evidence=9.0, breached=True)
RAMP = Ramp(
    steps=(
        Step(0.1, minimum_time_us=HOUR_US, minimum_units=100),
        Step(0.5, minimum_time_us=HOUR_US, minimum_units=100, proven=True, approval=True),
        Step(1.0, minimum_time_us=HOUR_US, minimum_units=100),
    )
)
NOW_US = 10 * HOUR_US
GOOD = OutcomeReading(matured=(150, 150), holding=("brier holds",))


def scene(step=1, **changes):
    standing = Standing("e", RampState.RUNNING, step, step_began_us=NOW_US - HOUR_US)
    return replace(
        Scene(
            standing=standing,
            ramp=RAMP,
            running=True,
            now_us=NOW_US,
            live=Live((WELL,), units=(500, 500), last_us=(NOW_US, NOW_US)),
            outcomes=GOOD,
        ),
        **changes,
    )


def standing(found, **changes):
    return replace(found, standing=replace(found.standing, **changes))


def live(found, **changes):
    return replace(found, live=replace(found.live, **changes))


def outcomes(found, **changes):
    return replace(found, outcomes=replace(found.outcomes, **changes))


PAUSED = {"state": RampState.PAUSED}
CASES = {
    "all is well": (scene(), Action.ADVANCE, "the step lasted for 60 min"),
    "a moment too early": (standing(scene(), step_began_us=NOW_US - HOUR_US + 1), Action.WAIT, "lasts for 60 min of"),
    "a unit too few": (outcomes(scene(), matured=(99, 150)), Action.WAIT, "99 units of the control and 150"),
    "nobody looked at outcomes": (scene(outcomes=None), Action.WAIT, "0 units of the control"),
    "an operational breach": (live(scene(), readings=(BROKEN,)), Action.ROLL_BACK, "40 of 500 units of the candidate"),
    "a worse metric": (outcomes(scene(), worse=("brier is worse",)), Action.ROLL_BACK, "brier is worse"),
    "a breach before the time": (
        live(standing(scene(), step_began_us=NOW_US), readings=(BROKEN,)),
        Action.ROLL_BACK,
        "error_rate",
    ),
    "a breach while it is paused": (live(standing(scene(), **PAUSED), readings=(BROKEN,)), Action.ROLL_BACK, "error"),
    "a breach while data are doubtful": (
        live(outcomes(scene(), doubts=("the split is wrong",)), readings=(BROKEN,)),
        Action.ROLL_BACK,
        "error",
    ),
    "paused": (standing(scene(), **PAUSED), Action.WAIT, "paused"),
    "the experiment is paused": (scene(running=False), Action.WAIT, "the experiment is paused"),
    "the experiment is paused, and silent": (live(scene(running=False), last_us=(0, 0)), Action.WAIT, "paused"),
    "a sample ratio mismatch": (outcomes(scene(), doubts=("the split is wrong",)), Action.HOLD, "the split is wrong"),
    "units in both arms": (live(scene(), exposed_share=0.02), Action.HOLD, "2.00% of the calls"),
    "a few units in both arms": (live(scene(), exposed_share=0.005), Action.ADVANCE, ""),
    "no call of the candidate": (
        standing(live(scene(), last_us=(NOW_US, 0)), step_began_us=NOW_US - HOUR_US - 1),
        Action.HOLD,
        "no call of the candidate came for 60 min",
    ),
    "no call of the control": (
        standing(live(scene(), last_us=(0, NOW_US)), step_began_us=NOW_US - 3 * HOUR_US),
        Action.HOLD,
        "no call of the control",
    ),
    "not approved": (scene(2), Action.WAIT, "step 2 waits to be approved"),
    "approved": (standing(scene(2), approved=True), Action.ADVANCE, "brier holds"),
    "approved and not proven": (
        outcomes(standing(scene(2), approved=True), unproven=("brier is open",)),
        Action.WAIT,
        "not shown to hold yet: brier is open",
    ),
    "not proven where it need not be": (outcomes(scene(), unproven=("brier is open",)), Action.ADVANCE, ""),
    "the last step": (outcomes(scene(3), matured=(0, 150)), Action.COMPLETE, ""),
    "the last step, with no control left": (
        live(outcomes(standing(scene(3), step_began_us=NOW_US - 3 * HOUR_US), matured=(0, 150)), last_us=(0, NOW_US)),
        Action.COMPLETE,
        "",
    ),
    "the last step, too few": (outcomes(scene(3), matured=(0, 50)), Action.WAIT, "50 of the candidate"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_ramp_does_what_its_rule_says(case):
    seen, action, words = CASES[case]
    decision = decide(seen)
    assert decision.action is action
    assert words in " ".join(decision.reasons)
    assert all(decision.reasons)
