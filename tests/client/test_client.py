from __future__ import annotations

import asyncio
import os
import socket
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from turnout import AsyncClient, Client, errors
from turnout.channel import target_of
from turnout.client import Outcome
from turnout.outcomes.v1 import outcome_service_pb2
from turnout.serving.v1 import prediction_service_pb2
from turnout.tensors import to_tensor


class AsyncAsSync:
    """AsyncClient as one calls Client: the same tests prove both."""

    def __init__(self, *args, **kwargs):
        self._loop = asyncio.new_event_loop()
        self._client = AsyncClient(*args, **kwargs)

    def predict(self, *args, **kwargs):
        return self._loop.run_until_complete(self._client.predict(*args, **kwargs))

    def record_outcome(self, *args, **kwargs):
        return self._loop.run_until_complete(self._client.record_outcome(*args, **kwargs))

    def record_outcomes(self, *args, **kwargs):
        return self._loop.run_until_complete(self._client.record_outcomes(*args, **kwargs))

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


@pytest.fixture(params=[Client, AsyncAsSync], ids=["threads", "asyncio"])
def colour(request):
    return request.param


@pytest.fixture
def client(colour, address):
    with colour(address) as opened:
        yield opened


def test_every_field_of_a_call_reaches_the_gateway(client, script):
    client.predict(
        "flight-delay",
        entities={"carrier": "UA"},
        unit_id="u1",
        alias="challenger",
        inputs={"x": np.float32([[1, 2]])},
        features={"hour": 7.5},
        attributes={"country": "NZ"},
        event_time_us=1,
        request_id="r1",
    )
    assert script.predicted == [
        prediction_service_pb2.PredictRequest(
            model="flight-delay",
            entities={"carrier": "UA"},
            unit_id="u1",
            alias="challenger",
            inputs=[to_tensor("x", np.float32([[1, 2]]))],
            features={"hour": 7.5},
            attributes={"country": "NZ"},
            event_time_us=1,
            request_id="r1",
        )
    ]


def test_an_answer_is_read_whole(client, script):
    view = prediction_service_pb2.ViewReading
    script.on_predict = lambda request, _context: prediction_service_pb2.PredictResponse(
        request_id=request.request_id,
        model="m",
        version=2,
        experiment="e",
        variant="treatment",
        outputs=[to_tensor("probabilities", np.float32([[0.25, 0.75]])), to_tensor("label", ["late"])],
        feature_status=[
            view(view="carrier", status=1, age_ms=0),
            view(view="route", status=2),
            view(view="new", status=77),
        ],
    )
    answer = client.predict("m", request_id="r9")
    assert (answer.request_id, answer.model, answer.version) == ("r9", "m", 2)
    assert (answer.experiment, answer.variant) == ("e", "treatment")
    assert answer.outputs["probabilities"].tolist() == [[0.25, 0.75]]
    assert answer.outputs["label"].tolist() == ["late"]
    readings = [(one.view, one.status, one.age_ms) for one in answer.views]
    assert readings == [("carrier", "PRESENT", 0), ("route", "MISSING", None), ("new", "77", None)]


def test_each_call_gets_a_time_ordered_id_and_a_deadline_of_its_own(client, script):
    made = [client.predict("m").request_id for _ in range(3)]
    client.predict("m", timeout_s=3)
    assert made == [request.request_id for request in script.predicted[:3]]
    assert len(set(made)) == 3
    assert {uuid.UUID(one).version for one in made} == {7}
    assert [round(one_s) for one_s in script.deadlines_s] == [10, 10, 10, 3]


def test_a_version_and_an_alias_together_are_refused_before_anything_is_sent(client, script):
    with pytest.raises(ValueError, match="not both"):
        client.predict("m", version=1, alias="champion")
    assert not script.predicted


def test_a_retry_on_unavailable_is_the_same_prediction(client, script, refuse):
    def flaky(request, context):
        if len(script.predicted) < 3:
            refuse(context, grpc.StatusCode.UNAVAILABLE, "STILL_LOADING")
        return prediction_service_pb2.PredictResponse(request_id=request.request_id)

    script.on_predict = flaky
    answer = client.predict("m")
    assert [request.request_id for request in script.predicted] == [answer.request_id] * 3


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.name not in {"OK", "UNAVAILABLE"}])
def test_nothing_but_unavailable_is_tried_again(client, script, refuse, code):
    script.on_predict = lambda _request, context: refuse(context, code, "A_REASON", "words", model="m")
    with pytest.raises(errors.TurnoutError) as raised:
        client.predict("m")
    assert len(script.predicted) == 1
    found = raised.value
    assert (found.code, found.reason, found.message, found.facts) == (code.name, "A_REASON", "words", {"model": "m"})


