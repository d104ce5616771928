"""Connections on which nothing happens, or nothing yet, or nothing any more."""

from __future__ import annotations

import contextlib
import gc
import resource
import socket
import time

import grpc
import pytest

from gateway.transport.native.connection import Connection

SAY = "/turnout.test.Echo/Say"
IDLE = 5_000
WAIT_S = 10.0


@pytest.fixture
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + 500:
        pytest.skip(f"this machine allows {hard} open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_descriptors")
def test_5000_idle_connections_cost_little_and_hold_up_nobody(kind, spawn, free_port, wire, resident_mib):
    process, port = spawn(kind, free_port)
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    idle = []
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        say = channel.unary_unary(SAY)
        assert int(say(b"x", timeout=WAIT_S)) == process.pid
        before = resident_mib(process.pid)
        try:
            for _ in range(IDLE):
                idle.append(socket.create_connection(("127.0.0.1", port), timeout=WAIT_S))
                idle[-1].sendall(wire.PREFACE + wire.frame(wire.SETTINGS))
            for client in idle:
                assert client.recv(9)[3] == wire.SETTINGS
            for _ in range(20):
                assert int(say(b"x", timeout=WAIT_S)) == process.pid
            took_kib = (resident_mib(process.pid) - before) / IDLE * 1024
            print(f"{kind}: {took_kib:.1f} KiB for an idle connection")  # noqa: T201
            assert took_kib < 64
            idle[0].sendall(
                wire.frame(wire.HEADERS, 4, 1, wire.block()) + wire.frame(wire.DATA, 1, 1, wire.message(b"x"))
            )
            answer = b""
            while str(process.pid).encode() not in answer:
                answer += idle[0].recv(4096)
        finally:
            for client in idle:
                client.close()
        assert int(say(b"x", timeout=WAIT_S)) == process.pid


@pytest.fixture
def native(serve, kind):
    """Start a native server; grpc-core's own times cannot be made short."""
    if kind != "native":
        pytest.skip("grpc-core keeps to times of its own")
    return serve


def test_a_client_that_never_speaks_is_dropped(native, raw):
    server = native(handshake_s_max=0.2)
    silent = raw(server.port, greet=False)
    slow = raw(server.port, greet=False)
    slow.send(b"PRI * HT")
    for client in (silent, slow):
        client.read_to_end()


def test_a_client_that_does_not_answer_pings_is_dropped_and_one_that_does_is_kept(native, raw, engine, wire):
    server = native(handshake_s_max=0.1, keepalive_s=0.2, keepalive_answer_s_max=0.2)
    there = engine(server.port)
    gone = raw(server.port)
    gone.socket.settimeout(0.05)
    began = time.monotonic()
    came = b""
    while True:
        there.socket.settimeout(0.05)
        with contextlib.suppress(TimeoutError):
            there.read()
        try:
            data = gone.socket.recv(4096)
        except TimeoutError:
            assert time.monotonic() - began < WAIT_S
            continue
        if not data:
            break
        came += data
    assert wire.frame(wire.PING, 0, 0, b"")[3:5] in came
    there.socket.settimeout(WAIT_S)
    assert there.status(there.ask(b"x")) == 0


def test_old_connections_are_replaced_and_no_call_fails(serve):
    server = serve(connection_age_max_s=0.3)
    with server.channel() as channel:
        say = channel.unary_unary(SAY)
        until = time.monotonic() + 1.5
        calls = 0
        while time.monotonic() < until:
            assert say(b"x", timeout=WAIT_S) == b"x"
            calls += 1
        peers = {call.peer for call in server.seen}
    assert calls == len(server.seen)
    assert len(peers) >= 2


def test_a_call_that_takes_longer_than_its_connection_may_last_is_finished(serve):
    server = serve(connection_age_max_s=0.2)
    with server.channel() as channel:
        held = channel.unary_unary(SAY).future(b"hold")
        server.hold(1)
        time.sleep(0.6)
        server.release()
        assert held.result(WAIT_S) == b"hold"


def test_a_connection_that_has_gone_is_given_back_at_once(native, engine, raw, settled):
    """The collector does not know how much memory an engine holds, so nothing may wait for it."""
    server = native()

    def left():
        return sum(type(each) is Connection for each in gc.get_objects())

    gc.collect()
    before = left()  # what the reports of tests before this one still know
    gc.disable()
    try:
        for place in range(30):
            client = engine(server.port)
            assert client.status(client.ask(b"x")) == 0
            assert client.status(client.ask(b"x", "/turnout.test.Echo/Talk")) == 0
            assert client.status(client.ask(b"fail")) == 5
            half = client.begin()
            client.send(half, b"\x00\x00")
            if place % 2:
                raw(server.port).send(b"nonsense" * 10)
            client.socket.close()
        server.seen.clear()  # a call knows its connection
        until = time.monotonic() + WAIT_S
        while left() > before:
            assert time.monotonic() < until, f"{left() - before} connections are left"
            time.sleep(0.01)
    finally:
        gc.enable()
    settled(server)
