"""StreamPredict and StreamOutcomes: messages are calls, answered in order."""

from __future__ import annotations

import asyncio
import itertools
import queue
import threading
import time
import uuid

import grpc
import numpy as np
import psutil
import pytest

from gateway.journal.log import EventLog
from turnout import AsyncClient, Client, errors
from turnout.client import Ask, Outcome
from turnout.outcomes.v1 import outcome_service_pb2 as opb
from turnout.serving.v1 import prediction_service_pb2 as pb
from turnout.tensor.v1 import tensor_pb2

NOON_US = 1_357_041_600_000_000
CARRIERS = [f"C{number}" for number in range(40)]
MIB = 1024 * 1024


def wait_until(condition, what):
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.02)


def test_answers_come_in_order_and_are_those_of_single_calls(client, many):
    asks = [
        Ask(
            entities={"carrier": CARRIERS[row % 40]},
            unit_id=f"unit-{row}",
            event_time_us=NOON_US + row,
            request_id=uuid.uuid4().hex,
        )
        for row in range(400)
    ]
    answers = list(client.predict_stream("bound", asks))
    assert [answer.request_id for answer in answers] == [ask.request_id for ask in asks]
    assert {answer.variant for answer in answers} == {"control", "treatment"}
    for ask, answer in itertools.islice(zip(asks, answers, strict=True), 0, None, 20):
        single = client.predict("bound", entities=ask.entities, unit_id=ask.unit_id, event_time_us=ask.event_time_us)
        assert (answer.version, answer.variant, answer.views) == (single.version, single.variant, single.views)
        assert answer.outputs["score"].tobytes() == single.outputs["score"].tobytes()
    held = many.journal(*[ask.request_id for ask in asks])
    assert sorted(row[0] for row in held) == sorted(ask.request_id for ask in asks)


def test_the_bytes_of_an_answer_are_those_of_a_single_call(many):
    request = pb.PredictRequest(
        model="bound", entities={"carrier": "C1"}, unit_id="u", event_time_us=NOON_US, request_id="same"
    )
    single = many.operator.predictions.Predict(request, timeout=10)
    (streamed,) = many.operator.predictions.StreamPredict(iter([pb.StreamPredictRequest(request=request)]), timeout=10)
    assert streamed.prediction.SerializeToString(deterministic=True) == single.SerializeToString(deterministic=True)


def test_what_is_wrong_with_a_message_is_told_in_its_place_and_the_stream_goes_on(client):
    asks = [
        Ask(inputs={"at": np.array([1])}),
        Ask(inputs={"at": np.array([77])}),
        Ask(inputs={"at": np.array([1], np.float32)}),
        Ask(inputs={"at": np.array([2])}, request_id="two words"),
        Ask(inputs={"at": np.array([3])}, version=7),
        Ask(inputs={"at": np.array([4])}),
    ]
    answers = list(client.predict_stream("picking", asks))
    assert [getattr(answer, "reason", "") for answer in answers] == [
        "",
        "MODEL_RUN_FAILED",
        "INPUT_MISMATCH",
        "REQUEST_MALFORMED",
        "VERSION_NOT_SERVED",
        "",
    ]
    assert isinstance(answers[4], errors.MissingError)
    assert answers[5].outputs["score"].tolist() == [[16, 17, 18, 19]]


def test_bytes_that_are_no_message_are_told_so_and_the_stream_goes_on(many):
    good = pb.StreamPredictRequest(request=pb.PredictRequest(model="bound", entities={"carrier": "C1"}))
    call = many.operator.data.stream_stream("/turnout.serving.v1.PredictionService/StreamPredict")
    answers = [
        pb.StreamPredictResponse.FromString(answer)
        for answer in call(iter([b"\xff\xff", good.SerializeToString()]), timeout=10)
    ]
    assert [answer.WhichOneof("result") for answer in answers] == ["error", "prediction"]
    assert (answers[0].error.code, answers[0].error.reason) == (3, "REQUEST_MALFORMED")


def test_a_message_past_its_own_time_is_told_so_and_the_stream_goes_on(client):
    row = np.ones((1, 4), np.float32)
    rows = np.ones((64, 4), np.float32)
    asks = [Ask(inputs={"x": rows}, timeout_s=0.001), Ask(inputs={"x": row}, timeout_s=30)]
    late, answered = client.predict_stream("slow", asks)
    assert isinstance(late, errors.ExpiredError)
    assert late.reason == "DEADLINE_SPENT"
    assert answered.outputs["score"].tolist() == [[1, 1, 1, 1]]


