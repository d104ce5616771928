"""Policies and runs over the contract and by the command line, at a real gateway."""

from __future__ import annotations

import hashlib
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from onnx import TensorProto, helper

from turnout import resources
from turnout.cli.main import main
from turnout.cli.policy_file import read_policy
from turnout.control import Control
from turnout.errors import TurnoutError
from turnout.registry.v1 import registry_service_pb2 as registry_pb
from turnout.trainer.v1 import policy_pb2, run_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

EXAMPLE = Path(__file__).parents[2] / "examples" / "retraining.toml"


@pytest.fixture
def turnout(gateway, monkeypatch, capfd):
    """Return a function that runs one command and returns the JSON that it prints."""
    monkeypatch.setenv("TURNOUT_SERVER", gateway.control_address)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["turnout", *map(str, arguments), "--json"])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capfd.readouterr()
        assert not ended.value.code, said.err
        return json.loads(said.out)

    return run


@pytest.fixture(scope="module")
def control(gateway):
    with Control(gateway.control_address, actor="ada") as connection:
        yield connection


@pytest.fixture
def policy(control, request):
    """Give the name of a policy for a model of the test's own."""
    asked = read_policy(EXAMPLE)
    asked.policy_id = hashlib.sha256(request.node.name.encode()).hexdigest()[:12].replace("", "p", 1)
    asked.policy.model = f"models/{asked.policy_id}"
    return control.training.CreatePolicy(asked).policy.name


def start(control, policy):
    return control.training.StartRun(pb.StartRunRequest(parent=policy, reason="by hand")).run


def claim(control, name, trainer="t1"):
    """Return the claim of a run; what other tests left is cancelled."""
    while True:
        claimed = control.training.ClaimRun(pb.ClaimRunRequest(trainer=trainer))
        assert claimed.HasField("run")
        if claimed.run.name == name:
            return claimed
        control.training.CancelRun(pb.CancelRunRequest(name=claimed.run.name))


def report(control, claimed, step, **result):
    request = pb.ReportStepRequest(name=claimed.run.name, token=claimed.token)
    request.report.step, request.report.done, request.report.result_json = step, True, json.dumps(result)
    return control.training.ReportStep(request).run


def publish(control, claimed, weight, *, token=None):
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "x"], ["y"])] * 1,
        f"by{weight}",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    head = registry_pb.PublishHead(
        parent=claimed.run.model,
        artifact_sha256=hashlib.sha256(content).hexdigest(),
        run=claimed.run.name,
        run_token=claimed.token if token is None else token,
    )
    request = registry_pb.PublishVersionRequest
    return control.registry.PublishVersion(iter([request(head=head), request(chunk=content)])).version


def test_the_example_is_created_shown_paused_resumed_changed_and_removed_by_commands(turnout, tmp_path):
    made = turnout("policies", "create", EXAMPLE)
    assert made["name"] == "policies/petals"
    assert [trigger["kind"] for trigger in made["triggers"]] == ["PERFORMANCE", "DRIFT", "TIME"]
    assert made["triggers"][2]["settings"] == {"age_us": 30 * 86_400_000_000}
    assert made["budget"]["runs_per_day"] == 24
    assert made["data"]["test_share"] == 0.2
    assert turnout("policies", "pause", "petals", "--reason", "holidays")["pause_reason"] == "holidays"
    assert turnout("policies", "resume", "petals")["paused"] is False
    changed = tmp_path / "changed.toml"
    changed.write_text(EXAMPLE.read_text().replace('age = "30d"', 'age = "10d"'))
    updated = turnout("policies", "update", changed, "--etag", turnout("policies", "show", "petals")["etag"])
    assert updated["triggers"][2]["settings"] == {"age_us": 10 * 86_400_000_000}
    assert "petals" in [one["name"].removeprefix("policies/") for one in turnout("policies", "list")["policies"]]
    run = turnout("runs", "start", "petals", "--reason", "to see")
    assert (run["state"], run["reason"]) == ("QUEUED", "to see")
    assert turnout("runs", "list", "--policy", "petals")["runs"][0]["name"] == "policies/petals/runs/1"
    assert turnout("runs", "cancel", "petals", 1)["state"] == "CANCELLED"
    assert turnout("runs", "show", "petals", 1)["findings"] == ["cancelled"]
    assert turnout("policies", "check", "petals", "--wait", 0)["done"] is False
    assert len(turnout("policies", "checks", "petals")["checks"]) == 1
    turnout("policies", "delete", "petals")
    audit = [change["kind"] for change in turnout("audit", "list")["events"]]
    assert {"policy.created", "policy.updated", "policy.paused", "run.queued", "run.cancelled"} <= set(audit)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('model = "m"', "`policy` must be given"),
        ('policy = "p"\nmoon = 1', "'moon' is not known"),
        ('policy = "p"\ncheck = { interval = "soon" }', "check.interval takes a time"),
        ('policy = "p"\n[training]\ntask = "guess"', "training.task = 'guess' is not known; expected one of binary"),
        ('policy = "p"\n[budget]\nruns_per_day = true', "budget.runs_per_day takes a whole number"),
    ],
)
def test_a_file_that_is_no_policy_is_refused_by_its_key(tmp_path, text, said):
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=said.replace("(", "\\(")):
        read_policy(path)


