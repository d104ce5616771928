import os
import signal
import time

import pytest

BACK_WITHIN_S_MAX = 20.0
"""Far above the 2 s that an idle machine takes; the times seen are printed."""


@pytest.fixture(params=["native", "grpcio"])
def killed(launch, tmp_path, request):
    running = launch(tmp_path / "state", "--transport", request.param, workers=2)
    yield running
    running.stop()


def workers_of(operator):
    return {worker.slot: worker for worker in operator.status().workers}


def kill_and_wait(operator, slot):
    """Kill the worker of a slot with no warning, and return when that was and when its successor answered."""
    before = workers_of(operator)[slot]
    os.kill(before.pid, signal.SIGKILL)
    started = time.monotonic()
    while time.monotonic() < started + BACK_WITHIN_S_MAX:
        now = workers_of(operator)[slot]
        if now.ready and now.pid not in (0, before.pid):
            return started, time.monotonic()
        time.sleep(0.02)
    raise AssertionError(f"worker {slot} was not back after {BACK_WITHIN_S_MAX} s: {now}")


@pytest.mark.parametrize(
    ("kills", "pause_s", "rate_per_s"),
    [(2, 0.3, 150), pytest.param(20, 11.0, 300, marks=pytest.mark.soak)],
    ids=["short", "soak"],
)
def test_a_worker_that_is_killed_costs_no_call_and_no_event(
    killed, operate, load, journalled, kills, pause_s, rate_per_s
):
    operator = operate(killed)
    operator.publish("m", 2.0, alias="champion")
    operator.wait()
    away = []
    with load(killed.data_address, "m", rate_per_s=rate_per_s, connections=6, outcomes=True) as calls:
        calls.wait_for(20)
        for number in range(kills):
            away.append(kill_and_wait(operator, number % 2))
            calls.wait_for(20)
            time.sleep(pause_s)
    held = journalled(killed.state)
    shown = ", ".join(f"{back - gone:.2f}" for gone, back in away)
    print(f"back after {shown} s; {len(calls.answers)} answers, {len(calls.retries)} retries")  # noqa: T201
    assert calls.failures == []
    # The port went on answering while a worker was away.
    assert all(any(gone < each.asked < each.answered < back for each in calls.answers) for gone, back in away)
    held.has_once(calls)
    assert len(calls.acknowledged) == len(calls.answers)
    counts = operator.counts()
    assert (counts.predictions, counts.outcomes) == (len(held.predictions), len(held.outcomes))
    assert counts.joined_outcomes == len(held.outcomes)
    # Nothing but a call that was tried again may stand there twice or without an answer.
    assert set(held.predictions) == {answer.request_id for answer in calls.answers}
    assert sum(held.records.values()) - len(held.predictions) <= len(calls.retries)
    assert sum(worker.restarts for worker in operator.status().workers) == kills
