"""A slow version holds up its own calls and nobody else's."""

import threading

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

from gateway.journal.log import EventLog
from gateway.models.pace import SCORE_MAX
from turnout.serving.v1 import prediction_service_pb2 as pb
from turnout.tensor.v1 import tensor_pb2

CALLS_MAX = 16
LONG_LOOPS = 40_000
"""Seconds of work, on any machine."""


def quick(**fields):
    request = pb.PredictRequest(model="quick", **fields)
    data = np.ones((1, 4), np.float32).tobytes()
    request.inputs.add(name="x", data_type=tensor_pb2.DATA_TYPE_FLOAT32, shape=[1, 4], data=data)
    return request


class Site:
    """A gateway of one worker with a quick model and a slow one, which it has found to be slow."""

    def __init__(self, gateway, operator):
        self.gateway = gateway
        self.operator = operator
        self.quick = operator.predictions
        operator.publish_slow()
        operator.publish("quick", 3.0, alias="champion")
        operator.wait()
        for _ in range(2 * SCORE_MAX + 1):
            operator.slow(60, timeout=60).result()

    def journalled(self):
        with EventLog(self.gateway.state).snapshot() as events:
            rows = events.execute("SELECT request_id, status, reason FROM predictions").fetchall()
        return {request_id: (status, reason) for request_id, status, reason in rows}


@pytest.fixture(scope="module", params=["native", "grpcio"])
def site(launch, tmp_path_factory, request, operator_of):
    state = tmp_path_factory.mktemp("apart") / "state"
    running = launch(
        state, "--transport", request.param, "--calls-max", str(CALLS_MAX), "--slow-run-ms", "1", "--workers", "1"
    )
    operator = operator_of(running)
    yield Site(running, operator)
    operator.close()
    running.stop()


def test_calls_of_other_versions_are_answered_while_a_slow_one_runs(site):
    slow = site.operator.slow(LONG_LOOPS, timeout=120, request_id="long")
    for number in range(50):
        answer = site.quick.Predict(quick(request_id=f"beside-{number}"), timeout=60)
        assert np.frombuffer(answer.outputs[0].data, np.float32).tolist() == [3.0] * 4
    assert not slow.done(), "the slow call was answered first: it held up the others, or was not slow"
    assert slow.result().version == 1
    held = site.journalled()
    assert {held[request_id] for request_id in ("long", *(f"beside-{number}" for number in range(50)))} == {(0, "")}


def test_a_flood_for_a_slow_version_leaves_room_for_others(site):
    flood = [
        site.operator.slow(LONG_LOOPS // 4, timeout=300, request_id=f"flood-{number}")
        for number in range(2 * CALLS_MAX)
    ]
    refused = threading.Semaphore(0)
    for each in flood:
        each.add_done_callback(lambda ended: refused.release() if ended.code() is not grpc.StatusCode.OK else None)
    # What is past its share is refused at once.
    for _ in range(2 * CALLS_MAX - CALLS_MAX // 2):
        assert refused.acquire(timeout=60)
    for number in range(20):
        site.quick.Predict(quick(request_id=f"among-{number}"), timeout=60)
    answered = [each for each in flood if not each.done()]
    assert answered, "the flood had ended before anybody else asked"
    assert len(answered) <= CALLS_MAX // 2
    for each in answered:
        each.cancel()
    errors = [each for each in flood if each not in answered]
    assert {each.code() for each in errors} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert {reason_of(each) for each in errors} == {"OVERLOADED"}


def reason_of(error):
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    status_pb2.Status.FromString(details).details[0].Unpack(info)
    return info.reason
