"""A call that the server behind answers: two streams, and what flows between them, each held back by the other."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ngh2 import NGH2Error

from gateway.transport.native.status import ended
from gateway.transport.port import UNAVAILABLE

if TYPE_CHECKING:
    from gateway.transport.native.behind import BehindLink
    from gateway.transport.native.connection import Connection
    from gateway.transport.native.status import Headers

_INTERNAL_ERROR = 2
_CANCEL = 8


class Forwarded:
    """A client's stream and the one to the server behind.

    A piece is acknowledged to the side that it came from when it has left to the other: neither can make the proxy hold
    more than a stream's window.
    """

    __slots__ = (
        "_answered",
        "_begun",
        "_client",
        "_far",
        "_link",
        "_of_client",
        "_of_server",
        "_reset_with",
        "_server_open",
        "_stream",
    )

    def __init__(self, client: Connection, stream: int, link: BehindLink, far: int) -> None:
        self._client = client
        self._stream = stream
        self._link = link
        self._far = far
        self._of_client = 0
        self._of_server = 0
        self._answered = False
        self._begun = False
        self._server_open = True
        self._reset_with: int | None = None

    # From the client.

    def take(self, data: bytes, *, last: bool) -> None:
        """Pass on a piece of the request."""
        if self._server_open:
            with contextlib.suppress(NGH2Error):
                self._link.session.send_data(self._far, data, end_stream=last)
                self._of_client += len(data)
                self._link.owe(self)
                return
        self._acknowledge_client(len(data))

    def settle_with_client(self) -> bool:
        """Let the client send as much more as has left to the server; return whether all has."""
        left = self._link.queued(self._far) if self._server_open else 0
        self._acknowledge_client(self._of_client - left)
        self._of_client = left
        return not left

    def client_closed(self) -> None:
        """End the call behind too, unless it has ended."""
        self._acknowledge_server(self._of_server)
        self._of_server = 0
        if self._server_open:
            with contextlib.suppress(NGH2Error):
                self._link.session.reset_stream(self._far, _CANCEL)
            self._link.hurry()

    # From the server behind.

    def begin(self, headers: Headers, *, last: bool) -> None:
        """Pass on the first headers of the answer."""
        self._begun = True
        self._answered = last
        with contextlib.suppress(NGH2Error):
            self._client.session.send_response(self._stream, headers, end_stream=last)
        self._client.hurry()

    def bring(self, data: bytes, *, last: bool) -> None:
        """Pass on a piece of the answer."""
        self._answered |= last
        try:
            self._client.session.send_data(self._stream, data, end_stream=last)
        except NGH2Error:  # the client has gone
            self._acknowledge_server(len(data))
            return
        self._of_server += len(data)
        self._client.owe(self)

    def end(self, trailers: Headers) -> None:
        """Pass on how it ended."""
        self._answered = True
        with contextlib.suppress(NGH2Error):
            self._client.session.send_trailers(self._stream, trailers)
        self._client.hurry()

    def settle(self) -> bool:
        """Let the server send as much more as has left to the client; return whether all has."""
        left = self._client.queued(self._stream)
        self._acknowledge_server(self._of_server - left)
        self._of_server = left
        if left:
            return False
        if self._reset_with is not None:
            with contextlib.suppress(NGH2Error):
                self._client.session.reset_stream(self._stream, self._reset_with)
            self._client.hurry()
        return True

    def server_closed(self, code: int) -> None:
        """End the client's stream too: when the answer has left, or at once where there is none."""
        self._server_open = False
        self._acknowledge_client(self._of_client)
        self._of_client = 0
        if not self._client.is_open:
            return
        if self._answered:
            self._reset_with = 0 if self._client.is_half_open(self._stream) else None
            self._client.owe(self)
            return
        with contextlib.suppress(NGH2Error):
            self._client.session.reset_stream(self._stream, code or _INTERNAL_ERROR)
        self._client.hurry()

    def server_lost(self) -> None:
        """Tell the client that there is no server behind any more."""
        self._server_open = False
        if self._answered or not self._client.is_open:
            return
        self._answered = True
        if not self._begun:
            self._client.end(self._stream, unavailable())
            return
        with contextlib.suppress(NGH2Error):
            self._client.session.reset_stream(self._stream, _INTERNAL_ERROR)
        self._client.hurry()

    def _acknowledge_client(self, size: int) -> None:
        if size > 0 and self._client.is_open:
            with contextlib.suppress(NGH2Error):
                self._client.session.acknowledge_received_data(size, self._stream)
            self._client.hurry()

    def _acknowledge_server(self, size: int) -> None:
        if size > 0 and self._link.is_open:
            with contextlib.suppress(NGH2Error):
                self._link.session.acknowledge_received_data(size, self._far)
            self._link.hurry()


def unavailable() -> Headers:
    """Return the answer where there is no server behind."""
    return ended(UNAVAILABLE, "the server for this method does not answer; try again")
