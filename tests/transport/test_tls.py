"""TLS as every transport that can speak it promises it: who is let in, who is told apart, and new certificates."""

from __future__ import annotations

import socket
import ssl

import grpc
import pytest
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.errors import CertificateUnusableError
from gateway.transport.port import Wiring
from gateway.transport.select import open_transport
from gateway.transport.tls import Certificates, TlsFiles, names_of_peer

WHO = "/turnout.test.Echo/Who"
WAIT_S = 10.0


def answer(wave):
    for call in wave:
        call.reply(" ".join(call.certificate).encode())


def add_health(server):
    health_pb2_grpc.add_HealthServicer_to_server(_Healthy(), server)


class _Healthy(health_pb2_grpc.HealthServicer):
    def Check(self, *_):  # noqa: N802  (the name is the contract's)
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


@pytest.fixture(params=["grpcio", "native"])
def kind(request):
    return request.param


@pytest.fixture
def authority(tmp_path, certificate_authority):
    return certificate_authority(tmp_path / "ca")


@pytest.fixture
def files(authority):
    server = authority.issue_server()
    return TlsFiles(certificate=server.certificate, key=server.key)


@pytest.fixture
def serve(kind):
    opened = []

    def start(files):
        certificates = Certificates(files)
        wiring = Wiring(address="127.0.0.1:0", methods=[WHO], answer=answer, add_services=add_health, tls=certificates)
        transport = open_transport(kind, wiring)
        opened.append(transport)
        return transport.start(), certificates

    yield start
    for transport in opened:
        transport.close()


def ask(port, authority, client=None):
    """Ask once over a connection of its own, and return the names that the server saw."""
    root = authority.certificate.read_bytes()
    pair = (client.key.read_bytes(), client.certificate.read_bytes()) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(root, *pair)
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        return channel.unary_unary(WHO)(b"", timeout=WAIT_S).decode()