def test_a_refusal_that_lasts_is_raised_after_the_tries(colour, address, script, refuse):
    script.on_predict = lambda _request, context: refuse(context, grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    with colour(address, attempts_max=2) as client, pytest.raises(errors.UnavailableError) as raised:
        client.predict("m")
    assert not isinstance(raised.value, errors.UnreachableError)
    assert (raised.value.reason, len(script.predicted)) == ("STORE_UNAVAILABLE", 2)


def test_the_deadline_ends_a_call_that_does_not_answer(client, script):
    script.on_predict = _hang
    with pytest.raises(errors.ExpiredError):
        client.predict("m", timeout_s=0.2)


def _hang(_request, context):
    over = threading.Event()
    context.add_callback(over.set)
    over.wait(10)
    return prediction_service_pb2.PredictResponse()


def test_no_gateway_at_the_address_is_an_error_of_its_own(colour):
    with socket.socket() as taken:  # bound and not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with colour(address, attempts_max=1) as client, pytest.raises(errors.UnreachableError) as raised:
            client.predict("m")
    assert raised.value.reason == "UNREACHABLE"


def test_several_addresses_take_calls_in_turn(colour, serving, scripts):
    one, other = scripts
    with serving(one.add) as first, serving(other.add) as second, colour([first, second]) as client:
        for _ in range(200):  # both connections come up within the first calls
            client.predict("m")
            if one.predicted and other.predicted:
                break
    assert one.predicted
    assert other.predicted


@pytest.mark.parametrize("addresses", [[], ["a:1", "b:2"], ["127.0.0.1:1", "[::1]:2"], ["127.0.0.1", "127.0.0.2"]])
def test_addresses_that_cannot_be_used_together_are_refused(addresses):
    with pytest.raises(ValueError, match=r"address|IP:PORT"):
        Client(addresses)


def test_targets_are_what_grpc_takes():
    assert target_of("gateway:8001") == "gateway:8001"
    assert target_of(["gateway:8001"]) == "gateway:8001"
    assert target_of(["10.0.0.1:1", "10.0.0.2:1"]) == "ipv4:10.0.0.1:1,10.0.0.2:1"
    assert target_of(["[::1]:1", "[::2]:1"]) == "ipv6:[::1]:1,[::2]:1"


def test_outcomes_are_recorded_with_every_field(client, script):
    client.record_outcome("late", 1, unit_id="u", outcome_id="o", event_time_us=5, model="m")
    client.record_outcome("late", 0.5, request_id="r")
    assert [list(request.outcomes) for request in script.recorded] == [
        [outcome_service_pb2.Outcome(unit_id="u", name="late", value=1, outcome_id="o", event_time_us=5, model="m")],
        [outcome_service_pb2.Outcome(request_id="r", name="late", value=0.5)],
    ]


def test_each_outcome_of_a_batch_has_a_result_of_its_own(client, script):
    script.on_record = lambda _request, _context: outcome_service_pb2.RecordOutcomesResponse(
        results=[
            outcome_service_pb2.OutcomeResult(status=1),
            outcome_service_pb2.OutcomeResult(status=2, message="not finite", reason="OUTCOME_INVALID"),
            outcome_service_pb2.OutcomeResult(status=3, message="disk full", reason="JOURNAL_UNAVAILABLE"),
        ]
    )
    results = client.record_outcomes([Outcome("late", 1, request_id=one) for one in "abc"])
    assert [result.recorded for result in results] == [True, False, False]
    assert [result.status for result in results] == ["RECORDED", "INVALID", "UNAVAILABLE"]
    assert results[1].reason == "OUTCOME_INVALID"


@pytest.mark.parametrize(("status", "kind"), [(2, errors.InvalidError), (3, errors.UnavailableError)])
def test_one_outcome_that_is_not_recorded_is_raised(client, script, status, kind):
    refused = outcome_service_pb2.OutcomeResult(status=status, message="no", reason="WHY")
    script.on_record = lambda _request, _context: outcome_service_pb2.RecordOutcomesResponse(results=[refused])
    with pytest.raises(kind, match="WHY: no"):
        client.record_outcome("late", 1, request_id="r")


@pytest.mark.parametrize("subject", [{}, {"request_id": "r", "unit_id": "u"}])
def test_an_outcome_of_no_subject_or_of_two_is_refused_before_anything_is_sent(client, script, subject):
    with pytest.raises(ValueError, match="give one of them"):
        client.record_outcome("late", 1, **subject)
    assert not script.recorded


def test_threads_share_a_client(address, script):
    with Client(address) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: client.predict("m", request_id=str(n)).request_id, range(100)))
    assert answers == [str(n) for n in range(100)]
    assert len(script.predicted) == 100


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_client_from_before_a_fork_says_so_in_the_child(address):
    with Client(address) as client:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                client.predict("m")
                said = b"no error"
            except errors.ForkedClientError:
                said = b"forked"
            except BaseException as error:  # noqa: BLE001  (the child has nobody else to tell)
                said = repr(error).encode()
            os.write(writer, said)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as told:
            assert told.read() == b"forked"
        os.waitpid(child, 0)
        assert client.predict("m").version == 3
