"""Clients that ask for more than is fair: they are calmed or refused, memory stays bounded, others are served."""

from __future__ import annotations

import struct
import time

import grpc
import pytest

SAY = "/turnout.test.Echo/Say"
CHAT = "/turnout.test.Echo/Chat"
MIB = 1024 * 1024
WAIT_S = 10.0
CANCEL = struct.pack(">I", 8)


@pytest.fixture
def alive(server):
    """Whether others are served in the meantime."""
    with server.channel() as channel:
        say = channel.unary_unary(SAY)

        def ask():
            return say(b"x", timeout=WAIT_S) == b"x"

        assert ask()
        yield ask


@pytest.mark.parametrize("what", ["pings", "settings", "empty pieces of a body"])
def test_a_flood_of_frames_that_ask_for_nothing_ends_its_connection(alive, server, raw, wire, kind, resident_mib, what):
    flood = {
        "pings": wire.frame(wire.PING, 0, 0, bytes(8)),
        "settings": wire.frame(wire.SETTINGS),
        "empty pieces of a body": wire.frame(wire.DATA, 0, 1),
    }[what]
    before = resident_mib()
    client = raw(server.port)
    client.send(wire.frame(wire.HEADERS, 4, 1, wire.block()))
    client.socket.settimeout(2.0)  # a server that reads no further has held back its client, which is an end too
    for _ in range(60):
        client.send(flood * 5000)
        assert alive()
    if kind == "native":
        client.socket.settimeout(WAIT_S)
        assert client.goaway_code() in {wire.ENHANCE_YOUR_CALM, None}  # None: the RST overtook it
    client.socket.close()
    assert resident_mib() - before < 64
    assert alive()


def test_a_client_that_resets_its_calls_faster_than_is_fair_is_told_to_calm_down(
    alive, server, raw, wire, kind, settled, resident_mib
):
    before = resident_mib()
    client = raw(server.port)
    block = wire.block()
    for begin in range(1, 20_001, 200):
        client.send(
            b"".join(
                wire.frame(wire.HEADERS, 4, stream, block) + wire.frame(wire.RESET, 0, stream, CANCEL)
                for stream in range(begin, begin + 200, 2)
            )
        )
    if kind == "native":
        assert client.goaway_code() in {wire.ENHANCE_YOUR_CALM, None}
    client.socket.close()
    assert alive()
    settled(server)
    assert resident_mib() - before < 64


def test_headers_without_end_end_their_connection(alive, server, raw, wire, resident_mib):
    before = resident_mib()
    client = raw(server.port)
    client.send(wire.frame(wire.HEADERS, 0, 1, wire.block()))
    padding = b"\x00\x01a\x7f\x81\x7e" + b"z" * 16_000  # a field of 16 KiB
    for _ in range(200):
        client.send(wire.frame(wire.CONTINUATION, 0, 1, padding[:16_000]))
    client.socket.close()
    assert resident_mib() - before < 64
    assert alive()


def test_metadata_past_its_limit_is_refused(serve):
    server = serve()
    with server.channel() as channel:
        say = channel.unary_unary(SAY)
        assert say(b"x", timeout=WAIT_S, metadata=[("key", "v" * 6000)]) == b"x"
        with pytest.raises(grpc.RpcError) as caught:
            say(b"x", timeout=WAIT_S, metadata=[(f"key-{place}", "v" * 4000) for place in range(5)])
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert say(b"x", timeout=WAIT_S) == b"x"


def test_a_request_that_says_it_is_too_large_is_refused_before_it_has_come(serve, engine):
    server = serve(request_bytes_max=MIB)
    client = engine(server.port)
    stream = client.begin()
    client.send(stream, b"\x00" + struct.pack(">I", MIB + 1))
    assert client.status(stream) == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert client.status(client.ask(b"again")) == 0


