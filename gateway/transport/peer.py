"""Who calls, also where a proxy of this process has passed the call on."""

from __future__ import annotations

import functools
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc

RESERVED_PREFIX = b"turnout-forwarded-"
"""Metadata that only the proxy may set; from clients it is dropped."""


@functools.cache
def peer_key() -> str:
    """Return the metadata key under which the proxy passes the client's address on; nobody else can guess it."""
    return f"{RESERVED_PREFIX.decode()}peer-{secrets.token_hex(16)}"


@functools.cache
def names_key() -> str:
    """Return the metadata key under which it passes on who the client is by its certificate."""
    return f"{RESERVED_PREFIX.decode()}names-{secrets.token_hex(16)}-bin"


def pack_names(names: Sequence[str]) -> bytes:
    """Return the names as metadata."""
    return "\0".join(names).encode()


def peer_of(context: grpc.ServicerContext) -> str:
    """Return the client's address."""
    passed_on = _passed_on(context, peer_key())
    return passed_on.decode() if passed_on is not None else str(context.peer())


def forwarded_names(context: grpc.ServicerContext) -> tuple[str, ...] | None:
    """Return who the client of a call that was passed on is by its certificate; None for a call that came by itself."""
    passed_on = _passed_on(context, names_key())
    if passed_on is None:
        return None
    return tuple(name for name in passed_on.decode().split("\0") if name)


def _passed_on(context: grpc.ServicerContext, key: str) -> bytes | None:
    for name, value in context.invocation_metadata() or ():
        if name == key:
            return value if isinstance(value, bytes) else value.encode()
    return None
