"""Gateways that ask who is calling, one for each transport, and everybody who may call them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import pytest
from cryptography import x509

from turnout.tokens import ROLES, edited, hash_of, make_identity, new_token

if TYPE_CHECKING:
    from pathlib import Path

EXPIRED = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
UNSHARED = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]


@dataclass
class Secured:
    """A gateway that asks for tokens, and where it has TLS, for certificates too.

    `tokens` holds a token for each role and one that has expired, `pairs` a certificate for each role and one of
    nobody.
    """

    gateway: object
    file: Path
    tokens: dict[str, str]
    authority: object = None
    pairs: dict[str, object] = field(default_factory=dict)

    def channel(self, port, pair="nobody"):
        address = f"127.0.0.1:{getattr(self.gateway, port)}"
        if self.authority is None:
            return grpc.insecure_channel(address, UNSHARED)
        shown = self.pairs[pair]
        credentials = grpc.ssl_channel_credentials(
            self.authority.certificate.read_bytes(), shown.key.read_bytes(), shown.certificate.read_bytes()
        )
        return grpc.secure_channel(address, credentials, UNSHARED)


def write_identities(file):
    """Write an identity with a token and one with a certificate for each role, and return the tokens by role."""
    tokens = {role: new_token() for role in (*ROLES, "expired")}
    with edited(file) as identities:
        for role in ROLES:
            identities.append(make_identity(role, [role], sha256=hash_of(tokens[role])))
            identities.append(make_identity(f"{role}-certificate", [role], certificate=f"CN:{role}"))
        identities.append(make_identity("expired", ["admin"], sha256=hash_of(tokens["expired"]), expires=EXPIRED))
        identities.append(
            make_identity("expired-certificate", ["admin"], certificate="URI:spiffe://test/late", expires=EXPIRED)
        )
    return tokens


@pytest.fixture(scope="session")
def identities_in():
    """Return the function that writes a file of identities and returns the tokens by role."""
    return write_identities


def bearer(token):
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture(scope="session", name="bearer")
def _bearer():
    return bearer


@pytest.fixture(scope="session")
def plain(launch, tmp_path_factory):
    """Return a gateway on the native transport that asks for tokens, without TLS."""
    folder = tmp_path_factory.mktemp("plain")
    tokens = write_identities(folder / "tokens.json")
    gateway = launch(folder / "state", "--transport", "native", "--tokens", str(folder / "tokens.json"))
    yield Secured(gateway, folder / "tokens.json", tokens)
    assert gateway.stop() == 0


def start_mutual(launch, folder, authority, transport):
    """Start a gateway that asks for certificates and tokens over TLS."""
    tokens = write_identities(folder / "tokens.json")
    server = authority.issue_server()
    pairs = {name: authority.issue(name) for name in (*ROLES, "nobody")}
    late = x509.UniformResourceIdentifier("spiffe://test/late")
    pairs["expired"] = authority.issue("late", alternatives=[late])
    flags = ("--transport", transport, "--tokens", str(folder / "tokens.json"))
    tls = ("--tls-cert", str(server.certificate), "--tls-key", str(server.key))
    gateway = launch(folder / "state", *flags, *tls, "--tls-client-ca", str(authority.certificate))
    return Secured(gateway, folder / "tokens.json", tokens, authority, pairs)


@pytest.fixture(scope="session")
def mutual_native(launch, tmp_path_factory, certificate_authority):
    """Return a gateway on the native transport that asks for certificates and tokens over TLS."""
    folder = tmp_path_factory.mktemp("native")
    secured = start_mutual(launch, folder, certificate_authority(folder / "ca"), "native")
    yield secured
    assert secured.gateway.stop() == 0


@pytest.fixture(scope="session")
def mutual_grpcio(launch, tmp_path_factory, certificate_authority):
    """Return the same on the grpcio transport."""
    folder = tmp_path_factory.mktemp("grpcio")
    secured = start_mutual(launch, folder, certificate_authority(folder / "ca"), "grpcio")
    yield secured
    assert secured.gateway.stop() == 0


@pytest.fixture(scope="session", params=["mutual_native", "mutual_grpcio"])
def mutual(request):
    """Return a gateway that asks for certificates and tokens, on each transport in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session", params=["plain", "mutual_native", "mutual_grpcio"])
def secured(request):
    """Return each gateway that asks who is calling."""
    return request.getfixturevalue(request.param)
