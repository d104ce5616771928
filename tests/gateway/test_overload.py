"""What a gateway says when it is asked too much, or too late."""

import contextlib
import threading
import time
from collections import Counter
from dataclasses import dataclass

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from gateway.errors import OverloadedError
from gateway.journal.log import EventLog
from turnout.errors import from_rpc
from turnout.serving.v1 import prediction_service_pb2_grpc

CALLS_MAX = 4


@dataclass(frozen=True)
class Ended:
    """How a call ended, and when, in seconds after the first was sent."""

    request_id: str
    code: grpc.StatusCode
    reason: str
    after_s: float


class Crowd:
    """Callers of a slow model, each on a connection of its own."""

    def __init__(self, gateway, operator, looping):
        self.gateway = gateway
        self.looping = looping
        self.operator = operator
        self.times = 40

    def calibrate(self, run_s):
        """Choose how often the model loops, so that a run takes about so long."""
        self.operator.predictions.Predict(self.looping(self.times), timeout=30)
        started = time.monotonic()
        self.operator.predictions.Predict(self.looping(self.times), timeout=30)
        self.times = max(1, int(self.times * run_s / (time.monotonic() - started)))

    def call(self, prefix, calls, *, timeout_s=30.0, longer=1):
        """Send so many calls at once, whose runs take so many times longer, and return how each ended."""
        ended = []
        start = threading.Barrier(calls)
        first = time.monotonic()

        def run(number):
            with self.gateway.data_channel() as channel:
                grpc.channel_ready_future(channel).result(timeout=10)
                start.wait()
                code, reason, request_id = grpc.StatusCode.OK, "", f"{prefix}-{number}"
                try:
                    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
                    stub.Predict(self.looping(longer * self.times, request_id=request_id), timeout=timeout_s)
                except grpc.RpcError as error:
                    code, reason = error.code(), reason_of(error)
                ended.append(Ended(request_id, code, reason, time.monotonic() - first))

        threads = [threading.Thread(target=run, args=(number,)) for number in range(calls)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return ended

    def journalled(self):
        """Return the status and the reason that stand in the journal, by request id."""
        with EventLog(self.gateway.state).snapshot() as events:
            rows = events.execute("SELECT request_id, status, reason FROM predictions").fetchall()
        return {request_id: (status, reason) for request_id, status, reason in rows}


def reason_of(error):
    """Return the reason in an error's details; empty when it has none, as the client's own deadline."""
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    if details is None:
        return ""
    info = error_details_pb2.ErrorInfo()
    status_pb2.Status.FromString(details).details[0].Unpack(info)
    return info.reason


@pytest.fixture(scope="module", params=["native", "grpcio"])
def crowd(launch, tmp_path_factory, request, operator_of, looping):
    state = tmp_path_factory.mktemp("overload") / "state"
    running = launch(state, "--transport", request.param, "--calls-max", str(CALLS_MAX), "--slow-run-ms", "60000")
    operator = operator_of(running)
    operator.publish_slow()
    operator.publish("other", 2.0, alias="champion")
    operator.wait()
    made = Crowd(running, operator, looping)
    made.calibrate(0.3)
    yield made
    operator.close()
    running.stop()


def test_calls_past_the_bound_are_refused_before_those_within_it_are_done(crowd):
    ended = crowd.call("burst", 6 * CALLS_MAX)
    answered = [each for each in ended if each.code is grpc.StatusCode.OK]
    refused = [each for each in ended if each.code is grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert len(answered) + len(refused) == len(ended)
    assert len(answered) >= CALLS_MAX
    assert len(refused) >= 2 * CALLS_MAX
    assert {each.reason for each in refused} == {"OVERLOADED"}
    # At once means: nobody waits for a turn that does not come.
    assert max(each.after_s for each in refused) < max(each.after_s for each in answered)
    # What was refused never got as far as an assignment; what was answered is journalled.
    held = crowd.journalled()
    assert {held[each.request_id] for each in answered} == {(0, "")}
    assert not {each.request_id for each in refused} & held.keys()
    assert [each.code for each in crowd.call("after", 1)] == [grpc.StatusCode.OK]


def test_a_refusal_says_when_to_try_again(crowd):
    refusals = []

    def call():
        with crowd.gateway.data_channel() as channel, contextlib.suppress(grpc.RpcError):
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            try:
                stub.Predict(crowd.looping(crowd.times), timeout=30, wait_for_ready=True)
            except grpc.RpcError as error:
                refusals.append(error)
                raise

    threads = [threading.Thread(target=call) for _ in range(4 * CALLS_MAX)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refusals
    trailing = dict(refusals[0].trailing_metadata())
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    retry = error_details_pb2.RetryInfo()
    assert status.details[1].Unpack(retry)
    assert retry.retry_delay.ToTimedelta().total_seconds() == OverloadedError.retry_after_s
    assert trailing["grpc-retry-pushback-ms"] == "100"
    assert from_rpc(refusals[0]).retry_after_s == OverloadedError.retry_after_s


def test_a_flood_at_one_model_does_not_keep_out_who_asks_another(crowd, scale_of):
    stop = threading.Event()
    times = max(1, crowd.times // 20)
    ended = Counter()

    def flood():
        with crowd.gateway.data_channel() as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not stop.is_set():
                try:
                    stub.Predict(crowd.looping(times), timeout=30, wait_for_ready=True)
                    ended[grpc.StatusCode.OK] += 1
                except grpc.RpcError as error:
                    ended[error.code()] += 1

    threads = [threading.Thread(target=flood) for _ in range(4 * CALLS_MAX)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(12):
            assert scale_of(crowd.operator.predict("other")) == 2.0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    # Room was short all the time; one in ten would have got in by chance.
    assert ended.keys() == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert ended[grpc.StatusCode.RESOURCE_EXHAUSTED] > 12


def test_a_deadline_that_passes_while_the_model_runs_is_told_and_journalled(crowd):
    # It is far more than a worker takes to begin on a busy machine, and far less than the run.
    (ended,) = crowd.call("late", 1, timeout_s=0.6, longer=6)
    assert ended.code is grpc.StatusCode.DEADLINE_EXCEEDED
    until = time.monotonic() + 20
    while ended.request_id not in (held := crowd.journalled()):
        assert time.monotonic() < until, "the run that came too late is not in the journal"
        time.sleep(0.05)
    assert held[ended.request_id] == (grpc.StatusCode.DEADLINE_EXCEEDED.value[0], "DEADLINE_SPENT")


def test_calls_that_expire_while_they_wait_never_run(crowd):
    leader = threading.Thread(target=crowd.call, args=("leader", 1))
    leader.start()
    time.sleep(0.1)
    ended = crowd.call("waiting", CALLS_MAX - 1, timeout_s=0.05)
    leader.join()
    assert [each.code for each in crowd.call("next", 1)] == [grpc.StatusCode.OK]
    held = crowd.journalled()
    assert held["leader-0"] == held["next-0"] == (0, "")
    for each in ended:
        assert each.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert held.get(each.request_id, (4, "DEADLINE_SPENT")) == (4, "DEADLINE_SPENT")
