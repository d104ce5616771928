"""Ramps that go on by themselves: by one gateway at a time, on what the journal says."""

from __future__ import annotations

import numpy as np
import pytest
from sqlalchemy import update

from experiments import life, records
from experiments.definition import Direction, Metric, MetricKind, Role
from experiments.ramp import rows
from experiments.ramp.definition import Guardrail, GuardrailKind, Ramp, Step
from experiments.ramp.standing import RampEventKind, RampState
from gateway.control.experiments import ExperimentControl
from gateway.control.ramp_leases import Judges
from gateway.control.ramping import RampRunner
from gateway.control.ramps import RampControl
from gateway.journal.log import EventLog
from gateway.journal.record import Output, Prediction, encode
from gateway.journal.writer import JournalWriter
from storage.clock import ReplayClock
from storage.schema import leases

NAME = "v1-against-v2"
RAMP = Ramp(
    steps=(Step(0.1, minimum_time_us=1_000, minimum_units=20), Step(0.5, minimum_time_us=1_000, minimum_units=20)),
    guardrails=(Guardrail(GuardrailKind.ERROR_RATE),),
)
ERRORS = Metric("errors", MetricKind.ERROR_RATE, "", Direction.DECREASE, Role.SUCCESS)


class Stage:
    """A started ramp, a journal, and the gateways that look after it."""

    def __init__(self, folder, database, experiment):
        self.database, self.folder = database, folder
        self.clock = ReplayClock(folder / "clock")
        self.clock.advance_to(10_000)
        self.journal = JournalWriter(folder / "journal", name="worker-0", clock=self.clock)
        with database.write() as tx:
            records.create(tx, experiment, actor="ada", now_us=10_000)
            life.start(tx, NAME, actor="ada", now_us=10_000)

    def runner(self, holder):
        return RampRunner(
            database=self.database,
            clock=self.clock,
            events=EventLog(self.folder),
            control=ExperimentControl(database=self.database, clock=self.clock),
            holder=holder,
            eager=True,
        )

    def pass_us(self, time_us):
        self.clock.advance_to(self.clock.now_us() + time_us)

    def call(self, units, *, failing=(), first=0):
        """Let so many units of each arm call."""
        epoch = self.experiment().epoch
        now_us = self.clock.now_us()
        self.journal.append(
            [
                encode(
                    Prediction(
                        request_id=f"{epoch}-{arm}-{number}",
                        time_us=now_us,
                        event_time_us=now_us,
                        model="flight-delay",
                        version=1 + (arm == "treatment"),
                        digest="d",
                        experiment=NAME,
                        variant=arm,
                        epoch=epoch,
                        propensity=0.5,
                        unit_id=f"{arm}-{number}",
                        latency_us=500,
                        status=13 * (arm == "treatment" and number in failing),
                        outputs=[Output("p", "float64", (1,), np.array([0.5]).tobytes())],
                    )
                )
                for number in range(first, first + units)
                for arm in ("control", "treatment")
            ]
        )

    def standing(self):
        with self.database.read() as tx:
            return rows.get_standing(tx, NAME)

    def experiment(self):
        with self.database.read() as tx:
            return records.get(tx, NAME)

    def kinds(self):
        with self.database.read() as tx:
            return [each.kind for each in rows.list_events(tx, NAME, limit_max=99)]

    def let_leases_expire(self):
        with self.database.write() as tx:
            tx.execute(update(leases).values(expires_us=0))


@pytest.fixture
def stage(tmp_path, database, make_experiment):
    found = Stage(tmp_path, database, make_experiment(ramp=RAMP, metrics=(ERRORS,)))
    yield found
    found.journal.close()


def test_a_ramp_goes_on_when_its_step_has_what_it_needs_and_ends(stage):
    runner = stage.runner("one")
    runner.look()
    stage.call(30)
    runner.look()
    assert "lasts for" in runner.known(NAME).decision.reasons[0]
    assert stage.standing().step == 1
    stage.pass_us(1_000)
    runner.look()
    assert (stage.standing().step, stage.experiment().coverage) == (2, 1.0)
    stage.call(30)
    stage.pass_us(1_000)
    runner.look()
    assert stage.kinds() == [RampEventKind.STARTED, RampEventKind.ADVANCED, RampEventKind.COMPLETED]
    runner.look()
    assert runner.known(NAME) is None


def test_a_breach_ends_the_experiment_before_the_steps_time(stage):
    runner = stage.runner("one")
    runner.look()
    stage.call(60, failing=range(20))
    runner.look()
    assert stage.standing().state is RampState.ROLLED_BACK
    assert stage.experiment().winner == ""
    assert "20 of 60 units of the candidate" in stage.standing().reasons[0]


def test_a_silent_ramp_is_held_and_goes_on_by_itself(stage):
    runner = stage.runner("one")
    runner.look()
    stage.pass_us(120_000_000)
    runner.look()
    assert stage.standing().state is RampState.HOLDING
    stage.call(30)
    runner.look()
    assert stage.standing().state is RampState.RUNNING
    runner.look()
    assert stage.standing().step == 2


def test_one_gateway_at_a_time_looks_after_a_ramp_and_another_takes_over(stage):
    one, other = stage.runner("one"), stage.runner("other")
    one.look()
    other.look()
    assert (one.known(NAME) is not None, other.known(NAME)) == (True, None)
    stage.call(30)
    stage.pass_us(1_000)
    stage.let_leases_expire()
    other.look()
    # It counts anew, with a part of alpha of its own, and has not looked yet.
    assert (stage.standing().window, stage.standing().step) == (2, 1)
    one.look()
    assert stage.standing().step == 1, "the lease is the other's"
    other.look()
    one.look()
    assert stage.standing().step == 2
    assert stage.kinds().count(RampEventKind.ADVANCED) == 1


def test_a_ramp_says_which_gateway_judges_it_and_whose_calls_that_does_not_see(stage):
    one, other = stage.runner("one"), stage.runner("other")
    control = RampControl(database=stage.database, clock=stage.clock, known=one.known)
    one.look()
    assert control.get(NAME).judges == Judges("one")
    other.look()
    assert control.get(NAME).judges == Judges("one", ("other",))
    stage.let_leases_expire()
    assert control.get(NAME).judges == Judges()
    later = stage.runner("other")
    later.look()
    assert control.get(NAME).judges == Judges("other")
    control.abort(NAME, reason="enough", actor="ada")
    assert control.get(NAME).judges == Judges()


def test_what_was_due_when_the_lease_was_lost_is_not_done(stage):
    one, other = stage.runner("one"), stage.runner("other")
    one.look()
    stage.call(30)
    stage.pass_us(1_000)
    stage.let_leases_expire()
    # It still believes that the lease is its own, and that a step is due: the transaction finds out.
    one.look()
    assert stage.standing().step == 1
    assert one.known(NAME) is None
    other.look()
    assert other.known(NAME) is not None


def test_a_gateway_that_begins_again_under_its_name_need_not_wait(stage):
    stage.runner("one").look()
    again = stage.runner("one")
    again.look()
    again.look()
    assert again.known(NAME) is not None
    assert stage.standing().window == 2
