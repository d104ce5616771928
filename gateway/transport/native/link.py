"""A socket with an HTTP/2 session on it: what is read goes into the session, what the session has to say is written."""

from __future__ import annotations

import contextlib
import logging
import ssl
import struct
from typing import TYPE_CHECKING

from ngh2 import Connection as Session
from ngh2 import NGH2Error
from ngh2.exceptions import DenialOfServiceError

from gateway.transport.native.bounds import READ_BYTES_MAX, WRITE_BYTES_MAX
from gateway.transport.native.loop import READ, WRITE

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from ngh2.config import Configuration, Role
    from ngh2.enums import Setting
    from ngh2.events import Event

    from gateway.transport.native.loop import Loop

_log = logging.getLogger(__name__)
_BLOCKED = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
# One buffer for all links: a read is given to the session before the next one begins.
_BUFFER = memoryview(bytearray(READ_BYTES_MAX))
_GOAWAY = 7
_PROTOCOL_ERROR = 1
_ENHANCE_YOUR_CALM = 11


class Link:
    """One socket and its session.

    Attributes
    ----------
    session
        The HTTP/2 engine's end of the connection.
    heard_at
        When something was read last, on the monotonic clock.
    unread_bytes
        What the session holds that the peer's windows do not let out.
    is_open
        Whether it is not lost or closed yet.
    is_due
        Whether its session's output is to be written when this turn of the loop ends.
    is_deaf
        Whether all has been said: what still comes is read, so that the peer can read to the end, and dropped.
    """

    __slots__ = (
        "_loop",
        "_mask",
        "_receive",
        "_socket",
        "_tls",
        "_unsent",
        "heard_at",
        "is_deaf",
        "is_due",
        "is_open",
        "session",
        "unread_bytes",
    )

    def __init__(
        self,
        loop: Loop,
        connected: socket.socket,
        *,
        role: Role,
        configuration: Configuration,
        settings: dict[Setting, int],
        window_bytes: int,
    ) -> None:
        self._loop = loop
        self._socket = connected
        self._receive = connected.recv_into
        self._tls = connected if isinstance(connected, ssl.SSLSocket) else None
        self._mask = READ
        self._unsent: memoryview | None = None
        self.is_due = False
        self.is_open = True
        self.is_deaf = False
        self.heard_at = loop.now
        self.unread_bytes = 0
        self.session = Session(role, configuration)
        self.session.initiate_connection(settings)
        self.session.set_local_window_size(window_bytes)
        loop.watch(connected.fileno(), self.on_ready)
        self.changed()

    def changed(self) -> None:
        """Have the session's output written when this turn ends."""
        if not self.is_due:
            self.is_due = True
            self._loop.changed.append(self)

    def hurry(self) -> None:
        """Have it written before the next wave is answered."""
        self._loop.urgent = True
        self.changed()

    def on_ready(self, mask: int) -> None:
        """Write what could not be written, and read once: other links are waiting too."""
        try:
            if mask & WRITE and self._send_rest():
                self.flush()
            if mask & ~WRITE and self.is_open and self._unsent is None:
                self._read()
                while self._has_more():
                    self._read()
            elif mask & ~(READ | WRITE) and self.is_open:
                self.lose()  # it broke while it was waited for to take more
        except NGH2Error as error:
            self._break_off(error)

    def _has_more(self) -> bool:
        """Return whether there are bytes that the kernel does not know of: TLS has taken them."""
        return self._tls is not None and self.is_open and self._unsent is None and self._tls.pending() > 0

    def _read(self) -> None:
        try:
            size = self._receive(_BUFFER)
        except _BLOCKED:
            return
        except OSError:
            size = 0
        if not size:
            self.lose()
            return
        self.heard_at = self._loop.now
        if self.is_deaf:
            return
        session = self.session
        session.receive_data(_BUFFER[:size])
        if not self.is_due:
            self.is_due = True
            self._loop.changed.append(self)
        self.received(session.events())

    def received(self, events: Sequence[Event]) -> None:
        """Handle what the peer has sent."""
        raise NotImplementedError

    def flush(self) -> None:
        """Write what the session has to send, as far as the socket takes it."""
        self.is_due = False
        if self._unsent is not None or not self.is_open or self.is_deaf:
            return
        try:
            while data := self.session.data_to_send(WRITE_BYTES_MAX):
                if not self._send(data):
                    return
                if len(data) < WRITE_BYTES_MAX:
                    break
            self.unread_bytes = self.session.queued_body_size()
            self.flushed()
        except NGH2Error as error:
            self._break_off(error)

    def flushed(self) -> None:
        """Do what had to wait until the session had no more to send."""

    def queued(self, stream: int) -> int:
        """Return how much of a stream has not left."""
        try:
            return self.session.queued_body_size(stream)
        except NGH2Error:
            return 0

    def lose(self) -> None:
        """Close the socket at once, whatever is in flight."""
        if not self.is_open:
            return
        self.is_open = False
        self._loop.forget(self._socket.fileno())
        with contextlib.suppress(OSError):
            self._socket.close()
        self.lost()

    def lost(self) -> None:
        """Clear up; the socket is closed."""

    def _send(self, data: bytes | memoryview) -> bool:
        """Return whether the socket took all of it; the rest is kept, and nothing is read until it has left."""
        try:
            sent = self._socket.send(data)
        except _BLOCKED:
            sent = 0
        except OSError:
            self.lose()
            return False
        if sent < len(data):
            self._unsent = memoryview(data)[sent:]
            self._wait_for(WRITE)
            return False
        return True

    def _send_rest(self) -> bool:
        rest, self._unsent = self._unsent, None
        if rest is not None and not self._send(rest):
            return False
        self._wait_for(READ)
        return True

    def _wait_for(self, mask: int) -> None:
        if mask != self._mask:
            self._mask = mask
            self._loop.rewatch(self._socket.fileno(), mask)

    def _break_off(self, error: NGH2Error) -> None:
        """Close the connection of a peer that does not keep to HTTP/2; the session is of no use any more."""
        _log.debug("a connection broke off: %s", error)
        try:
            last = self.session.data_to_send(WRITE_BYTES_MAX)  # it may have said why
        except NGH2Error:
            last = _goaway(_ENHANCE_YOUR_CALM if isinstance(error, DenialOfServiceError) else _PROTOCOL_ERROR)
        with contextlib.suppress(OSError):
            self._socket.send(last)
        self.lose()


def _goaway(code: int) -> bytes:
    """Return a GOAWAY frame, for a session that cannot make one any more."""
    return struct.pack(">I", 8)[1:] + bytes([_GOAWAY, 0]) + struct.pack(">III", 0, 0, code)
