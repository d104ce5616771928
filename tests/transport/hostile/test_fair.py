"""A flood of one kind takes neither the waves nor the room from the others; counted, over each transport."""

from __future__ import annotations

import threading
import time

import pytest

SAY = "/turnout.test.Echo/Say"
SHOUT = "/turnout.test.Echo/Shout"
OK, RESOURCE_EXHAUSTED = 0, 8
WAIT_S = 10.0


@pytest.fixture
def blocked(engine):
    """A client of a server that one call keeps, so that all others wait."""

    def block(server):
        client = engine(server.port)
        client.ask(b"block")
        until = time.monotonic() + WAIT_S
        while not server.seen_of(b"block"):
            assert time.monotonic() < until
            time.sleep(0.002)
        return client

    return block


def test_a_flood_leaves_the_others_their_share_of_each_wave(serve, blocked):
    server = serve(calls_max=64, wave_calls_max=4)
    client = blocked(server)
    flood = [client.ask(b"flood") for _ in range(24)]
    few = [client.ask(b"few", SHOUT) for _ in range(3)]
    server.gate.set()
    assert {client.status(stream) for stream in [*flood, *few]} == {OK}
    # Half of each wave is theirs while they wait; one after the other they would come after the 24 of the flood.
    order = [call.payload for call in server.seen]
    assert max(place for place, payload in enumerate(order) if payload == b"few") <= 12


def test_a_flood_that_fills_the_room_does_not_keep_the_others_out(serve, blocked, kind):
    server = serve(calls_max=12, wave_calls_max=4)
    client = blocked(server)
    flood = [client.ask(b"flood") for _ in range(60)]
    few = [client.ask(b"few", SHOUT) for _ in range(2)]
    threading.Timer(0.3, server.gate.set).start()
    assert [client.status(stream) for stream in few] == [OK, OK]
    ended = [client.status(stream) for stream in flood]
    assert ended.count(OK) + ended.count(RESOURCE_EXHAUSTED) == 60
    if kind == "native":  # grpcio's loop takes no more at a time than makes a wave
        assert ended.count(RESOURCE_EXHAUSTED) == 60 + 2 - 12


def test_one_kind_alone_may_use_all_the_room(serve, blocked):
    server = serve(calls_max=12, wave_calls_max=4)
    client = blocked(server)
    flood = [client.ask(b"flood") for _ in range(11)]
    server.gate.set()
    assert {client.status(stream) for stream in flood} == {OK}


def test_a_flood_of_thousands_is_answered_or_refused_and_never_cancelled(serve, engine):
    server = serve(calls_max=12, wave_calls_max=4)
    # No client tries again what was cancelled; what was refused it does.
    clients = [engine(server.port) for _ in range(10)]
    asked = [(client, stream) for client in clients for stream in client.ask_at_once(b"flood", 300)]
    assert {client.status(stream) for client, stream in asked} <= {OK, RESOURCE_EXHAUSTED}