def test_a_stream_past_its_deadline_ends(client):
    endless = (Ask(inputs={"x": np.ones((1, 4), np.float32)}) for _ in itertools.count())
    with pytest.raises(errors.ExpiredError):
        for _ in client.predict_stream("slow", endless, timeout_s=0.3):
            pass


def test_a_conversation_may_wait_for_each_answer_before_it_goes_on(many):
    heard = queue.SimpleQueue()

    def asks():
        at = 1
        for _ in range(20):
            yield Ask(inputs={"at": np.array([at % 10])})
            at = heard.get(timeout=20)

    said = []
    with Client(many.gateway.data_address) as client:
        for answer in client.predict_stream("picking", asks()):
            said.append(int(answer.outputs["score"][0, 0]) // 4)
            heard.put(said[-1] + 1)
    assert said == [number % 10 for number in range(1, 21)]


def test_an_asynchronous_conversation_may_wait_for_each_answer_too(many):
    async def converse():
        heard = asyncio.Queue()
        said = []

        async def asks():
            at = 1
            for _ in range(20):
                yield Ask(inputs={"at": np.array([at % 10])})
                at = await asyncio.wait_for(heard.get(), timeout=20)

        async with AsyncClient(many.gateway.data_address) as client:
            async for answer in client.predict_stream("picking", asks()):
                said.append(int(answer.outputs["score"][0, 0]) // 4)
                heard.put_nowait(said[-1] + 1)
        return said

    assert asyncio.run(converse()) == [number % 10 for number in range(1, 21)]


def test_a_fault_of_the_callers_own_is_raised_where_the_answers_are_read(client):
    def asks():
        yield Ask(inputs={"at": np.array([1])})
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        list(client.predict_stream("picking", asks()))


def test_a_client_that_stops_reading_is_let_go_and_others_are_served(client):
    endless = (Ask(inputs={"at": np.array([1])}) for _ in itertools.count())
    answers = client.predict_stream("picking", endless)
    assert next(answers).version == 1
    del answers
    assert client.predict("picking", inputs={"at": np.array([1])}).version == 1


def test_a_client_that_does_not_read_makes_the_worker_no_larger(many):
    worker = psutil.Process(many.gateway.pids[1])
    sent = threading.Semaphore(0)
    data = bytes(MIB)
    tensor = tensor_pb2.Tensor(name="x", data_type=tensor_pb2.DATA_TYPE_FLOAT32, shape=[MIB // 16, 4], data=data)
    message = pb.StreamPredictRequest(request=pb.PredictRequest(model="m", inputs=[tensor]))

    def messages():
        for _ in range(400):
            yield message
            sent.release()

    before = worker.memory_info().rss
    with many.gateway.data_channel() as channel:
        call = channel.stream_stream(
            "/turnout.serving.v1.PredictionService/StreamPredict",
            pb.StreamPredictRequest.SerializeToString,
            len,
        )(messages(), timeout=60)
        assert next(call) > MIB
        taken = -1
        while taken != (taken := sent._value):  # until it stands still
            time.sleep(0.5)
        assert taken < 200
        assert worker.memory_info().rss - before < 200 * MIB
        assert sum(1 for _ in call) == 399


def test_outcomes_are_acknowledged_message_by_message(client, many):
    mark = uuid.uuid4().hex
    batches = [
        [Outcome("late", 1.0, request_id=f"{mark}-0"), Outcome("late", 0.0, request_id=f"{mark}-1")],
        [Outcome("late", float("nan"), request_id=f"{mark}-2")],
        [],
        [Outcome("late", 2.0, request_id=f"{mark}-3")],
    ]
    results = list(client.record_outcomes_stream(batches))
    assert [[one.status for one in each] for each in results] == [
        ["RECORDED", "RECORDED"],
        ["INVALID"],
        [],
        ["RECORDED"],
    ]
    with EventLog(many.gateway.state).snapshot() as events:
        held = events.execute(
            f"SELECT request_id, value FROM outcomes WHERE starts_with(request_id, '{mark}') ORDER BY 1"
        ).fetchall()
    assert held == [(f"{mark}-0", 1.0), (f"{mark}-1", 0.0), (f"{mark}-3", 2.0)]


def test_too_many_outcomes_in_a_message_are_refused_and_the_stream_goes_on(many):
    one = opb.Outcome(request_id=uuid.uuid4().hex, name="late", value=1.0)
    messages = [opb.StreamOutcomesRequest(outcomes=[one] * count) for count in (10_001, 1)]
    refused, recorded = many.operator.outcomes.StreamOutcomes(iter(messages), timeout=30)
    assert {(result.status, result.reason) for result in refused.results} == {
        (opb.OUTCOME_STATUS_INVALID, "OUTCOME_INVALID")
    }
    assert len(refused.results) == 10_001
    assert [result.status for result in recorded.results] == [opb.OUTCOME_STATUS_RECORDED]


def test_bytes_that_are_no_outcomes_end_the_stream(many, refusal):
    call = many.operator.data.stream_stream("/turnout.outcomes.v1.OutcomeService/StreamOutcomes")
    code, reason, _ = refusal(lambda: list(call(iter([b"\xff\xff"]), timeout=10)))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")


@pytest.fixture
def pair(launch, tmp_path, transport, operator_of):
    """Return a gateway of two workers that a test may hurt, and its operator."""
    running = launch(tmp_path / "state", "--transport", transport, workers=2)
    operator = operator_of(running)
    operator.publish("m", 2.0, alias="champion")
    operator.wait()
    yield running, operator
    operator.close()
    running.stop()


def asks_of(count):
    return [Ask(inputs={"x": np.full((1, 4), row, np.float32)}, request_id=uuid.uuid4().hex) for row in range(count)]


def slowly(asks, pause_s=0.002):
    for ask in asks:
        yield ask
        time.sleep(pause_s)


def journalled(state):
    with EventLog(state).snapshot() as events:
        return [row[0] for row in events.execute("SELECT request_id FROM predictions").fetchall()]


@pytest.mark.parametrize(("transport", "colour"), [("native", "threads"), ("grpcio", "asyncio")], indirect=["colour"])
def test_a_stream_goes_on_where_it_was_when_its_worker_is_killed(pair, colour):
    gateway, operator = pair
    asks = asks_of(600)
    got = []
    killed = set()
    with colour(gateway.data_address) as client:
        for answer in client.predict_stream("m", slowly(asks)):
            got.append((answer.request_id, float(answer.outputs["score"][0, 0])))
            if len(got) in {100, 300}:
                killed |= {kill_the_worker_of_a_stream(gateway, operator)}
    assert got == [(ask.request_id, 2.0 * row) for row, ask in enumerate(asks)]
    assert sorted(journalled(gateway.state)) == sorted(ask.request_id for ask in asks)
    assert len(killed) == 2


def kill_the_worker_of_a_stream(gateway, operator):
    """Kill the worker that holds a connection to the data port."""
    for worker in operator.status().workers:
        process = psutil.Process(worker.pid)
        ends = [end for end in process.net_connections() if end.status == psutil.CONN_ESTABLISHED]
        if any(end.laddr.port == gateway.data for end in ends):
            process.kill()
            return worker.pid
    raise AssertionError("no worker is connected")


def test_a_drain_answers_what_was_taken_and_ends_the_stream(launch, tmp_path, operator_of):
    gateway = launch(tmp_path / "state")
    operator = operator_of(gateway)
    operator.publish("m", 2.0, alias="champion")
    operator.wait()
    asks = asks_of(100_000)
    answered = []

    def follow():
        messages = (ask.streamed("m") for ask in slowly(asks, 0.0))
        for answer in operator.predictions.StreamPredict(messages, timeout=60):
            answered.append(answer.prediction.request_id)
            if len(answered) == 200:
                stopping.start()

    stopping = threading.Thread(target=gateway.stop)
    with pytest.raises(grpc.RpcError) as caught:
        follow()
    # Its sentence may be the client's own, of a connection that was closed; the reason is the gateway's.
    error = errors.from_rpc(caught.value)
    assert (error.code, error.reason) == ("UNAVAILABLE", "WORKER_DRAINING")
    stopping.join()
    operator.close()
    assert gateway.process.returncode == 0
    held = journalled(gateway.state)
    assert 200 <= len(answered) <= len(held) < 100_000
    assert answered == [ask.request_id for ask in asks[: len(answered)]]
    # Once it reads why the stream ended, gRPC drops the last answers that its caller has not taken.
    assert sorted(held) == sorted(ask.request_id for ask in asks[: len(held)])
