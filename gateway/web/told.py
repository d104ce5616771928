"""What is asked of the HTTP port, and what it tells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from email.message import Message
    from http import HTTPStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody asks.

    Attributes
    ----------
    method, target
        The verb, and the path with what stands behind it.
    headers
        The headers.
    body
        What was sent.
    certificate
        The names in the certificate that was shown.
    peer
        Where it comes from, as grpcio says it.
    secure
        Whether it came by TLS.
    """

    method: str
    target: str
    headers: Message
    body: bytes = b""
    certificate: Sequence[str] = ()
    peer: str = ""
    secure: bool = False


@dataclass(slots=True, kw_only=True)
class Told:
    """What they are told."""

    status: int
    body: bytes = b""
    content_type: str = "text/html; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


class Rest(Protocol):
    """What answers calls by HTTP."""

    def takes(self, path: str) -> bool:
        """Return whether a path is of this."""
        ...

    def answer(self, asked: Asked) -> Told:
        """Return what to tell a caller."""
        ...

    def refuse(self, asked: Asked, status: HTTPStatus, words: str) -> Told:
        """Return the answer to a body that is not read."""
        ...
