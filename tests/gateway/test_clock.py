import subprocess
import sys

import grpc
import pytest

from turnout.admin.v1 import admin_service_pb2 as apb
from turnout.events.v1 import event_service_pb2 as epb
from turnout.serving.v1.prediction_service_pb2_grpc import PredictionServiceStub

NOON_US = 1_357_041_600_000_000  # 2013-01-01 12:00
HOUR_US = 3_600_000_000


@pytest.fixture(scope="module")
def replaying(launch, tmp_path_factory):
    running = launch(tmp_path_factory.mktemp("clock") / "state", "--clock", "replay", workers=2)
    yield running
    running.stop()


def advance(operator, now_us):
    return operator.admin.AdvanceClock(apb.AdvanceClockRequest(now_us=now_us)).now_us


def times_us(operator):
    """Return when the predictions were recorded, by the gateway's clock."""
    events = operator.events.TailEvents(epb.TailEventsRequest(limit=1000))
    return {event.time_us for event in events if event.kind == epb.EVENT_KIND_PREDICTION}


def test_the_time_stands_still_until_it_is_moved_for_all_processes_at_once(replaying, operate, request_for):
    operator = operate(replaying)
    assert advance(operator, NOON_US) == NOON_US
    operator.publish("m", 2.0, alias="champion")
    operator.wait()
    for now_us in (NOON_US, NOON_US + HOUR_US):
        advance(operator, now_us)
        assert operator.status().now_us == now_us
        for _ in range(8):  # a connection each, so that both workers answer
            with replaying.data_channel() as channel:
                PredictionServiceStub(channel).Predict(request_for("m"), timeout=10)
        assert max(times_us(operator)) == now_us
    assert times_us(operator) == {NOON_US, NOON_US + HOUR_US}


def test_the_time_never_goes_back(replaying, operate, refusal):
    operator = operate(replaying)
    now_us = advance(operator, operator.status().now_us + 1)
    code, reason, _ = refusal(advance, operator, now_us - 1)
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CLOCK_BACKWARDS")
    assert operator.status().now_us == now_us
    assert advance(operator, now_us) == now_us


def test_the_time_is_the_same_after_a_restart(launch, tmp_path, operate):
    first = launch(tmp_path / "state", "--clock", "replay")
    advance(operate(first), NOON_US)
    first.kill()
    second = launch(tmp_path / "state", "--clock", "replay")
    assert operate(second).status().now_us == NOON_US
    second.stop()


def test_deadlines_stay_wall_clock_on_the_replay_clock(replaying, operate):
    operator = operate(replaying)
    advance(operator, operator.status().now_us + 24 * HOUR_US)
    # The default deadline is seconds away by the machine's time, whatever the replayed day.
    assert operator.predict("m").version == 1


def test_the_machines_time_is_not_moved(gateway, operate, refusal):
    operator = operate(gateway)
    code, reason, message = refusal(advance, operator, NOON_US)
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "CLOCK_NOT_REPLAY")
    assert "--clock replay" in message


@pytest.mark.parametrize("host", ["0.0.0.0", "example.org"])  # noqa: S104  (refused before it is bound)
def test_the_replay_clock_is_refused_beyond_loopback(tmp_path, host):
    state = tmp_path / "state"
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "--state", state, "--clock", "replay", "--host", host],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2  # settings that do not go together are wrong usage
    assert "replay clock" in done.stderr
    assert not state.exists()
