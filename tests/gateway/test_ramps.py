"""Ramps on real gateways: faults in real graphs are rolled back within what was stated, and kills double no step."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from experiments import records
from experiments.ramp.definition import split_of
from storage.database import open_database
from turnout.admin.v1 import admin_service_pb2 as apb
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.experiments.v1 import ramp_pb2
from turnout.registry.v1 import gate_pb2
from turnout.registry.v1 import registry_service_pb2 as rpb

sys.path.insert(0, str(Path(__file__).parent))
from ramps import DEFAULT_SHARES, HOUR_US, NOON_US, Ramped, scoring_model
from ramps import ramped as ramped_definition

PIECE = 50
ROUNDS = 3
"""How often the long form kills the gateway in each step."""
SHORT_SHARES = (0.1, 0.5, 1.0)
ERRORS = ramp_pb2.RampGuardrail(kind=ramp_pb2.RAMP_GUARDRAIL_KIND_ERROR_RATE)
LATENCY = ramp_pb2.RampGuardrail(kind=ramp_pb2.RAMP_GUARDRAIL_KIND_LATENCY, quantile=0.5, ratio=2)
TURNS = 48


AGAIN = pytest.mark.parametrize("turn", [0, *(pytest.param(turn, marks=pytest.mark.soak) for turn in range(1, 8))])
"""Once, and with other units and models in the long form."""


class Site:
    """A gateway on a replay clock that can be moved, killed and started again."""

    def __init__(self, launch, operator_of, state):
        self.launch, self.operator_of, self.state = launch, operator_of, state
        self.now_us = NOON_US
        self.begin()

    def begin(self):
        # Whatever runs, runs in the waves: where a slow version goes apart, it is told from others more easily.
        self.gateway = self.launch(self.state, "--clock", "replay", "--slow-run-ms", "10000", workers=1)
        self.operator = self.operator_of(self.gateway)
        self.pass_us(0)

    def pass_us(self, time_us):
        self.now_us += time_us
        self.operator.admin.AdvanceClock(apb.AdvanceClockRequest(now_us=self.now_us))

    def kill(self):
        self.operator.close()
        self.gateway.kill()


@pytest.fixture(scope="module")
def site(launch, operator_of, tmp_path_factory):
    found = Site(launch, operator_of, tmp_path_factory.mktemp("ramps") / "state")
    yield found
    found.operator.close()
    found.gateway.stop()


def champion(operator, model):
    aliases = operator.registry.GetModel(rpb.GetModelRequest(name=f"models/{model}")).model.aliases
    return {each.alias: each.version for each in aliases}["champion"]


def counted(ramp, guardrail):
    return next(each.candidate_units for each in ramp.readings if each.guardrail == guardrail)


def run_until_rolled_back(ramped, *, most, at_once=8):
    """Let units come in pieces, each looked at before the next comes, until the candidate is gone."""
    sent = 0
    while sent < most:
        ramped.send(PIECE, at_once=at_once)
        sent += PIECE
        ramp = ramped.look(
            lambda ramp, sent=sent: ramp.state != ramp_pb2.RAMP_STATE_RUNNING or counted(ramp, "error_rate") >= sent
        )
        if ramp.state == ramp_pb2.RAMP_STATE_ROLLED_BACK:
            break
    assert ramp.state == ramp_pb2.RAMP_STATE_ROLLED_BACK, (sent, ramp)
    return ramp


def reading_of(event, guardrail):
    return next(each for each in json.loads(event.evidence_json)["guardrails"] if each["guardrail"] == guardrail)


def assert_gone(ramped):
    """The experiment is over without a winner, and the champion answers everybody."""
    found = ramped.operator.experiments.GetExperiment(pb.GetExperimentRequest(name=ramped.name)).experiment
    assert found.state == pb.EXPERIMENT_STATE_CONCLUDED
    assert not found.winner
    assert champion(ramped.operator, ramped.model) == 1
    ramped.operator.wait(int(found.etag))


@AGAIN
def test_errors_in_one_of_twenty_calls_are_rolled_back_within_the_stated_bound(site, turn):
    ramped = Ramped(
        site.operator, f"failing-{turn}", scoring_model(), scoring_model(fails_above=0.95), guardrails=[ERRORS, LATENCY]
    )
    bound = ramped.bounds(baseline=0.0, rise=0.04)["error_rate", 1]
    ramped.start()
    run_until_rolled_back(ramped, most=bound.units + PIECE)
    last = ramped.events()[-1]
    assert last.kind == ramp_pb2.RAMP_EVENT_KIND_ROLLED_BACK
    assert "error_rate" in last.reasons[0]
    found = reading_of(last, "error_rate")
    assert found["candidate_units"] <= bound.units + PIECE
    # All that failed, those too that came while it was rolled back.
    assert 0 < found["candidate_bad"] <= ramped.failed["failed"] <= bound.bad_units
    assert found["control_bad"] == 0
    assert_gone(ramped)


@AGAIN
@pytest.mark.parametrize("at_once", [pytest.param(1, marks=pytest.mark.soak), 8, 32])
def test_a_graph_that_is_three_times_as_slow_is_rolled_back_within_the_stated_bound(site, turn, at_once):
    ramped = Ramped(
        site.operator,
        f"slow-{at_once}-{turn}",
        scoring_model(turns=TURNS),
        scoring_model(turns=3 * TURNS),
        shares=(0.5, 1.0),
        guardrails=[ERRORS, LATENCY],
    )
    bound = ramped.bounds(baseline=0.2, rise=0.4)["latency", 1]
    ramped.start()
    # Most waves have calls of both, which are answered together when both versions have run.
    run_until_rolled_back(ramped, most=bound.units + PIECE, at_once=at_once)
    last = ramped.events()[-1]
    print(f"{at_once} at once, at most {bound.units}: {reading_of(last, 'latency')}")  # noqa: T201
    assert "latency" in last.reasons[0]
    assert reading_of(last, "latency")["candidate_units"] <= bound.units + PIECE
    assert ramped.failed["failed"] == 0
    assert_gone(ramped)


@AGAIN
def test_worse_labels_are_rolled_back_within_the_stated_bound_once_they_are_known(site, turn):
    ramped = Ramped(
        site.operator, f"worse-{turn}", scoring_model(), scoring_model(0.7), minimum_units=10**6, guardrails=[ERRORS]
    )
    # Of the squared error: 0.09 x^2 more, with x from 0 to 1; the variance of the worse arm's.
    bound = ramped.bounds(rise=0.03, variance=0.0015)["error", 0]
    ramped.start()
    sent = 0
    while sent < bound.units + PIECE:
        ramped.send(PIECE)
        sent += PIECE
        ramp = ramped.look(
            lambda ramp, sent=sent: (
                ramp.state != ramp_pb2.RAMP_STATE_RUNNING
                or any(f"{sent} of the candidate have an outcome" in each for each in ramp.reasons)
            )
        )
        if ramp.state == ramp_pb2.RAMP_STATE_ROLLED_BACK:
            break
    assert ramp.state == ramp_pb2.RAMP_STATE_ROLLED_BACK
    last = ramped.events()[-1]
    assert "significantly worse" in last.reasons[0]
    assert json.loads(last.evidence_json)["matured"][1] <= bound.units + PIECE
    assert_gone(ramped)


def climb(site, ramped, shares, *, kill=None):
    """Take an identical candidate through every step, and return the events."""
    for step in range(1, len(shares) + 1):
        ramped.send(200)
        site.pass_us(HOUR_US)
        if kill:
            kill(step, "before")
        ramped.operator = site.operator
        ramped.look(lambda ramp, step=step: ramp.step > step or ramp.state == ramp_pb2.RAMP_STATE_COMPLETED)
        if kill:
            kill(step, "after")
        ramped.operator = site.operator
    return ramped.events()


def assert_climbed(ramped, shares, state):
    """Every step was taken once, in order, with its split; the candidate is the champion."""
    moves = [each for each in ramped.events() if each.kind != ramp_pb2.RAMP_EVENT_KIND_HELD]
    moves = [each for each in moves if each.kind != ramp_pb2.RAMP_EVENT_KIND_RELEASED]
    assert [(each.kind, each.step) for each in moves] == [
        (ramp_pb2.RAMP_EVENT_KIND_STARTED, 1),
        *((ramp_pb2.RAMP_EVENT_KIND_ADVANCED, step) for step in range(2, len(shares) + 1)),
        (ramp_pb2.RAMP_EVENT_KIND_COMPLETED, len(shares)),
    ]
    found = ramped.operator.experiments.GetExperiment(pb.GetExperimentRequest(name=ramped.name)).experiment
    assert (found.state, found.winner) == (pb.EXPERIMENT_STATE_CONCLUDED, "candidate")
    assert champion(ramped.operator, ramped.model) == 2
    database = open_database(f"sqlite:///{state / 'turnout.db'}")
    with database.read() as tx:
        epochs = records.epochs(tx, ramped.name.partition("/")[2])
    database.close()
    assert [each.epoch for each in epochs] == list(range(1, len(shares) + 1))
    for epoch, share in zip(epochs, shares, strict=True):
        coverage, control, candidate = split_of(share)
        assert epoch.counts() == (round(coverage * control * 10_000), round(coverage * candidate * 10_000))


def test_an_identical_candidate_comes_to_the_end_and_becomes_the_champion(site):
    ramped = Ramped(
        site.operator,
        "same",
        scoring_model(),
        scoring_model(salt=1.0),
        shares=SHORT_SHARES,
        guardrails=[ERRORS, LATENCY],
    )
    ramped.start()
    events = climb(site, ramped, SHORT_SHARES)
    assert_climbed(ramped, SHORT_SHARES, site.state)
    assert "200 of the candidate have an outcome" in " ".join(events[1].reasons)


def event_kinds(ramped):
    return [ramp_pb2.RampEventKind.Name(each.kind).removeprefix("RAMP_EVENT_KIND_") for each in ramped.events()]


def test_a_ramp_set_on_a_running_experiment_holds_while_units_of_one_arm_are_missing_and_goes_on_when_they_come(site):
    ramped = Ramped(site.operator, "missing", scoring_model(), scoring_model(salt=1.0), guardrails=[ERRORS])
    update = site.operator.experiments.UpdateExperiment
    mask = FieldMask(paths=["ramp"])
    name, ramp = ramped.name, ramped_definition("missing", shares=(0.5, 1.0), guardrails=[ERRORS], promote=False).ramp
    update(pb.UpdateExperimentRequest(experiment=pb.Experiment(name=name), update_mask=mask))
    site.operator.experiments.StartExperiment(pb.StartExperimentRequest(name=name))
    site.operator.wait()
    with pytest.raises(grpc.RpcError, match="has no ramp"):
        ramped.ramp()
    given = pb.UpdateExperimentRequest(experiment=pb.Experiment(name=name, ramp=ramp), update_mask=mask, etag="1")
    with pytest.raises(grpc.RpcError, match="has changed since you looked"):
        update(given)
    given.etag = site.operator.experiments.GetExperiment(pb.GetExperimentRequest(name=name)).experiment.etag
    site.operator.wait(update(given).revision)
    ramped.look(lambda ramp: ramp.readings)
    with pytest.raises(grpc.RpcError, match="sets its shares"):
        update(pb.UpdateExperimentRequest(experiment=pb.Experiment(name=name, ramp=ramp), update_mask=mask))

    ramped.send(40)
    ramped.send(80, arms=["control"])
    found = ramped.look(lambda ramp: ramp.reasons and "control 120, candidate 40" in ramp.reasons[0])
    assert found.state == ramp_pb2.RAMP_STATE_HOLDING
    site.pass_us(HOUR_US)
    ramped.send(10, arms=["control"])
    found = ramped.look(lambda ramp: "control 130, candidate 40" in ramp.reasons[0])
    assert (found.state, found.step) == (ramp_pb2.RAMP_STATE_HOLDING, 1), "the step has all that it needs but the split"
    ramped.send(90, arms=["candidate"])
    ramped.look(lambda ramp: ramp.step == 2)
    assert event_kinds(ramped) == ["STARTED", "HELD", "RELEASED", "ADVANCED"]
    held = json.loads(ramped.events()[1].evidence_json)
    assert held["action"] == "hold"
    assert any("units are lost unevenly" in each for each in held["doubts"])


def test_a_candidate_that_the_gates_refuse_holds_at_the_last_step_with_nothing_moved_until_they_are_cleared(site):
    ramped = Ramped(
        site.operator, "gated", scoring_model(), scoring_model(salt=1.0), shares=(0.4, 1.0), guardrails=[ERRORS]
    )
    gate = gate_pb2.Gate(kind="approval", settings_json='{"role": "boss"}')
    model = rpb.Model(name="models/gated", gates=[gate])
    site.operator.registry.UpdateModel(rpb.UpdateModelRequest(model=model, update_mask=FieldMask(paths=["gates"])))
    ramped.start()
    for step in (1, 2):
        ramped.send(40)
        site.pass_us(HOUR_US)
        ramped.look(lambda ramp, step=step: ramp.step > step or ramp.state == ramp_pb2.RAMP_STATE_HOLDING)
    get = pb.GetExperimentRequest(name=ramped.name)
    before = site.operator.experiments.GetExperiment(get).experiment
    # It is tried again every second or two: nothing comes of that, and it is not told again and again.
    time.sleep(3)
    found = ramped.ramp()
    assert (found.state, found.step) == (ramp_pb2.RAMP_STATE_HOLDING, 2)
    assert found.reasons[0].startswith("the candidate cannot be made the champion: ")
    assert "boss" in found.reasons[0]
    assert event_kinds(ramped) == ["STARTED", "ADVANCED", "HELD"]
    assert site.operator.experiments.GetExperiment(get).experiment == before
    assert (before.state, before.winner) == (pb.EXPERIMENT_STATE_RUNNING, "")
    assert champion(site.operator, "gated") == 1
    assert ramped.send(20) == {"candidate": 20}

    approval = gate_pb2.ApproveVersionRequest(name="models/gated/versions/2", role="boss")
    site.operator.registry.ApproveVersion(approval)
    ramped.look(lambda ramp: ramp.state == ramp_pb2.RAMP_STATE_COMPLETED)
    assert event_kinds(ramped) == ["STARTED", "ADVANCED", "HELD", "RELEASED", "COMPLETED"]
    found = site.operator.experiments.GetExperiment(get).experiment
    assert (found.state, found.winner) == (pb.EXPERIMENT_STATE_CONCLUDED, "candidate")
    assert champion(site.operator, "gated") == 2


@pytest.mark.parametrize(
    ("shares", "boundaries", "rounds"),
    [
        (SHORT_SHARES[1:], {(1, "after"), (2, "before")}, 1),
        pytest.param(
            DEFAULT_SHARES,
            {(step, when) for step in range(1, 7) for when in ("before", "after")},
            ROUNDS,
            marks=pytest.mark.soak,
        ),
    ],
)
@pytest.mark.timeout(900)
def test_a_gateway_that_is_killed_at_step_boundaries_skips_and_doubles_no_step(
    launch, operator_of, tmp_path, shares, boundaries, rounds
):
    site = Site(launch, operator_of, tmp_path / "state")
    random = np.random.default_rng(11)
    ramped = Ramped(site.operator, "same", scoring_model(), scoring_model(salt=1.0), shares=shares, guardrails=[ERRORS])
    ramped.start()
    kills = 0

    def kill(step, when):
        nonlocal kills
        for _ in range(rounds * ((step, when) in boundaries)):
            # Somewhere in the second in which it looks, decides and steps.
            time.sleep(random.random())
            site.kill()
            kills += 1
            site.begin()

    climb(site, ramped, shares, kill=kill)
    assert_climbed(ramped, shares, site.state)
    assert kills == len(boundaries) * rounds
    site.kill()
