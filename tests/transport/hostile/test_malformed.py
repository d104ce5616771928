"""Bytes that are not gRPC, not HTTP/2, or not whole: they end their own connection or call, and nothing else."""

from __future__ import annotations

import socket
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SAY = "/turnout.test.Echo/Say"
WAIT_S = 10.0

NOT_HTTP_2 = {
    "HTTP/1.1": lambda _: b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + bytes(64),
    "a TLS hello": lambda _: bytes.fromhex("16030100c8010000c40303") + bytes(256),
    "zeros": lambda _: bytes(1000),
    "a preface with a typo": lambda wire: wire.PREFACE.replace(b"SM", b"MS") + bytes(64),
    "no SETTINGS first": lambda wire: wire.PREFACE + wire.frame(wire.PING, 0, 0, bytes(8)) * 4,
}

NOT_ALLOWED = {
    "DATA on stream 0": lambda wire: wire.frame(wire.DATA, 0, 0, b"x"),
    "DATA on an idle stream": lambda wire: wire.frame(wire.DATA, 0, 5, b"x"),
    "HEADERS on an even stream": lambda wire: wire.frame(wire.HEADERS, 4, 2, wire.block()),
    "HEADERS that cannot be unpacked": lambda wire: wire.frame(wire.HEADERS, 4, 1, b"\xff" * 40),
    "CONTINUATION of nothing": lambda wire: wire.frame(wire.CONTINUATION, 4, 1, wire.block()),
    "another frame within HEADERS": lambda wire: (
        wire.frame(wire.HEADERS, 0, 1, b"") + wire.frame(wire.PING, 0, 0, bytes(8))
    ),
    "RST_STREAM on an idle stream": lambda wire: wire.frame(wire.RESET, 0, 7, bytes(4)),
    "SETTINGS of 5 bytes": lambda wire: wire.frame(wire.SETTINGS, 0, 0, bytes(5)),
    "SETTINGS with a huge window": lambda wire: wire.frame(wire.SETTINGS, 0, 0, b"\x00\x04\xff\xff\xff\xff"),
    "PING of 7 bytes": lambda wire: wire.frame(wire.PING, 0, 0, bytes(7)),
    "WINDOW_UPDATE of 0": lambda wire: wire.frame(wire.WINDOW, 0, 0, bytes(4)),
    "windows past the largest": lambda wire: wire.frame(wire.WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2,
    "a frame of 16 MiB": lambda wire: b"\xff\xff\xff" + bytes([wire.DATA, 0, 0, 0, 0, 1]) + bytes(70_000),
    "PUSH_PROMISE": lambda wire: wire.frame(wire.PUSH, 4, 1, bytes(4)),
}


@pytest.mark.parametrize("what", NOT_HTTP_2)
def test_what_is_not_http_2_ends_its_connection_only(say, server, raw, wire, what):
    client = raw(server.port, greet=False)
    client.send(NOT_HTTP_2[what](wire))
    client.read_to_end()
    assert say(b"x", timeout=WAIT_S) == b"x"


@pytest.mark.parametrize("what", NOT_ALLOWED)
def test_what_http_2_does_not_allow_ends_its_connection_only(say, server, raw, wire, what, kind, settled):
    client = raw(server.port)
    client.send(NOT_ALLOWED[what](wire))
    if kind == "native":  # grpc-core passes some of it over
        client.read_to_end()
    assert say(b"x", timeout=WAIT_S) == b"x"
    settled(server)


@pytest.mark.parametrize(
    ("body", "extra"),
    [
        (b"", ()),
        (b"\x00\x00\x00", ()),
        (b"\x00\x00\x00\x00\x09short", ()),
        (b"\x01\x00\x00\x00\x01x", ()),
        (b"\x01\x00\x00\x00\x01x", ((b"grpc-encoding", b"gzip"),)),
        (b"\x00\x00\x00\x00\x01x", ((b"grpc-encoding", b"snappy"),)),
    ],
    ids=["nothing", "half a prefix", "half a message", "compressed, not said how", "not gzip", "unknown codec"],
)
def test_a_body_that_is_not_one_message_fails_its_call_only(serve, engine, body, extra, settled):
    server = serve()
    client = engine(server.port)
    stream = client.begin(SAY, *extra)
    client.send(stream, body, end=True)
    while stream not in client.resets and b"grpc-status" not in client.headers.get(stream, {}):
        assert client.read()
    assert client.headers.get(stream, {}).get(b"grpc-status") != b"0"
    assert client.status(client.ask(b"again")) == 0
    assert not any(call.payload != b"again" for call in server.seen)
    settled(server)


def test_a_client_that_vanishes_within_its_request_leaves_nothing_behind(say, server, raw, wire, settled):
    for stream in range(1, 60, 2):
        client = raw(server.port)
        client.send(
            wire.frame(wire.HEADERS, 4, 1, wire.block()) + wire.frame(wire.DATA, 0, 1, b"\x00\x00\x00\x10\x00x")
        )
        if stream % 4 == 1:
            client.ask(3, b"hold")
            server.hold(1)
            held = server.held.pop()
            client.vanish()
            until = time.monotonic() + WAIT_S
            while not held.cancelled and time.monotonic() < until:
                time.sleep(0.002)
            assert held.cancelled
            held.reply(b"late")
        else:
            client.vanish()
    assert say(b"x", timeout=WAIT_S) == b"x"
    settled(server)


_frames = st.tuples(
    st.one_of(st.integers(0, 9), st.integers(0, 255)),
    st.one_of(st.sampled_from([0, 1, 4, 5, 8, 0x20]), st.integers(0, 255)),
    st.one_of(st.sampled_from([0, 1, 1, 3, 5]), st.integers(0, 2**32 - 1)),
    st.one_of(st.binary(max_size=300), st.just(None)),
)


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(greeted=st.booleans(), frames=st.lists(_frames, max_size=20), cut=st.integers(0, 8))
def test_no_bytes_end_the_server(say, server, wire, greeted, frames, cut):
    sent = wire.PREFACE + wire.frame(wire.SETTINGS) if greeted else b""
    sent += b"".join(
        wire.frame(kind, flags, stream, wire.block() if body is None else body) for kind, flags, stream, body in frames
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=WAIT_S) as client:
        client.sendall(sent[: len(sent) - cut])
    assert say(b"x", timeout=WAIT_S) == b"x"


def test_a_wrong_content_type_and_another_method_than_post_are_told_so_by_http(serve, engine):
    server = serve()
    client = engine(server.port)
    base = {":method": "POST", ":scheme": "http", ":path": SAY, ":authority": "x", "te": "trailers"}
    answers = []
    for change in ({"content-type": "text/html"}, {"content-type": "application/grpc", ":method": "GET"}):
        fields = base | change
        stream = client.session.send_request(
            [(key.encode(), value.encode()) for key, value in fields.items()], end_stream=True
        )
        client.flush()
        while b":status" not in client.headers.get(stream, {}) and stream not in client.resets:
            assert client.read()
        answers.append(client.headers.get(stream, {}).get(b":status"))
    if server.transport.name == "native":
        assert answers == [b"415", b"405"]
    assert server.seen == []
