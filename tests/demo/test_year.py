"""The year: what its policies are, how its promises are judged, and, in the long form, the year itself."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

import pyarrow as pa
import pytest
from rich.console import Console

from trainer.demo.screen import Screen
from trainer.demo.sender import SAMPLES
from trainer.demo.year.evidence import measured, moved
from trainer.demo.year.history import History
from trainer.demo.year.page import page
from trainer.demo.year.plan import YEAR
from trainer.demo.year.result import IMPOSSIBLE, KEEP, SHIFT_US, Result
from trainer.demo.year.story import POLICIES, tell
from trainer.records.policy import DeploymentMode
from trainer.runner.definitions import definition_in
from turnout.cli.policy_file import read_policy
from turnout.trainer.v1 import policy_pb2, run_pb2

DAY_US = 86_400_000_000
DRIFT = (
    '{"numbers": {}, "findings": [{"subject": "weather.temperature", "flagged": true, '
    '"numbers": {"effect": 2.5, "floor": 1.5}}]}'
)


def run_of(policy, number, state, **facts):
    return run_pb2.Run(
        name=f"policies/{policy}/runs/{number}",
        state=state,
        create_time_us=SHIFT_US[0] + number * DAY_US,
        steps=[
            run_pb2.StepReport(step=run_pb2.RUN_STEP_TRAIN, done=True, result_json='{"parity": "AGREES"}'),
            run_pb2.StepReport(step=run_pb2.RUN_STEP_EVALUATE, done=True, result_json='{"verdict": "BLESSED"}'),
        ],
        **facts,
    )


def result_of(*runs):
    """Return what a year came to that had these runs, and a check that fired."""
    rows = [
        {
            "sent_s": at,
            "latency_ms": 1.0,
            "event_us": YEAR.start_us + at * DAY_US,
            "version": 1,
            "variant": "",
            "ok": True,
        }
        for at in range(20)
    ]
    evidence = run_pb2.TriggerEvidence(
        kind=policy_pb2.TRIGGER_KIND_DRIFT,
        verdict=run_pb2.TRIGGER_VERDICT_FIRE,
        sentence="it is <warm>",
        evidence_json=DRIFT,
    )
    check = run_pb2.Check(
        name=f"policies/{KEEP}/checks/1", create_time_us=YEAR.start_us + DAY_US, evidence=[evidence], run=runs[0].name
    )
    return Result(
        samples=pa.Table.from_pylist(rows, schema=SAMPLES),
        failures=[],
        outcomes_acknowledged=20,
        outcomes_refused=0,
        history=History([check], runs, {}, [], [(YEAR.start_us + 9 * DAY_US, 2, "the ramp came to its end")]),
        duration_s=1.0,
    )


PROMOTED = run_of(
    KEEP, 1, run_pb2.RUN_STATE_DEPLOYED, check=f"policies/{KEEP}/checks/1", experiment="experiments/keep-run-1"
)
REFUSED = run_of(IMPOSSIBLE, 2, run_pb2.RUN_STATE_REFUSED)


def test_both_policies_are_ones_that_a_gateway_takes_and_the_second_would_promote_at_once():
    keep, impossible = (definition_in(read_policy(POLICIES / f"{name}.toml").policy) for name in (KEEP, IMPOSSIBLE))
    assert keep.model == impossible.model
    assert keep.deployment.mode is DeploymentMode.RAMP
    assert impossible.deployment.mode is DeploymentMode.IMMEDIATE
    assert impossible.evaluation.minimum_gain > 0.15  # more than there is to gain: the Brier score of flights
    for policy in (keep, impossible):
        assert policy.data.gap >= policy.data.label_delay_us
        assert f"// {YEAR.interval_us} * {YEAR.interval_us}" in policy.data.label_sql


def test_a_year_without_what_it_promises_says_so():
    assert result_of(PROMOTED, REFUSED).broken_promises() == []
    assert "no run that a trigger made" in result_of(REFUSED).broken_promises()[0]
    assert "was not put to the test" in result_of(PROMOTED).broken_promises()[0]
    published = run_of(IMPOSSIBLE, 3, run_pb2.RUN_STATE_DEPLOYED, version="models/flight-delay/versions/3")
    assert any("published a version" in said for said in result_of(PROMOTED, published).broken_promises())
    by_hand = run_of(KEEP, 4, run_pb2.RUN_STATE_DEPLOYED, experiment="experiments/x")
    assert "no run that a trigger made" in result_of(by_hand, REFUSED).broken_promises()[0]


def test_the_report_shows_what_fired_and_what_came_of_it():
    found = result_of(PROMOTED, REFUSED)
    shown = page(found)
    assert "it is &lt;warm&gt;" in shown
    assert "weather.temperature" in shown
    assert moved(found.history.checks, "weather.temperature")[0].effect == 2.5
    assert measured(found.history.checks, "performance") == []
    for part in shown.split("<svg")[1:]:
        ET.fromstring("<svg" + part.partition("</svg>")[0] + "</svg>")  # noqa: S314  our own


@pytest.mark.soak
@pytest.mark.timeout(3_600)
def test_the_year_holds_its_promises(tmp_path):
    with Screen(Console(file=io.StringIO())) as screen:
        result = tell(YEAR, tmp_path, screen)
    assert result.broken_promises() == []
    assert result.requests > 70_000
    assert len(result.promoted) >= 2
    assert "<svg" in page(result)
