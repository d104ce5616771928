"""What becomes of a blessed version by its policy, at a real gateway; a trainer's calls are made by hand."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from turnout import Client, resources
from turnout.cli.policy_file import read_policy
from turnout.control import Control
from turnout.errors import TurnoutError
from turnout.experiments.v1 import experiment_service_pb2 as experiments_pb
from turnout.experiments.v1 import shadow_service_pb2
from turnout.registry.v1 import gate_pb2
from turnout.registry.v1 import registry_service_pb2 as registry_pb
from turnout.trainer.v1 import policy_pb2, run_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

sys.path.insert(0, str(Path(__file__).parents[1] / "gateway"))
from ramps import scoring_model

EXAMPLE = Path(__file__).parents[2] / "examples" / "retraining.toml"
RAMP = {"shares": [0.5, 1.0], "step_time_us": 0, "step_units": 20, "outcome": "truth", "outcome_margin": 1.0}
SCORE = {"outcome_metric": policy_pb2.OUTCOME_METRIC_SQUARED_ERROR, "output": "score", "output_index": 0}
PATIENCE_S = 100


@pytest.fixture(scope="module")
def control(gateway):
    with Control(gateway.control_address, actor="ada", timeout_s=60) as connection:
        yield connection


class Made:
    """A policy and its model, whose runs are brought as far as a test wants."""

    def __init__(self, control, name, **deployment):
        self.control, self.name = control, name
        asked = read_policy(EXAMPLE)
        asked.policy_id, asked.policy.model = name, f"models/{name}"
        asked.policy.deployment.CopyFrom(policy_pb2.Deployment(**deployment))
        asked.policy.data.label_delay_us = 0
        self.policy = control.training.CreatePolicy(asked).policy

    def run(self, **options):
        asked = pb.StartRunRequest(parent=self.policy.name, reason="to see", **options)
        return self.control.training.StartRun(asked).run

    def get(self, number):
        return self.control.training.GetRun(pb.GetRunRequest(name=f"{self.policy.name}/runs/{number}")).run

    def state_of(self, number):
        return run_pb2.RunState.Name(self.get(number).state).removeprefix("RUN_STATE_")

    def claim(self, name):
        """Return the claim of a run; what other tests left is cancelled."""
        while True:
            claimed = self.control.training.ClaimRun(pb.ClaimRunRequest(trainer="by hand"))
            if claimed.run.name == name:
                return claimed
            self.control.training.CancelRun(pb.CancelRunRequest(name=claimed.run.name))

    def publish(self, verdict="BLESSED", *, champion=None, salt=None, **graph):
        """Bring a new run as far as its publication, and return its claim and its version's number."""
        claimed = self.claim(self.run().name)
        told = champion if champion is not None else self.champion()
        self.report(claimed, run_pb2.RUN_STEP_TABLE, champion={"version": told} if told else None)
        self.report(claimed, run_pb2.RUN_STEP_TRAIN)
        self.report(claimed, run_pb2.RUN_STEP_EVALUATE, verdict=verdict, reasons=["so it was measured"])
        number = resources.parse_run(claimed.run.name)[1]
        content = scoring_model(salt=float(number) if salt is None else salt, **graph)
        head = registry_pb.PublishHead(
            parent=claimed.run.model,
            artifact_sha256=hashlib.sha256(content).hexdigest(),
            run=claimed.run.name,
            run_token=claimed.token,
        )
        request = registry_pb.PublishVersionRequest
        made = self.control.registry.PublishVersion(iter([request(head=head), request(chunk=content)])).version
        version = resources.parse_version(made.name)[1]
        self.report(claimed, run_pb2.RUN_STEP_PUBLISH, version=version)
        return claimed, version

    def report(self, claimed, step, **result):
        request = pb.ReportStepRequest(name=claimed.run.name, token=claimed.token)
        request.report.step, request.report.done, request.report.result_json = step, True, json.dumps(result)
        return self.control.training.ReportStep(request).run

    def deploy(self, claimed):
        return self.control.training.DeployRun(pb.DeployRunRequest(name=claimed.run.name, token=claimed.token)).run

    def ship(self, **graph):
        """Take a new run to its deployment and return it."""
        return self.deploy(self.publish(**graph)[0])

    def champion(self):
        try:
            found = self.control.registry.GetModel(registry_pb.GetModelRequest(name=f"models/{self.name}")).model
        except TurnoutError:
            return 0
        return {alias.alias: alias.version for alias in found.aliases}.get("champion", 0)

    def update(self, **deployment):
        asked = policy_pb2.Policy(name=self.policy.name, deployment=policy_pb2.Deployment(**deployment))
        request = pb.UpdatePolicyRequest(policy=asked)
        request.update_mask.paths.append("deployment")
        self.control.training.UpdatePolicy(request)

    def check(self):
        """Let a trigger fire, and return the check."""
        fired = run_pb2.TriggerEvidence(
            kind=policy_pb2.TRIGGER_KIND_TIME, verdict=run_pb2.TRIGGER_VERDICT_FIRE, sentence="it is old"
        )
        while True:
            claimed = self.control.training.ClaimCheck(pb.ClaimCheckRequest(trainer="by hand"))
            if not claimed.HasField("check"):
                time.sleep(0.1)
                continue
            request = pb.FinishCheckRequest(name=claimed.check.name, token=claimed.token, evidence=[fired])
            if claimed.policy.name == self.policy.name:
                return self.control.training.FinishCheck(request).check
            request.failure = "another test's"
            self.control.training.FinishCheck(request)


