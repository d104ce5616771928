"""What a gateway refuses to be opened to, and what it opens its ports with."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import subprocess
import sys
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.bootstrap.sources import read_settings
from gateway.bootstrap.together import is_loopback
from gateway.errors import SettingInvalidError
from gateway.probe import main as probe
from turnout.serving.v1 import prediction_service_pb2 as pb
from turnout.serving.v1 import prediction_service_pb2_grpc
from turnout.tokens import edited, hash_of, make_identity, new_token

WAIT_S = 10.0
ANYWHERE = "0.0.0.0"  # noqa: S104  (what is to be refused)


@pytest.fixture
def files(tmp_path, certificate_authority, identities_in):
    authority = certificate_authority(tmp_path)
    server = authority.issue_server()
    identities_in(tmp_path / "tokens.json")
    return {
        "tokens": ("--tokens", str(tmp_path / "tokens.json")),
        "tls": ("--tls-cert", str(server.certificate), "--tls-key", str(server.key)),
        "clients": ("--tls-client-ca", str(authority.certificate)),
        "insecure": ("--insecure",),
    }


@pytest.mark.parametrize(
    ("host", "given", "words"),
    [
        (ANYWHERE, (), "--tokens"),
        ("::", (), "--tokens"),
        ("192.0.2.1", (), "--insecure"),
        ("gateway.example", (), "--tokens"),
        (ANYWHERE, ("tls",), "--tls-client-ca"),
        (ANYWHERE, ("tokens",), "in clear"),
        (ANYWHERE, ("tokens", "tls"), None),
        (ANYWHERE, ("tls", "clients"), None),
        (ANYWHERE, ("insecure",), None),
        (ANYWHERE, ("tokens", "insecure"), None),
        ("127.0.0.1", (), None),
        ("127.0.0.1", ("tokens",), None),
        ("127.0.0.1", ("clients",), "needs --tls-cert"),
    ],
)
def test_a_port_that_strangers_reach_is_not_opened_to_all(tmp_path, files, host, given, words):
    arguments = ["--state", str(tmp_path), "--host", host, *(flag for each in given for flag in files[each])]
    if words is None:
        assert read_settings(arguments).host == host
        return
    with pytest.raises(SettingInvalidError, match=words):
        read_settings(arguments)


def test_loopback_is_an_address_or_localhost():
    assert all(map(is_loopback, ("127.0.0.1", "127.3.2.1", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, (ANYWHERE, "::", "10.0.0.1", "", "localhost.example", "127.0.0.1.example")))


def test_the_gateway_says_what_to_do_and_exits_with_2(tmp_path):
    command = [sys.executable, "-m", "gateway", "--state", str(tmp_path / "state"), "--host", ANYWHERE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--tokens FILE" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "state").exists()


def test_a_certificate_or_a_file_of_identities_that_cannot_be_used_stops_the_start(tmp_path):
    for broken in (("--tokens", "/dev/null"), ("--tls-cert", "/dev/null", "--tls-key", "/dev/null")):
        command = [sys.executable, "-m", "gateway", "--state", str(tmp_path / "state"), *broken]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1
        assert "null" in done.stderr
        assert "Traceback" not in done.stderr


def get(secured, path, token=None, pair=None):
    """Return the status and the body of an HTTP request."""
    address = f"127.0.0.1:{secured.gateway.http}"
    if secured.authority is None:
        connection = http.client.HTTPConnection(address, timeout=WAIT_S)
    else:
        context = ssl.create_default_context(cafile=str(secured.authority.certificate))
        if pair is not None:
            context.load_cert_chain(secured.pairs[pair].certificate, secured.pairs[pair].key)
        connection = http.client.HTTPSConnection(address, timeout=WAIT_S, context=context)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={} if token is None else {"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        assert (answer.headers["WWW-Authenticate"] == "Bearer") == (answer.status == 401)
        return answer.status, answer.read().decode()


def test_health_is_open_and_metrics_take_the_role_read(secured):
    tokens = secured.tokens
    assert get(secured, "/healthz") == (200, "ok\n")
    assert get(secured, "/metrics")[0] == 401
    assert get(secured, "/metrics", token=new_token())[0] == 401
    assert get(secured, "/metrics", token=tokens["expired"])[0] == 401
    assert get(secured, "/metrics", token=tokens["predict"])[0] == 403
    assert get(secured, "/metrics", token=tokens["outcomes"])[0] == 403
    for role in ("read", "admin"):
        status, body = get(secured, "/metrics", token=tokens[role])
        assert status == 200
        assert "turnout_" in body
    assert get(secured, "/nothing")[0] == 404


def test_metrics_know_a_caller_by_its_certificate_too(mutual):
    assert get(mutual, "/metrics", pair="read")[0] == 200
    assert get(mutual, "/metrics", pair="predict")[0] == 403
    assert get(mutual, "/metrics", pair="nobody")[0] == 403


def test_a_connection_that_says_nothing_holds_up_no_other(mutual):
    silent = [socket.create_connection(("127.0.0.1", mutual.gateway.http), timeout=WAIT_S) for _ in range(8)]
    try:
        assert get(mutual, "/healthz") == (200, "ok\n")
    finally:
        for each in silent:
            each.close()


def test_a_new_certificate_is_shown_by_all_three_ports_at_once(mutual):
    def shown(port):
        context = ssl.create_default_context(cafile=str(mutual.authority.certificate))
        context.load_cert_chain(mutual.pairs["read"].certificate, mutual.pairs["read"].key)
        context.set_alpn_protocols(["http/1.1"] if port == "http" else ["h2"])
        address = ("127.0.0.1", getattr(mutual.gateway, port))
        with (
            socket.create_connection(address, timeout=WAIT_S) as bare,
            context.wrap_socket(bare, server_hostname="localhost") as secured,
        ):
            return secured.getpeercert(binary_form=True)

    before = {port: shown(port) for port in ("data", "control", "http")}
    assert len(set(before.values())) == 1
    made = mutual.authority.issue_server()  # over the same files
    now = ssl.PEM_cert_to_DER_cert(made.certificate.read_text())
    assert {port: shown(port) for port in before} == dict.fromkeys(before, now)
    assert now not in before.values()


def test_health_is_open_on_every_grpc_port_and_the_probe_of_containers_asks_over_http(secured):
    for port in ("data", "control"):
        with secured.channel(port) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
    scheme = "http" if secured.authority is None else "https"
    assert probe([f"{scheme}://127.0.0.1:{secured.gateway.http}"]) == 0


def test_a_revoked_token_is_refused_by_the_running_gateway(secured, bearer):
    token = new_token()
    with edited(secured.file) as identities:
        identities.append(make_identity("short-lived", ["predict"], sha256=hash_of(token)))

    with secured.channel("data") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def code():
            with pytest.raises(grpc.RpcError) as caught:
                stub.Predict(pb.PredictRequest(model="absent"), metadata=bearer(token), timeout=WAIT_S)
            return caught.value.code()

        def becomes(wanted):
            until = time.monotonic() + WAIT_S
            while code() is not wanted:
                assert time.monotonic() < until
                time.sleep(0.05)

        becomes(grpc.StatusCode.NOT_FOUND)  # the gate let it through to the pipeline
        with edited(secured.file) as identities:
            identities[:] = [each for each in identities if each.name != "short-lived"]
        becomes(grpc.StatusCode.UNAUTHENTICATED)
