"""What a client shows to a gateway, and how it knows that it speaks to the right one."""

from __future__ import annotations

import ipaddress
import os
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import grpc

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENVIRONMENT = {
    "token": "TURNOUT_TOKEN",
    "token_file": "TURNOUT_TOKEN_FILE",
    "tls_ca": "TURNOUT_TLS_CA",
    "tls_cert": "TURNOUT_TLS_CLIENT_CERT",
    "tls_key": "TURNOUT_TLS_CLIENT_KEY",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """A token, a certificate, and whom to trust. Its repr has no token.

    Parameters
    ----------
    token
        The token, as ``turnout tokens create`` printed it; empty: none.
    token_file
        A file with the token as its only line, which nobody sees among a process's arguments.
    tls
        Whether the gateway speaks TLS; it does where any of the following is given.
    tls_ca
        Whose certificate the gateway must show, PEM; None: one that this machine trusts.
    tls_cert, tls_key
        The certificate to show, and its private key, PEM.
    insecure
        Whether a token may go to another machine in clear.

    Raises
    ------
    ValueError
        The parts do not go together.
    OSError
        A file cannot be read.
    """

    token: str = field(default="", repr=False)
    token_file: Path | str | None = None
    tls: bool = False
    tls_ca: Path | str | None = None
    tls_cert: Path | str | None = None
    tls_key: Path | str | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        if self.token and self.token_file is not None:
            raise ValueError("a token and a file with one are given: which of the two?")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("a certificate and its key are given together or not at all")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Return what the variables ``TURNOUT_TOKEN``, ``TURNOUT_TOKEN_FILE``, ``TURNOUT_TLS``, … say."""
        given = {name: environment[variable] for name, variable in _ENVIRONMENT.items() if environment.get(variable)}
        flags = {name: _is_true(environment.get(f"TURNOUT_{name.upper()}", "")) for name in ("tls", "insecure")}
        return cls(**given, **flags)  # type: ignore[arg-type]

    @property
    def speaks_tls(self) -> bool:
        """Whether the connection is to be encrypted."""
        return self.tls or self.tls_ca is not None or self.tls_cert is not None

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Return what a channel is made with; None: it is made without TLS."""
        if not self.speaks_tls:
            return None
        return grpc.ssl_channel_credentials(_read(self.tls_ca), _read(self.tls_key), _read(self.tls_cert))

    def metadata(self, target: str) -> tuple[tuple[str, str], ...]:
        """Return what each call to a target says, or raise ValueError when a token would travel in clear."""
        token = self.token
        if self.token_file is not None:
            token = Path(self.token_file).read_text(encoding="ascii").strip()
        if not token:
            return ()
        if not (self.speaks_tls or self.insecure or _is_local(target)):
            raise ValueError(
                f"the token would travel to {target} in clear, for anybody on the way to read: say how the gateway is "
                "known by TLS, or that this is wanted (insecure)"
            )
        return (("authorization", f"Bearer {token}"),)


def _read(path: Path | str | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()


def _is_true(text: str) -> bool:
    return text.lower() in {"1", "true", "yes", "on"}


def _is_local(target: str) -> bool:
    """Return whether all addresses of gRPC's target are of this machine."""
    if target.startswith("unix:"):
        return True
    rest = target.removeprefix("dns:///").removeprefix("ipv4:").removeprefix("ipv6:")
    return all(_is_loopback(urllib.parse.urlsplit(f"//{address}").hostname or "") for address in rest.split(","))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