def experiment_of(control, run):
    return control.experiments.GetExperiment(experiments_pb.GetExperimentRequest(name=run.experiment)).experiment


def send(gateway, model, times, *, failing=False):
    """Let new units ask, tell what was true, and return how many calls failed."""
    generator = np.random.default_rng(len(model))
    failed = 0
    with Client(gateway.data_address) as client:
        known = []
        for number in range(times):
            row = generator.random((1, 4), np.float32)
            row[0, 3] = 1.0 if failing else 0.0
            unit = f"{time.monotonic_ns()}-{number}"
            try:
                answer = client.predict(model, inputs={"x": row}, unit_id=unit)
            except TurnoutError:
                failed += 1
                continue
            known.append((answer.request_id, float(row[0, 0]) + generator.normal() * 0.1))
        for request_id, truth in known:
            client.record_outcome("truth", truth, request_id=request_id)
    return failed


def wait(holds):
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until, "it does not come about"
        time.sleep(0.1)


def test_each_mode_gives_a_version_what_it_says_and_all_at_once(control):
    made = Made(control, "modes", mode=policy_pb2.DEPLOYMENT_MODE_NONE)
    first = made.ship()
    assert (made.state_of(1), made.champion()) == ("PUBLISHED", 0)
    assert [step.done for step in first.steps] == [True] * 5
    made.update(mode=policy_pb2.DEPLOYMENT_MODE_IMMEDIATE)
    assert run_pb2.RunState.Name(made.ship().state) == "RUN_STATE_DEPLOYED"
    assert made.champion() == 2
    made.update(mode=policy_pb2.DEPLOYMENT_MODE_SHADOW, shadow_share=0.5)
    made.ship()
    request = shadow_service_pb2.GetShadowRequest(name=resources.shadow_name("modes"))
    shadow = control.shadows.GetShadow(request).shadow
    assert (shadow.version, shadow.share) == (3, 0.5)
    assert (made.state_of(3), made.champion()) == ("DEPLOYED", 2)
    made.update(mode=policy_pb2.DEPLOYMENT_MODE_EXPERIMENT, outcome="truth", **SCORE)
    fourth = made.ship()
    found = experiment_of(control, fourth)
    assert {each.variant: (each.version, each.share) for each in found.variants} == {
        "champion": (2, 0.5),
        "candidate": (4, 0.5),
    }
    assert found.state == experiments_pb.EXPERIMENT_STATE_RUNNING
    assert made.state_of(4) == "DEPLOYING"
    with pytest.raises(TurnoutError) as refused:
        made.run(supersede=True)
    assert refused.value.reason == "RUN_OPEN"
    request = experiments_pb.ConcludeExperimentRequest(name=fourth.experiment, winner="candidate", promote=True)
    control.experiments.ConcludeExperiment(request)
    assert (made.state_of(4), made.champion()) == ("DEPLOYED", 4)


