import threading

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2

from turnout.outcomes.v1 import outcome_service_pb2 as opb
from turnout.serving.v1 import prediction_service_pb2 as pb


@pytest.fixture(scope="module")
def served(gateway):
    return gateway


@pytest.fixture
def operator(served, operate):
    made = operate(served)
    if not made.status().revision:
        made.publish("m", 2.0, alias="champion")
        made.publish("m", 3.0, alias="challenger")
        made.wait()
    return made


def reason_of(error):
    details = dict(error.trailing_metadata())["grpc-status-details-bin"]
    info = error_details_pb2.ErrorInfo()
    status_pb2.Status.FromString(details).details[0].Unpack(info)
    assert info.domain == "turnout"
    return info


def refused(operator, request):
    with pytest.raises(grpc.RpcError) as caught:
        operator.predictions.Predict(request, timeout=5)
    return caught.value.code(), reason_of(caught.value)


def test_champion_answers_without_a_pin(operator, rows):
    response = operator.predict("m")
    assert (response.model, response.version, response.experiment, response.variant) == ("m", 1, "", "")
    assert np.array_equal(np.frombuffer(response.outputs[0].data, np.float32), rows[1] * 2)
    assert list(response.outputs[0].shape) == [1, 4]
    assert len(response.request_id) == 36


def test_a_pin_wins(operator):
    assert operator.predict("m", version=2).version == 2
    assert operator.predict("m", alias="challenger").version == 2


def test_request_id_is_echoed(operator):
    assert operator.predict("m", request_id="mine-1").request_id == "mine-1"


def test_many_rows_in_one_call(operator, rows):
    response = operator.predict("m", row=rows)
    assert list(response.outputs[0].shape) == [8, 4]
    assert np.array_equal(np.frombuffer(response.outputs[0].data, np.float32).reshape(8, 4), rows * 2)


def test_concurrent_calls_each_get_their_own_rows(operator, rows):
    wrong = []

    def ask(number):
        row = rows[number : number + 1] + number
        for _ in range(50):
            got = np.frombuffer(operator.predict("m", row=row).outputs[0].data, np.float32)
            if not np.array_equal(got, row[0] * 2):
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


X = np.ones((1, 4), np.float32)


def malformed(tensor):
    return {
        "missing input": ([], {}, "INPUT_MISMATCH"),
        "unknown input": ([tensor("x", X), tensor("y", X)], {}, "INPUT_MISMATCH"),
        "input twice": ([tensor("x", X), tensor("x", X)], {}, "INPUT_MISMATCH"),
        "wrong dtype": ([tensor("x", X.astype(np.float64))], {}, "INPUT_MISMATCH"),
        "wrong rank": ([tensor("x", X[0])], {}, "INPUT_MISMATCH"),
        "wrong extent": ([tensor("x", np.ones((1, 5), np.float32))], {}, "INPUT_MISMATCH"),
        "no rows": ([tensor("x", np.ones((0, 4), np.float32))], {}, "INPUT_MISMATCH"),
        "unknown feature": ([], {"features": {"f": 1.0}}, "INPUT_MISMATCH"),
        "bad request id": ([tensor("x", X)], {"request_id": "a b"}, "REQUEST_MALFORMED"),
        "long request id": ([tensor("x", X)], {"request_id": "a" * 129}, "REQUEST_MALFORMED"),
        "negative version": ([tensor("x", X)], {"version": -1}, "REQUEST_MALFORMED"),
    }


@pytest.mark.parametrize("case", list(malformed(lambda *_: None)))
def test_malformed_requests_are_refused_with_a_reason(operator, named_tensor, case):
    inputs, fields, reason = malformed(named_tensor)[case]
    code, info = refused(operator, pb.PredictRequest(model="m", inputs=inputs, **fields))
    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


@pytest.mark.parametrize(
    ("shape", "data"),
    [([1, 4], b"short"), ([-1, 4], bytes(16)), ([1 << 62, 4], bytes(16)), ([1, 4], bytes(17))],
)
def test_shapes_and_bytes_that_do_not_fit_are_refused(operator, named_tensor, shape, data):
    bad = named_tensor("x", X)
    del bad.shape[:]
    bad.shape.extend(shape)
    bad.data = data
    code, info = refused(operator, pb.PredictRequest(model="m", inputs=[bad]))
    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INPUT_MISMATCH")
    assert info.metadata["input"] == "x"


def test_bytes_that_are_no_message_are_refused(served):
    with served.data_channel() as channel:
        call = channel.unary_unary("/turnout.serving.v1.PredictionService/Predict")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"\xff\xff\xff", timeout=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason_of(caught.value).reason == "REQUEST_MALFORMED"


def test_unknown_model_and_version_are_not_found(operator):
    assert refused(operator, pb.PredictRequest(model="nope"))[1].reason == "MODEL_NOT_SERVED"
    code, info = refused(operator, pb.PredictRequest(model="m", version=99))
    assert (code, info.reason) == (grpc.StatusCode.NOT_FOUND, "VERSION_NOT_SERVED")
    assert refused(operator, pb.PredictRequest(model="m", alias="nope"))[0] is grpc.StatusCode.NOT_FOUND


def test_each_outcome_has_a_status(operator):
    request_id = operator.predict("m").request_id
    results = operator.record(
        opb.Outcome(request_id=request_id, name="late", value=1),
        opb.Outcome(request_id=request_id, name="late", value=float("nan")),
        opb.Outcome(unit_id="u", name="late", value=1),
        opb.Outcome(request_id=request_id, value=1),
    ).results
    assert [result.status for result in results] == [opb.OUTCOME_STATUS_RECORDED] + [opb.OUTCOME_STATUS_INVALID] * 3
    assert {result.reason for result in results[1:]} == {"OUTCOME_INVALID"}


def test_an_empty_batch_of_outcomes_is_refused(operator):
    with pytest.raises(grpc.RpcError) as caught:
        operator.record()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
