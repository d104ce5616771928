"""The data port as a client of this machine sees it: where HTTP's calls go on to.

They are ordinary calls of gRPC, so they walk the one pipeline, and a gateway without callers by HTTP pays nothing.
"""

from __future__ import annotations

import ssl
import threading
from typing import TYPE_CHECKING

import grpc

from turnout import channel as client_channel
from turnout import errors

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.transport.tls import TlsFiles

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  (what to reach instead of it)


def _as_it_is(data: bytes) -> bytes:
    return data


class DataPort:
    """Makes calls of the data port.

    Parameters
    ----------
    host, port
        Where it listens.
    tls
        Its certificate, which is what it is known by here; None: it speaks without TLS. Where clients are asked for a
        certificate, this one is shown.
    """

    def __init__(self, host: str, port: int, *, tls: TlsFiles | None) -> None:
        near = _ANYWHERE.get(host, host)
        self._target = f"[{near}]:{port}" if ":" in near else f"{near}:{port}"
        self._tls = tls
        self._lock = threading.Lock()
        self._opened: tuple[tuple[int, ...], grpc.Channel] | None = None

    def call(self, path: str, request: bytes, metadata: Sequence[tuple[str, str]], *, timeout_s: float) -> bytes:
        """Return the bytes of a method's answer, or raise TurnoutError, whose cause is the grpc.RpcError."""
        method = self._channel().unary_unary(path, _as_it_is, _as_it_is)
        try:
            answer: bytes = method(request, metadata=tuple(metadata), timeout=timeout_s)
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from error
        return answer

    def _channel(self) -> grpc.Channel:
        """Return the channel, made anew when the certificate was replaced."""
        stamp = () if self._tls is None else tuple(path.stat().st_mtime_ns for path in self._tls.paths())
        with self._lock:
            if self._opened is None or self._opened[0] != stamp:
                self._opened = (stamp, self._open())  # calls of the one before go on; it ends when they have
            return self._opened[1]

    def _open(self) -> grpc.Channel:
        options = client_channel.options_of([{}], attempts_max=client_channel.ATTEMPTS_MAX)
        options.append(("grpc.enable_http_proxy", 0))
        if self._tls is None:
            return grpc.insecure_channel(self._target, options)
        shown = self._tls.certificate.read_bytes()
        name = _name_in(self._tls.certificate)
        if name:
            options.append(("grpc.ssl_target_name_override", name))
        pair = {"private_key": self._tls.key.read_bytes(), "certificate_chain": shown}
        credentials = grpc.ssl_channel_credentials(shown, **(pair if self._tls.client_ca is not None else {}))
        return grpc.secure_channel(self._target, credentials, options)


def _name_in(certificate: Path) -> str:
    """Return a name that a certificate is for; empty when it says none."""
    try:
        decoded = ssl._ssl._test_decode_cert(str(certificate))  # type: ignore[attr-defined]  # noqa: SLF001
    except ssl.SSLError:
        return ""
    names = [value for kind, value in decoded.get("subjectAltName", ()) if kind in {"DNS", "IP Address"}]
    return names[0].replace("*", "any") if names else ""
