"""TLS for every port: the certificate in force, read again when its files change.

The files are looked at whenever somebody connects, so a certificate that was replaced serves the next connection and
nothing is restarted. What cannot serve (a key of another certificate, half a file) is reported, and what served goes on
serving.
"""

from __future__ import annotations

import logging
import ssl
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from gateway.errors import CertificateUnusableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_log = logging.getLogger(__name__)

# Forward secrecy and authenticated encryption only. TLS 1.3 has no others.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
# How often a set of files that changes while it is read is read again before the old one goes on serving.
_READS_MAX = 5

_SAN_KINDS = {"DNS": "DNS", "URI": "URI", "email": "EMAIL"}
_PEER_KINDS = {"x509_common_name": "CN", "peer_dns": "DNS", "peer_uri": "URI", "peer_email": "EMAIL"}

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Where a port's certificate is; all of it PEM.

    Attributes
    ----------
    certificate
        The certificate and whatever is between it and its root.
    key
        The certificate's private key, without a passphrase.
    client_ca
        Whose certificates clients must show; None: clients show none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def paths(self) -> tuple[Path, ...]:
        """Return all the files."""
        given = (self.certificate, self.key, self.client_ca)
        return tuple(path for path in given if path is not None)


@dataclass(frozen=True, slots=True)
class _Material:
    """What was in the files at one time, tried out: it can serve."""

    context: ssl.SSLContext
    configuration: grpc.ServerCertificateConfiguration


class Certificates:
    """The certificate that a port shows and what it asks of its clients, as its files say now.

    Parameters
    ----------
    files
        Where it is.
    protocols
        What is offered by ALPN.
    clients
        Whether a client must show a certificate where `client_ca` is given. `ssl.CERT_OPTIONAL` lets in clients that
        show none, to be told apart later; only the contexts can, not grpcio's credentials.

    Attributes
    ----------
    fault
        Why the files as they are now cannot serve; None when they do.

    Raises
    ------
    CertificateUnusableError
        When there is nothing that could serve at the start.
    """

    def __init__(
        self,
        files: TlsFiles,
        *,
        protocols: Sequence[str] = ("h2",),
        clients: ssl.VerifyMode = ssl.CERT_REQUIRED,
    ) -> None:
        self._files = files
        self._protocols = tuple(protocols)
        self._clients = clients if files.client_ca is not None else ssl.CERT_NONE
        self._lock = threading.Lock()
        self._stamp: _Stamp | None = None
        self.fault: str | None = None
        try:
            self._material = self._read()
        except (OSError, ValueError) as error:
            raise CertificateUnusableError(f"no TLS with {self._names()}: {_plain(error)}") from error

    def context(self) -> ssl.SSLContext:
        """Return the context for a connection that begins now; asked for each connection anew."""
        return self._current().context

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials for a grpcio server, which ask for the certificate in force at each connection."""
        credentials: grpc.ServerCredentials = grpc.dynamic_ssl_server_credentials(
            self._current().configuration,
            lambda: self._current().configuration,
            require_client_authentication=self._files.client_ca is not None,
        )
        return credentials

    def _current(self) -> _Material:
        with self._lock:
            if self._stamp != _stamp(self._files.paths()):
                self._reread()
            return self._material

    def _reread(self) -> None:
        try:
            self._material = self._read()
        except (OSError, ValueError) as error:
            fault = _plain(error)
            if fault != self.fault:
                _log.error("%s cannot serve (%s); the certificate before goes on serving", self._names(), fault)
            self.fault = fault
        else:
            self.fault = None
            _log.info("%s: read again and in force", self._names())

    def _read(self) -> _Material:
        """Return what is in the files, or raise OSError (ssl.SSLError is one) or ValueError when it cannot serve."""
        for _ in range(_READS_MAX):
            stamp = _stamp(self._files.paths())
            try:
                material = self._try_out()
            finally:
                self._stamp, before = _stamp(self._files.paths()), stamp
            if self._stamp == before:
                return material
        raise ValueError("the files change while they are read")

    def _try_out(self) -> _Material:
        files = self._files
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
        context.set_alpn_protocols(list(self._protocols))
        context.load_cert_chain(files.certificate, files.key, password="")
        root = None
        if files.client_ca is not None:
            root = files.client_ca.read_bytes()
            context.load_verify_locations(cadata=root.decode("ascii"))
            context.verify_mode = self._clients
        pair = (files.key.read_bytes(), files.certificate.read_bytes())
        return _Material(context, grpc.ssl_server_certificate_configuration([pair], root))

    def _names(self) -> str:
        return ", ".join(path.name for path in self._files.paths())


def names_of_peer(certificate: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return who a client is by the certificate that `ssl` gives: ``CN:``, ``DNS:``, ``URI:`` and ``EMAIL:`` names.

    Nothing where the client showed none. Only a certificate that was verified comes out of `ssl` with its fields.
    """
    if not certificate:
        return ()
    common = [f"CN:{value}" for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    others = [
        f"{_SAN_KINDS[kind]}:{value}" for kind, value in certificate.get("subjectAltName", ()) if kind in _SAN_KINDS
    ]
    return (*common, *others)


def names_in_context(properties: Mapping[str, Sequence[bytes]]) -> tuple[str, ...]:
    """Return who a client is by what grpcio says of its connection, as `names_of_peer` does."""
    return tuple(
        f"{kind}:{value.decode(errors='replace')}"
        for key, kind in _PEER_KINDS.items()
        for value in properties.get(key, ())
    )


def _stamp(paths: Sequence[Path]) -> _Stamp:
    """Return what changes when a file is replaced or written; zeros where there is none."""
    return tuple(_file_stamp(path) for path in paths)


def _file_stamp(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino


def _plain(error: Exception) -> str:
    """Return what is wrong without the path, which the caller names."""
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