def test_what_is_small_on_the_wire_and_large_when_unpacked_is_refused(serve, engine, resident_mib):
    zlib = pytest.importorskip("zlib")
    server = serve(request_bytes_max=MIB)
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(bomb.compress(bytes(MIB)) for _ in range(200)) + bomb.flush()
    client = engine(server.port)
    before = resident_mib()
    stream = client.begin(SAY, (b"grpc-encoding", b"gzip"))
    client.send(stream, b"\x01" + struct.pack(">I", len(packed)) + packed, end=True)
    while stream not in client.resets and b"grpc-status" not in client.headers.get(stream, {}):
        assert client.read()
    assert client.headers[stream][b"grpc-status"] != b"0"
    assert resident_mib() - before < 64
    assert server.seen == []


def test_bodies_that_do_not_come_to_their_end_take_up_a_bounded_room(serve, engine, resident_mib, kind):
    if kind == "grpcio":
        pytest.skip("grpc-core bounds each message, not all of them together")
    server = serve(request_bytes_max=MIB)
    before = resident_mib()
    clients = [engine(server.port) for _ in range(8)]
    for client in clients:
        for _ in range(40):
            stream = client.begin()
            client.send(stream, b"\x00" + struct.pack(">I", MIB) + bytes(MIB - 200_000))
            while client.session.queued_body_size(stream) and b"grpc-status" not in client.headers.get(stream, {}):
                assert client.read()
    statuses = [headers.get(b"grpc-status") for client in clients for headers in client.headers.values()]
    assert set(statuses) == {b"8"}
    assert len(statuses) >= 8 * 40 - 40
    assert resident_mib() - before < 100
    for client in clients:
        client.socket.close()
    with server.channel() as channel:
        assert len(channel.unary_unary(SAY)(bytes(MIB), timeout=WAIT_S)) == MIB


def test_answers_that_are_not_read_take_up_a_bounded_room(serve, engine, resident_mib, kind):
    if kind == "grpcio":
        pytest.skip("grpc-core holds answers until they are read")
    server = serve(response_bytes_max=MIB)
    before = resident_mib()
    clients = [engine(server.port, window=0) for _ in range(40)]
    for client in clients:
        for _ in range(40):
            client.ask(b"grow%d" % MIB)
            time.sleep(0)
    with server.channel() as channel:
        for _ in range(20):
            assert channel.unary_unary(SAY)(b"x", timeout=WAIT_S) == b"x"
    # Of 1600 MiB, a worker keeps 16 unread, and what the calls of one wave are answered before it is looked at again.
    assert resident_mib() - before < 400


def test_a_client_that_does_not_read_its_socket_is_not_read_either(serve, raw, wire, kind, resident_mib):
    server = serve()
    before = resident_mib()
    client = raw(server.port)
    client.send(wire.frame(wire.SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31 - 1)))
    client.send(wire.frame(wire.WINDOW, 0, 0, struct.pack(">I", 2**30)))
    client.socket.settimeout(1.0)
    for stream in range(1, 2001, 2):
        client.ask(stream, b"grow100000")
    with server.channel() as channel:
        assert channel.unary_unary(SAY)(b"x", timeout=WAIT_S) == b"x"
    if kind == "native":
        assert resident_mib() - before < 100


def test_more_connections_than_the_limit_are_closed_and_those_within_it_served(serve, engine, kind):
    if kind == "grpcio":
        pytest.skip("grpcio has no such limit")
    server = serve(connections_max=4)
    clients = [engine(server.port) for _ in range(4)]
    assert [client.status(client.ask(b"x")) for client in clients] == [0] * 4
    late = engine(server.port)
    while late.read():
        pass
    assert late.closed
    assert clients[0].status(clients[0].ask(b"x")) == 0
    clients[1].socket.close()
    until = time.monotonic() + WAIT_S
    while True:
        again = engine(server.port)
        again.begin()
        if again.read():
            break
        assert time.monotonic() < until