def test_a_ramp_that_a_run_began_promotes_its_version_by_its_own_verdict(control, gateway):
    made = Made(control, "climbs", mode=policy_pb2.DEPLOYMENT_MODE_RAMP, **RAMP, **SCORE)
    made.ship()
    assert (made.state_of(1), made.champion()) == ("DEPLOYED", 1)
    run = made.ship()
    assert made.state_of(2) == "DEPLOYING"
    ramp = experiment_of(control, run).ramp
    assert [step.share for step in ramp.steps] == [0.5, 1.0]
    failed = 0

    def is_over():
        nonlocal failed
        failed += send(gateway, "climbs", 60)
        return made.state_of(2) != "DEPLOYING"

    wait(is_over)
    assert (made.state_of(2), made.champion(), failed) == ("DEPLOYED", 2, 0), made.get(2).findings
    assert made.get(2).findings[0].startswith("the ramp came to its end")


def test_a_candidate_that_fails_on_live_traffic_is_rolled_back_and_the_cooldown_begins(control, gateway):
    made = Made(control, "falls", mode=policy_pb2.DEPLOYMENT_MODE_RAMP, **RAMP, **SCORE)
    made.ship()
    made.ship(fails_above=0.5)

    def is_over():
        send(gateway, "falls", 40, failing=True)
        return made.state_of(2) != "DEPLOYING"

    wait(is_over)
    run = made.get(2)
    assert (made.state_of(2), made.champion()) == ("ROLLED_BACK", 1), run.findings
    assert "error_rate" in run.findings[0]
    concluded_us = experiment_of(control, run).conclude_time_us
    assert run.end_time_us == concluded_us, "it was over when the ramp said so, not when somebody looked"
    asked = policy_pb2.Policy(name=made.policy.name, check=policy_pb2.CheckSchedule(interval_us=1_000_000))
    request = pb.UpdatePolicyRequest(policy=asked)
    request.update_mask.paths.append("check")
    control.training.UpdatePolicy(request)
    assert "time fires, and the cooldown after the last run lasts" in made.check().sentence


def test_what_was_superseded_or_judged_against_another_champion_gets_nothing(control):
    made = Made(control, "late", mode=policy_pb2.DEPLOYMENT_MODE_RAMP, **RAMP)
    made.ship()
    superseded, version = made.publish()
    made.run(supersede=True)
    with pytest.raises(TurnoutError) as refused:
        made.deploy(superseded)
    assert (refused.value.reason, version) == ("LEASE_LOST", 2)
    assert made.state_of(2) == "SUPERSEDED"
    names = {
        each.name for each in control.experiments.ListExperiments(experiments_pb.ListExperimentsRequest()).experiments
    }
    assert resources.experiment_name("late-run-2") not in names
    control.training.CancelRun(pb.CancelRunRequest(name=made.get(3).name))
    claimed, _ = made.publish(champion=2)
    with pytest.raises(TurnoutError) as refused:
        made.deploy(claimed)
    assert refused.value.reason == "CHAMPION_CHANGED"
    assert made.state_of(4) == "RUNNING", "its trainer says how it ended"
    control.training.CancelRun(pb.CancelRunRequest(name=claimed.run.name))


def test_a_version_that_its_run_did_not_bless_is_no_champion_through_the_gate(control):
    made = Made(control, "gated", mode=policy_pb2.DEPLOYMENT_MODE_IMMEDIATE)
    made.ship()
    model = registry_pb.Model(name="models/gated", gates=[gate_pb2.Gate(kind="evaluation")])
    request = registry_pb.UpdateModelRequest(model=model)
    request.update_mask.paths.append("gates")
    control.registry.UpdateModel(request)
    claimed, number = made.publish("NOT_BLESSED")
    with pytest.raises(TurnoutError) as refused:
        made.deploy(claimed)
    assert refused.value.reason == "GATES_NOT_PASSED"
    assert "policies/gated/runs/2 says NOT_BLESSED: so it was measured" in str(refused.value)
    control.training.CancelRun(pb.CancelRunRequest(name=claimed.run.name))
    name = f"models/gated/versions/{number}"
    for alias in (
        lambda: control.registry.PromoteVersion(registry_pb.PromoteVersionRequest(name=name)),
        lambda: control.registry.SetAlias(registry_pb.SetAliasRequest(name=name, alias="champion")),
    ):
        with pytest.raises(TurnoutError) as refused:
            alias()
        assert refused.value.reason == "GATES_NOT_PASSED"
    assert made.champion() == 1
    made.ship()
    assert made.champion() == 3
    kept = control.registry.GetGateStatus(gate_pb2.GetGateStatusRequest(name="models/gated/versions/3")).kept
    said = json.loads(kept[0].evidence_json)
    assert (said["run"], said["verdict"]) == ("policies/gated/runs/3", "BLESSED")
