"""A policy with looks over weeks, of which the last drift, and two runs: one was refused, one is under way."""

from __future__ import annotations

import json
import math
from pathlib import Path

from turnout.cli.policy_file import read_policy
from turnout.trainer.v1 import policy_pb2, run_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

EXAMPLE = Path(__file__).parents[2] / "examples" / "retraining.toml"
LOOKS = 8
COLUMNS = ("distance", "hour", "carrier_delay_7d", "wind_speed", "label")
POLICY = "policies/delays"


def train(control, advance, hostile):
    """Create the policy, look, and run; the clock stands still but for `advance`."""
    asked = read_policy(EXAMPLE)
    asked.policy_id, asked.policy.model, asked.policy.description = "delays", "models/delays", f"Late flights {hostile}"
    asked.policy.check.Clear()  # it looks when it is asked to
    control.training.CreatePolicy(asked)
    for number in range(LOOKS):
        control.training.CheckTriggers(pb.CheckTriggersRequest(name=POLICY))
        due = control.training.ClaimCheck(pb.ClaimCheckRequest(trainer="t1"))
        request = pb.FinishCheckRequest(name=due.check.name, token=due.token, evidence=_said(number, hostile))
        control.training.FinishCheck(request)
        advance()
    for name, state in (("no better", run_pb2.RUN_STATE_REFUSED), ("once more", None)):
        control.training.StartRun(pb.StartRunRequest(parent=POLICY, reason=name))
        run = control.training.ClaimRun(pb.ClaimRunRequest(trainer="t1", lease_us=600_000_000))
        for step, result in ((run_pb2.RUN_STEP_TABLE, {}), (run_pb2.RUN_STEP_TRAIN, _TRAINED)):
            _report(control, run, step, result)
        if state is not None:
            _report(control, run, run_pb2.RUN_STEP_EVALUATE, _JUDGED)
            finished = pb.FinishRunRequest(
                name=run.run.name, token=run.token, state=state, findings=[*_JUDGED["reasons"], hostile]
            )
            control.training.FinishRun(finished)


def _report(control, run, step, result):
    report = run_pb2.StepReport(step=step, done=True, result_json=json.dumps(result))
    control.training.ReportStep(pb.ReportStepRequest(name=run.run.name, token=run.token, report=report))


def _said(number, hostile):
    """Return what the triggers say at a look: the delays drift from the sixth on, and the metric falls with them."""
    findings = []
    for place, name in enumerate((*COLUMNS, hostile)):
        effect = 0.02 + 0.012 * math.sin(number + place)
        if place == 2:
            effect += 0.025 * max(0, number - 3)
        flagged = effect > 0.06
        numbers = {"effect": effect, "floor": 0.05, "p_adjusted": 0.001 if flagged else 0.4}
        findings.append({"subject": name, "method": "wasserstein", "flagged": flagged, "numbers": numbers})
    drifts = any(one["flagged"] for one in findings)
    brier = 0.16 + 0.004 * max(0, number - 3)
    estimated = {"metric": "brier", "estimate": brier, "low": brier - 0.008, "high": brier + 0.008, "threshold": 0.18}
    if number < LOOKS - 2:
        estimated |= {"real": brier + 0.003, "real_low": brier - 0.006, "real_high": brier + 0.012, "agrees": True}
    fire, quiet = run_pb2.TRIGGER_VERDICT_FIRE, run_pb2.TRIGGER_VERDICT_QUIET
    return [
        run_pb2.TriggerEvidence(
            kind=policy_pb2.TRIGGER_KIND_DRIFT,
            verdict=fire if drifts else quiet,
            sentence="1 of 6 columns drifted: carrier_delay_7d" if drifts else "none of 6 columns differs",
            evidence_json=json.dumps({"numbers": {"columns": 6, "smallest_shift": 0.11}, "findings": findings}),
        ),
        run_pb2.TriggerEvidence(
            kind=policy_pb2.TRIGGER_KIND_ESTIMATED_PERFORMANCE,
            verdict=quiet,
            sentence=f"brier is estimated, without labels, at {brier:.4g}",
            evidence_json=json.dumps({"numbers": estimated}),
        ),
    ]


def _beside(candidate, other, lower, upper, metric="brier"):
    gain = other - candidate
    ends = {"gain": gain, "lower": lower, "upper": upper}
    return {"metric": metric, "rows": 4200, "candidate": candidate, "other": other, **ends}


_TRAINED = {"parity": {"verdict": "AGREES", "rows": 20000, "max_difference": 3.1e-7, "flips": 0}}
_JUDGED = {
    "verdict": "NOT_BLESSED",
    "reasons": ["brier is not shown to be better: 0.0009 (-0.0011 to 0.0029)"],
    "rows": 4200,
    "comparisons": [_beside(0.1611, 0.162, -0.0011, 0.0029), _beside(0.52, 0.505, -0.021, -0.009, "log_loss")],
    "of_data": _beside(0.1613, 0.162, -0.0012, 0.0026),
    "of_model": _beside(0.1611, 0.1613, -0.0008, 0.0012),
    "slices": {"origin=JFK": _beside(0.15, 0.158, 0.002, 0.014)},
}
