"""How clients reach a gateway: the target, the retries, and the guard against use after a fork.

Retries are the channel's own, by its service config (gRFC A6): only a call that ended with UNAVAILABLE is tried again,
and always within the deadline of the first try. A retried call is the same call: its request id was made before.
"""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

from turnout.errors import ForkedClientError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from turnout.security import Security

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
CONNECT_TIMEOUT_MS = 5_000
ATTEMPTS_MAX = 5
"""The first try included; gRPC itself takes no more than five."""

_BACKOFF = {"initialBackoff": "0.1s", "maxBackoff": "2s", "backoffMultiplier": 3}
"""Waits of about 0.1, 0.3, 0.9 and 2 s: enough for a gateway's only worker to be started again."""


def target_of(address: str | Sequence[str]) -> str:
    """Return gRPC's target for one address or several, or raise ValueError.

    One address is ``host:port`` or any target that gRPC knows (``dns:///name:port``, ``unix:/path``). Several are IP
    addresses with ports, all of one family; calls go round them. For several hosts behind a name, give the name: every
    address that it resolves to is used.
    """
    if isinstance(address, str):
        return address
    if not address:
        raise ValueError("no address is given")
    if len(address) == 1:
        return address[0]
    families = {_family(one) for one in address}
    if len(families) > 1:
        raise ValueError(f"addresses of one family are expected, not IPv4 and IPv6 together: {', '.join(address)}")
    return f"{families.pop()}:{','.join(address)}"


def options_of(retried: Sequence[Mapping[str, str]], *, attempts_max: int) -> list[tuple[str, str | int]]:
    """Return a channel's options.

    Parameters
    ----------
    retried
        The methods that may be tried again, as gRPC's service config names them: ``{"service": ..., "method": ...}``;
        ``{}`` means all.
    attempts_max
        How many tries a call gets, the first included; 1 turns retries off.
    """
    config: dict[str, object] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if attempts_max > 1 and retried:
        policy = {"maxAttempts": attempts_max, "retryableStatusCodes": ["UNAVAILABLE"], **_BACKOFF}
        config["methodConfig"] = [{"name": list(retried), "retryPolicy": policy}]
    return [
        ("grpc.service_config", json.dumps(config)),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        # A client is a connection of its own, so that several clients reach several workers of one port.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", CONNECT_TIMEOUT_MS),  # its name misleads: how long one attempt may take
        ("grpc.max_reconnect_backoff_ms", 2000),
    ]


def open_channel(target: str, options: Sequence[tuple[str, str | int]], security: Security) -> grpc.Channel:
    """Return a channel for threads."""
    credentials = security.credentials()
    if credentials is None:
        return grpc.insecure_channel(target, options)
    return grpc.secure_channel(target, credentials, options)


def open_aio_channel(target: str, options: Sequence[tuple[str, str | int]], security: Security) -> grpc.aio.Channel:
    """Return a channel for the event loop that runs."""
    credentials = security.credentials()
    if credentials is None:
        return grpc.aio.insecure_channel(target, options)
    return grpc.aio.secure_channel(target, credentials, options)


@dataclass(frozen=True, slots=True)
class ForkGuard:
    """Remembers the process that a channel was made in."""

    pid: int = field(default_factory=os.getpid)

    def check(self) -> None:
        """Raise ForkedClientError in any other process than the one the channel was made in."""
        if os.getpid() != self.pid:
            raise ForkedClientError(
                f"this client was made in process {self.pid} and is used in its fork {os.getpid()}; "
                "make a client of its own in each process, after the fork"
            )


def _family(address: str) -> str:
    host, colon, port = address.rpartition(":")
    try:
        version = ipaddress.ip_address(host.strip("[]")).version
    except ValueError:
        version = None
    if version is None or not colon or not port.isdecimal():
        raise ValueError(
            f"one of several addresses must be IP:PORT, not {address!r}; for hosts behind a name, give the name"
        )
    return f"ipv{version}"
