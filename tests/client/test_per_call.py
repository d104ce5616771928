"""What one call may say for itself, and clients that travel to other processes."""

from __future__ import annotations

import asyncio
import pickle  # noqa: TID251  (what others do with clients)
import socket

import grpc
import numpy as np
import pytest

from turnout import AsyncClient, Client, Security, errors
from turnout.outcome import Outcome
from turnout.prediction import Prediction
from turnout.serving.v1 import prediction_service_pb2 as pb


def ask(client, **said):
    made = client.predict("m", **said)
    return made if isinstance(made, Prediction) else asyncio.get_event_loop().run_until_complete(made)


@pytest.fixture(params=[Client, AsyncClient], ids=["threads", "asyncio"])
def client(request, address):
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    made = request.param(address)
    yield made
    closed = made.close()
    if closed is not None:
        loop.run_until_complete(closed)
    asyncio.set_event_loop(None)
    loop.close()


def test_a_call_that_must_not_be_tried_again_is_not_and_the_next_one_is(client, script, refuse):
    def flaky(request, context):
        if len(script.predicted) < 3:
            refuse(context, grpc.StatusCode.UNAVAILABLE, "STILL_LOADING")
        return pb.PredictResponse(request_id=request.request_id)

    script.on_predict = flaky
    with pytest.raises(errors.UnavailableError):
        ask(client, retry=False)
    assert len(script.predicted) == 1
    ask(client)
    assert len(script.predicted) == 3


def test_a_pickled_client_is_made_anew_where_it_arrives(client, script):
    again = pickle.loads(pickle.dumps(client))  # noqa: S301  (made in this line)
    assert type(again) is type(client)
    assert ask(again, request_id="r").request_id == "r"
    closed = again.close()
    if closed is not None:
        asyncio.get_event_loop().run_until_complete(closed)
    assert [one.request_id for one in script.predicted] == ["r"]


def test_a_pickled_client_keeps_how_it_was_made():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with Client(address, timeout_s=3, attempts_max=1, security=Security(token="t")) as client:  # noqa: S106
            again = pickle.loads(pickle.dumps(client))  # noqa: S301
    with again, pytest.raises(errors.UnreachableError):
        again.predict("m")
    assert again._link.setup == client._link.setup


@pytest.mark.parametrize(
    "value",
    [
        errors.MissingError("NOT_FOUND", "MODEL_NOT_SERVED", "no", {"model": "m"}, 1.5),
        Outcome("late", 1, request_id="r"),
    ],
)
def test_errors_and_outcomes_survive_pickling(value):
    again = pickle.loads(pickle.dumps(value))  # noqa: S301
    assert (type(again), str(again)) == (type(value), str(value))
    assert vars(again) == vars(value) if isinstance(value, errors.TurnoutError) else again == value


def test_a_prediction_survives_pickling(client):
    answer = ask(client, inputs={"x": np.float32([[1, 2]])})
    again = pickle.loads(pickle.dumps(answer))  # noqa: S301
    assert again.request_id == answer.request_id
    assert again.outputs["x"].tolist() == [[1, 2]]