def test_a_policy_that_breaks_a_rule_is_refused_with_its_field(control):
    asked = read_policy(EXAMPLE)
    asked.policy.data.test_share = 0
    with pytest.raises(TurnoutError) as refused:
        control.training.CreatePolicy(asked)
    assert refused.value.reason == "POLICY_INVALID"
    assert refused.value.facts["field"] == "data.test_share"


def test_an_update_replaces_what_its_mask_names_and_nothing_else(control, policy):
    asked = policy_pb2.Policy(name=policy, description="new", budget=policy_pb2.Budget(runs_per_day=2))
    request = pb.UpdatePolicyRequest(policy=asked, update_mask=FieldMask(paths=["budget"]))
    asked.model, asked.data.feature_set = "models/other", "featureSets/other"
    changed = control.training.UpdatePolicy(request).policy
    assert (changed.budget.runs_per_day, changed.description) == (2, "")
    assert changed.data.feature_set == "featureSets/petals"
    with pytest.raises(TurnoutError):
        control.training.UpdatePolicy(pb.UpdatePolicyRequest(policy=asked, update_mask=FieldMask(paths=["etag"])))


def test_a_run_publishes_once_however_often_its_trainer_tries(control, policy):
    claimed = claim(control, start(control, policy).name)
    report(control, claimed, run_pb2.RUN_STEP_TABLE, rows=5)
    first, second = publish(control, claimed, 1), publish(control, claimed, 2)
    assert first.name == second.name == f"{claimed.run.model}/versions/1"
    for token in (0, claimed.token - 1, claimed.token + 1):
        with pytest.raises(TurnoutError) as refused:
            publish(control, claimed, 3, token=token)
        assert refused.value.reason == "LEASE_LOST"
    versions = control.registry.ListVersions(registry_pb.ListVersionsRequest(parent=claimed.run.model)).versions
    assert len(versions) == 1
    request = pb.FinishRunRequest(name=claimed.run.name, token=claimed.token, state=run_pb2.RUN_STATE_PUBLISHED)
    finished = control.training.FinishRun(request).run
    assert finished.version == first.name
    assert json.loads(finished.steps[0].result_json) == {"rows": 5}
    with pytest.raises(TurnoutError) as refused:
        control.training.RenewRun(pb.RenewRunRequest(name=claimed.run.name, token=claimed.token))
    assert refused.value.reason == "LEASE_LOST"


def test_a_watcher_is_told_of_each_turn_until_the_run_is_over(control, policy):
    run = start(control, policy)
    told = control.training.WatchRun(pb.WatchRunRequest(name=run.name), timeout=60)
    assert next(told).event.kind == "queued"
    claimed = claim(control, run.name)
    assert next(told).event.kind == "claimed"
    control.training.ReportStep(pb.ReportStepRequest(name=run.name, token=claimed.token, message="half done"))
    assert next(told).event.message == "half done"
    request = pb.FinishRunRequest(
        name=run.name, token=claimed.token, state=run_pb2.RUN_STATE_REFUSED, findings=["it is worse"]
    )
    control.training.FinishRun(request)
    event, last = list(told)
    assert (event.event.kind, event.event.message) == ("refused", "it is worse")
    assert last.run.state == run_pb2.RUN_STATE_REFUSED


def test_a_trainer_makes_a_check_and_its_evidence_is_shown(control, policy):
    asked = control.training.CheckTriggers(pb.CheckTriggersRequest(name=policy)).check
    while True:
        claimed = control.training.ClaimCheck(pb.ClaimCheckRequest(trainer="t1"))
        if claimed.check.name == asked.name:
            break
        control.training.FinishCheck(
            pb.FinishCheckRequest(name=claimed.check.name, token=claimed.token, failure="another test's")
        )
    evidence = run_pb2.TriggerEvidence(
        kind=policy_pb2.TRIGGER_KIND_TIME,
        verdict=run_pb2.TRIGGER_VERDICT_FIRE,
        sentence="old",
        evidence_json=json.dumps({"age": float(np.float32(2.5))}),
    )
    control.training.FinishCheck(pb.FinishCheckRequest(name=asked.name, token=claimed.token, evidence=[evidence]))
    found = control.training.GetCheck(pb.GetCheckRequest(name=asked.name)).check
    assert found.done
    assert found.dry_run
    assert found.verdict == run_pb2.TRIGGER_VERDICT_FIRE
    assert json.loads(found.evidence[0].evidence_json) == {"age": 2.5}


def test_a_webhook_starts_a_run_and_the_audit_says_where_it_came_from(gateway, control, policy):
    url = f"http://127.0.0.1:{gateway.http}/api/{policy}/runs"
    body = json.dumps({"reason": "the warehouse was loaded"}).encode()
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310
        said = json.loads(answer.read())
        assert answer.status == 201
    run = control.training.GetRun(pb.GetRunRequest(name=said["name"])).run
    assert (run.reason, run.actor, run.trigger) == ("the warehouse was loaded", "webhook", 0)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=30)  # noqa: S310
    assert json.loads(refused.value.read())["reason"] == "RUN_OPEN"
    control.training.CancelRun(pb.CancelRunRequest(name=run.name))


@pytest.mark.parametrize("name", ["policies/x/runs/0", "policies/x", "runs/3", "policies/x/runs/3/more", ""])
def test_what_is_no_name_of_a_run_is_refused(control, name):
    with pytest.raises(TurnoutError) as refused:
        control.training.GetRun(pb.GetRunRequest(name=name))
    assert refused.value.code == "INVALID_ARGUMENT"
    with pytest.raises(resources.ResourceNameError):
        resources.parse_run(name)
