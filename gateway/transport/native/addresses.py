"""Addresses: where a server listens, and how a client's is written."""

from __future__ import annotations

import socket
from pathlib import Path

_BACKLOG = 1024


def name_of(family: int, address: object) -> str:
    """Return an address as grpcio writes it."""
    if family == socket.AF_INET and isinstance(address, tuple):
        return f"ipv4:{address[0]}:{address[1]}"
    if family == socket.AF_INET6 and isinstance(address, tuple):
        host = str(address[0])
        if host.startswith("::ffff:") and "." in host:  # a client by IPv4 on a socket for both
            return f"ipv4:{host[7:]}:{address[1]}"
        return f"ipv6:%5B{host}%5D:{address[1]}"
    return "unix:"


def bind(address: str) -> list[socket.socket]:
    """Return sockets that listen on an address, or raise OSError; other processes may share its port."""
    if address.startswith("unix:"):
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path = Path(address.removeprefix("unix:").removeprefix("//"))
        path.unlink(missing_ok=True)
        listening.bind(str(path))
        return [_listen(listening)]
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    found = socket.getaddrinfo(host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    bound: list[socket.socket] = []
    for family, kind, protocol, _, place in found:
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if len(found) == 1 else 1)
        number = place[1] or (bound[0].getsockname()[1] if bound else 0)
        listening.bind((place[0], number, *place[2:]))
        bound.append(_listen(listening))
    return bound


def _listen(bound: socket.socket) -> socket.socket:
    bound.setblocking(False)
    bound.listen(_BACKLOG)
    return bound
