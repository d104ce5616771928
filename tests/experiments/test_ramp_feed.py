"""What ramps see of the journal: each kind of bad call, once, whatever happens to the segments."""

from __future__ import annotations

import time

import numpy as np
import pytest

from experiments.ramp.controller import Action, Live, Scene, decide
from experiments.ramp.definition import Guardrail, GuardrailKind, Ramp, Step
from experiments.ramp.safety import SafetyWatch
from experiments.ramp.standing import RampState, Standing
from gateway.control.ramp_feed import RampFeed, Wanted
from gateway.journal.record import Outcome, Output, Prediction, encode
from gateway.journal.writer import JournalWriter
from storage.clock import SystemClock

RAMP = Ramp(
    steps=(Step(0.5, minimum_time_us=0, minimum_units=0),),
    guardrails=(
        Guardrail(GuardrailKind.ERROR_RATE),
        Guardrail(GuardrailKind.LATENCY, limit_us=10_000),
        Guardrail(GuardrailKind.FEATURE_DEFAULT_RATE),
        Guardrail(GuardrailKind.OUTPUT_RANGE, output="p", output_index=1, lower=0.0, upper=1.0),
    ),
)
WELL = (False, None, False, False)


def wanted(**changes):
    values = {
        "experiment": "e",
        "ramp": RAMP,
        "epoch": 3,
        "since_us": 1_000,
        "control": "old",
        "by_request": False,
    }
    return Wanted(**values | changes)


def call(number=0, **changes):
    values = {
        "request_id": f"r{number}",
        "time_us": 2_000,
        "event_time_us": 2_000,
        "model": "m",
        "version": 2,
        "digest": "d",
        "experiment": "e",
        "variant": "new",
        "epoch": 3,
        "propensity": 0.5,
        "unit_id": f"u{number}",
        "latency_us": 700,
        "run_us": 200,
        "run_rows": 5,
        "others_us": 300,
        "view_status": bytes([1, 1]),
        "outputs": [Output("p", "float64", (1, 2), np.array([0.3, 0.7]).tobytes())],
    }
    return Prediction(**values | changes)


@pytest.fixture
def journal(tmp_path):
    opened = JournalWriter(tmp_path, name="worker-0", clock=SystemClock())
    yield opened
    opened.close()


@pytest.fixture
def feed(tmp_path, journal):
    journal.append([encode(call(99))])
    found = RampFeed(tmp_path)
    assert not found.poll([wanted()])["e"].sightings, "what came before is not given out"
    return found


def caught(feed, **changes):
    return feed.poll([wanted(**changes)])["e"].sightings


@pytest.mark.parametrize(
    ("changes", "bad"),
    [
        ({}, WELL),
        ({"status": 13, "outputs": []}, (True, None, False, False)),
        ({"view_status": bytes([1, 2])}, (False, None, True, False)),
        ({"view_status": bytes([5, 3])}, (False, None, True, False)),
        ({"outputs": [Output("p", "float32", (1, 2), np.float32([0, 1.5]).tobytes())]}, (False, None, False, True)),
        ({"outputs": [Output("p", "float64", (1, 2), np.array([5, np.nan]).tobytes())]}, (False, None, False, True)),
        ({"outputs": [Output("p", "int64", (1, 2), np.int64([7, 1]).tobytes())]}, WELL),
        ({"outputs": [Output("q", "float64", (1, 2), np.array([7.0, 7]).tobytes())]}, WELL),
    ],
)
def test_each_kind_of_bad_call_is_seen(journal, feed, changes, bad):
    journal.append([encode(call(1, **changes))])
    (found,) = caught(feed)
    assert (found.bad, found.candidate, found.took) == (bad, True, (400, 200, 5))


@pytest.mark.parametrize(
    "changes",
    [{"experiment": "e2"}, {"epoch": 2}, {"epoch": 0}, {"time_us": 999}, {"fallback": True}, {"experiment": ""}],
)
def test_calls_of_another_split_or_experiment_or_of_no_version_of_the_arm_are_not(journal, feed, changes):
    outcome = Outcome(request_id="e", name="e", value=1.0, event_time_us=1, time_us=2_000)
    journal.append([encode(call(1, **changes)), encode(outcome), encode(call(2, variant="old"))])
    (found,) = caught(feed)
    assert not found.candidate


def test_each_call_is_given_out_once_while_segments_are_sealed_and_go(tmp_path):
    journal = JournalWriter(
        tmp_path, name="worker-0", clock=SystemClock(), segment_bytes_max=2_000, segment_age_max_s=3_600
    )
    feed = RampFeed(tmp_path)
    feed.poll([wanted()])
    units = []
    for number in range(60):
        journal.append([encode(call(number))])
        if number % 7 == 0:
            units += [each.unit for each in caught(feed)]
            for sealed in tmp_path.glob("*.sealed"):
                sealed.unlink()
    journal.close()
    units += [each.unit for each in caught(feed)]
    assert len(units) == len(set(units)) == 60
    assert not caught(feed)


def test_a_request_is_a_unit_where_requests_are_assigned(journal, feed):
    journal.append([encode(call(1)), encode(call(2, unit_id="u1"))])
    one, other = caught(feed)
    assert one.unit == other.unit
    journal.append([encode(call(3)), encode(call(4, unit_id="u3"))])
    one, other = caught(feed, by_request=True)
    assert one.unit != other.unit


def test_a_ramp_whose_units_are_in_both_arms_holds(journal, feed):
    calls = [call(number, variant=("new", "old")[number % 2]) for number in range(40)]
    calls += [call(100 + number, unit_id=f"u{number}", variant="old") for number in range(10)]
    journal.append([encode(each) for each in calls])
    watch = SafetyWatch(RAMP)
    watch.take(caught(feed))
    assert watch.exposed == 5
    now_us = time.time_ns() // 1000
    live = Live(watch.readings(), (20, 20), (now_us, now_us), watch.exposed_share)
    scene = Scene(Standing("e", RampState.RUNNING, 1, 0), RAMP, running=True, now_us=now_us, live=live)
    assert decide(scene).action is Action.HOLD
