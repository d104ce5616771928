"""The native transport's clients read their answers while those of others in the wave are made."""

import threading
import time

import grpc
import pytest

from gateway.transport.port import Wiring
from gateway.transport.select import open_transport

SAY = "/turnout.test.Echo/Say"
WAIT_S = 10.0
TRIES_MAX = 20


@pytest.fixture
def two_clients():
    """Two connections to a transport, each as a function; whether a client has heard; what became of the waves.

    A wave of two calls ends when a client has heard, or in vain.
    """
    heard = threading.Event()
    in_time = []

    def answer(wave):
        for call in wave:
            if call.payload == b"wait":  # others come meanwhile, and make the next wave
                time.sleep(0.1)
            call.reply(call.payload)
        if [call.payload for call in wave] == [b"x", b"x"]:
            in_time.append(heard.wait(WAIT_S))

    transport = open_transport(
        "native", Wiring(address="127.0.0.1:0", methods=[SAY], answer=answer, add_services=lambda _: None)
    )
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    target = f"127.0.0.1:{transport.start()}"
    with grpc.insecure_channel(target, options) as first, grpc.insecure_channel(target, options) as second:
        yield first.unary_unary(SAY), second.unary_unary(SAY), heard, in_time
    transport.close()


def test_an_answer_leaves_when_the_next_connections_turn_comes(two_clients):
    first, second, heard, in_time = two_clients
    for _ in range(TRIES_MAX):
        heard.clear()
        waiting = first.future(b"wait", timeout=60)
        calls = [say.future(b"x", timeout=60) for say in (first, second)]
        for call in calls:
            call.add_done_callback(lambda _: heard.set())
        assert [call.result() for call in (waiting, *calls)] == [b"wait", b"x", b"x"]
        if in_time:
            break
    assert in_time == [True]
