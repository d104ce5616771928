"""TLS at its edges: what is slow, large, or not TLS at all."""

from __future__ import annotations

import socket
import ssl
import time

import grpc
import pytest

from gateway.transport.port import Limits, Wiring
from gateway.transport.select import open_transport
from gateway.transport.tls import Certificates, TlsFiles

SAY = "/turnout.test.Echo/Say"
MIB = 1024 * 1024
WAIT_S = 10.0


def answer(wave):
    for call in wave:
        call.reply(call.payload)


@pytest.fixture
def authority(tmp_path, certificate_authority):
    return certificate_authority(tmp_path / "ca")


@pytest.fixture
def secured(kind, authority):
    opened = []

    def start(**limits):
        server = authority.issue_server()
        certificates = Certificates(TlsFiles(certificate=server.certificate, key=server.key))
        wiring = Wiring(
            address="127.0.0.1:0",
            methods=[SAY],
            answer=answer,
            add_services=lambda _: None,
            tls=certificates,
            limits=Limits(**limits),
        )
        opened.append(open_transport(kind, wiring))
        return opened[-1].start()

    yield start
    for transport in opened:
        transport.close()


@pytest.fixture
def channel_to(authority):
    def connect(port):
        credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
        options = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", -1),
        ]
        return grpc.secure_channel(f"127.0.0.1:{port}", credentials, options)

    return connect


def test_sixteen_mib_pass_both_ways(secured, channel_to):
    with channel_to(secured()) as channel:
        say = channel.unary_unary(SAY)
        payload = bytes(range(256)) * (16 * MIB // 256)
        assert say(payload, timeout=60) == payload
        calls = [say.future(payload[: 2 * MIB]) for _ in range(8)]
        assert all(call.result(60) == payload[: 2 * MIB] for call in calls)


def test_handshakes_that_stand_still_hold_up_nobody(secured, channel_to):
    port = secured()
    hello = bytes.fromhex("16030100c8010000c40303")
    silent = [socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) for _ in range(50)]
    for client in silent[::2]:
        client.sendall(hello)
    try:
        with channel_to(port) as channel:
            say = channel.unary_unary(SAY)
            for _ in range(20):
                assert say(b"x", timeout=WAIT_S) == b"x"
    finally:
        for client in silent:
            client.close()


def test_a_handshake_that_takes_too_long_and_what_is_no_handshake_are_dropped(secured, kind, channel_to):
    if kind == "grpcio":
        pytest.skip("grpc-core waits for two minutes")
    port = secured(handshake_s_max=0.2)
    for first in (b"", bytes.fromhex("16030100c8"), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(64)):
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as client:
            client.sendall(first)
            try:
                while client.recv(4096):
                    pass
            except ConnectionError:
                pass
    with channel_to(port) as channel:
        assert channel.unary_unary(SAY)(b"x", timeout=WAIT_S) == b"x"


def test_a_client_that_does_not_agree_on_http_2_is_dropped(secured, authority):
    port = secured()
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as bare,
        pytest.raises((ssl.SSLError, ConnectionError, AssertionError)),
        context.wrap_socket(bare) as client,
    ):
        assert client.recv(100)  # nothing comes but the end


def test_a_drain_lets_the_last_answers_leave(kind, authority, channel_to):
    server = authority.issue_server()
    held = []
    wiring = Wiring(
        address="127.0.0.1:0",
        methods=[SAY],
        answer=held.extend,
        add_services=lambda _: None,
        tls=Certificates(TlsFiles(certificate=server.certificate, key=server.key)),
    )
    transport = open_transport(kind, wiring)
    with channel_to(transport.start()) as channel:
        calls = [channel.unary_unary(SAY).future(bytes(MIB)) for _ in range(4)]
        until = time.monotonic() + WAIT_S
        while len(held) < 4:
            assert time.monotonic() < until
            time.sleep(0.002)
        for call in held:
            call.reply(call.payload)
        assert transport.drain(WAIT_S) is True
        assert [len(call.result(WAIT_S)) for call in calls] == [MIB] * 4
        transport.close()