def shown_certificate(port):
    """Return the certificate that the server shows to a new connection."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as bare,
        context.wrap_socket(bare) as secured,
    ):
        return secured.getpeercert(binary_form=True)


def der(pem):
    return ssl.PEM_cert_to_DER_cert(pem.read_text())


def test_calls_and_services_are_answered_over_tls(serve, files, authority):
    port, _ = serve(files)
    assert ask(port, authority) == ""
    credentials = grpc.ssl_channel_credentials(authority.certificate.read_bytes())
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_a_client_without_tls_and_one_that_trusts_another_authority_get_nothing(
    serve, files, tmp_path, certificate_authority
):
    port, _ = serve(files)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(WHO)(b"", timeout=WAIT_S)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(grpc.RpcError) as caught:
        ask(port, certificate_authority(tmp_path / "other"))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_client_must_show_a_certificate_of_the_clients_authority_and_is_known_by_it(
    serve, files, authority, tmp_path, certificate_authority
):
    clients = certificate_authority(tmp_path / "clients", "clients")
    port, _ = serve(TlsFiles(certificate=files.certificate, key=files.key, client_ca=clients.certificate))
    uri = x509.UniformResourceIdentifier("spiffe://turnout/trainer")
    names = [uri, x509.DNSName("trainer.local"), x509.RFC822Name("a@b.org")]
    shown = ask(port, authority, clients.issue("trainer", alternatives=names)).split()
    assert sorted(shown) == ["CN:trainer", "DNS:trainer.local", "EMAIL:a@b.org", "URI:spiffe://turnout/trainer"]
    assert ask(port, authority, clients.issue("bare")) == "CN:bare"
    strangers = (None, authority.issue("stranger"), clients.issue("late", days=(-9, -1)))
    for stranger in strangers:
        with pytest.raises(grpc.RpcError) as caught:
            ask(port, authority, stranger)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_both_readers_of_a_certificate_give_the_same_names(authority):
    """`ssl` and grpcio tell of a certificate in different words; a role must not depend on the transport."""
    names = [x509.UniformResourceIdentifier("spiffe://x/y"), x509.DNSName("a.b"), x509.RFC822Name("a@b.org")]
    client, server = authority.issue("trainer", alternatives=names), authority.issue_server()
    context = Certificates(
        TlsFiles(certificate=server.certificate, key=server.key, client_ca=authority.certificate)
    ).context()
    asking = ssl.create_default_context(cafile=str(authority.certificate))
    asking.load_cert_chain(client.certificate, client.key)
    asking.minimum_version = asking.maximum_version = ssl.TLSVersion.TLSv1_2  # both ends finish in step
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = context.wrap_bio(incoming, outgoing, server_side=True)
    to_far, from_far = outgoing, incoming
    far = asking.wrap_bio(to_far, from_far, server_hostname="localhost")
    for end in (far, near, far, near, far):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    seen = names_of_peer(near.getpeercert())
    assert sorted(seen) == ["CN:trainer", "DNS:a.b", "EMAIL:a@b.org", "URI:spiffe://x/y"]
    assert names_of_peer(None) == ()


def test_a_new_certificate_serves_the_next_connection_without_a_restart(serve, files, authority):
    port, _ = serve(files)
    assert shown_certificate(port) == der(files.certificate)
    before = files.certificate.read_text()
    authority.issue_server()  # over the same files
    assert files.certificate.read_text() != before
    assert shown_certificate(port) == der(files.certificate)
    assert ask(port, authority) == ""


@pytest.mark.parametrize("damage", ["half", "no key", "key of another", "empty"])
def test_a_certificate_that_cannot_serve_leaves_the_old_one_and_is_reported(serve, files, authority, damage, caplog):
    port, certificates = serve(files)
    good, key = der(files.certificate), files.key.read_bytes()
    if damage == "half":
        files.certificate.write_bytes(files.certificate.read_bytes()[:200])
    elif damage == "no key":
        files.key.unlink()
    elif damage == "key of another":
        files.key.write_bytes(authority.issue("other").key.read_bytes())
    else:
        files.certificate.write_bytes(b"")
    assert shown_certificate(port) == good
    assert ask(port, authority) == ""
    assert certificates.fault
    reported = [record.message for record in caplog.records if "goes on serving" in record.message]
    assert len(reported) == 1
    assert str(files.key.parent) not in reported[0]
    files.key.write_bytes(key)
    authority.issue_server()
    assert shown_certificate(port) == der(files.certificate) != good
    assert certificates.fault is None


def test_nothing_older_than_tls_1_2_and_no_weak_cipher_is_spoken(serve, files):
    port, certificates = serve(files)
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSVersion"):
            context.minimum_version = context.maximum_version = version
        with (
            socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as bare,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            context.wrap_socket(bare)
    assert {cipher["protocol"] for cipher in certificates.context().get_ciphers()} <= {"TLSv1.2", "TLSv1.3"}
    assert all("GCM" in c["name"] or "CHACHA20" in c["name"] for c in certificates.context().get_ciphers())


def test_what_could_never_serve_is_refused_at_the_start(files, tmp_path):
    with pytest.raises(CertificateUnusableError, match=r"no TLS with absent\.pem"):
        Certificates(TlsFiles(certificate=tmp_path / "absent.pem", key=files.key))
    (tmp_path / "empty-ca.pem").write_text("")
    with pytest.raises(CertificateUnusableError):
        Certificates(TlsFiles(certificate=files.certificate, key=files.key, client_ca=tmp_path / "empty-ca.pem"))


def test_a_context_may_let_in_clients_without_a_certificate(files, authority):
    both = TlsFiles(certificate=files.certificate, key=files.key, client_ca=authority.certificate)
    assert Certificates(both).context().verify_mode is ssl.CERT_REQUIRED
    assert Certificates(both, clients=ssl.CERT_OPTIONAL).context().verify_mode is ssl.CERT_OPTIONAL
    assert Certificates(files).context().verify_mode is ssl.CERT_NONE
