"""The life of a client's connection: its handshake, its keepalive, its old age and its end."""

from __future__ import annotations

import contextlib
import logging
import math
import random
import socket
from typing import TYPE_CHECKING

from ngh2 import NGH2Error, Role

from gateway.transport.native import bounds
from gateway.transport.native.link import Link
from gateway.transport.tls import names_of_peer

if TYPE_CHECKING:
    from gateway.transport.native.loop import Loop
    from gateway.transport.port import Limits

_log = logging.getLogger(__name__)
_ENHANCE_YOUR_CALM = 11
# Ages differ by this share, so that clients that came together do not go together.
_AGE_SPREAD = 0.1


class ClientLink(Link):
    """A link to a client, whatever is asked on it.

    Attributes
    ----------
    peer
        The client's address, as grpcio writes it.
    settled
        Whether the client has shown that it speaks HTTP/2.
    """

    __slots__ = (
        "_certificate",
        "_idle_frames",
        "_leaving",
        "_limits",
        "_pinged_at",
        "_resets",
        "_retire_at",
        "_second",
        "_settled_by",
        "_timer",
        "peer",
        "settled",
    )

    def __init__(self, loop: Loop, accepted: socket.socket, peer: str, limits: Limits) -> None:
        self.peer = peer
        self._limits = limits
        self.settled = False
        self._settled_by = loop.now + limits.handshake_s_max
        self._certificate: tuple[str, ...] | None = None
        self._retire_at: float | None = None
        if limits.connection_age_max_s:
            spread = random.uniform(1 - _AGE_SPREAD, 1 + _AGE_SPREAD)  # noqa: S311  (not for security)
            self._retire_at = loop.now + limits.connection_age_max_s * spread
        self._pinged_at: float | None = None
        self._leaving = False
        self._second = self._resets = self._idle_frames = 0
        super().__init__(
            loop,
            accepted,
            role=Role.SERVER,
            configuration=bounds.SERVER,
            settings=bounds.SETTINGS,
            window_bytes=bounds.CONNECTION_WINDOW_BYTES,
        )
        self._timer = loop.call_later(min(limits.handshake_s_max, limits.connection_age_max_s or math.inf), self._check)

    @property
    def is_idle(self) -> bool:
        """Whether no stream is open and all answers have left."""
        raise NotImplementedError

    def check_arriving(self) -> None:
        """Give up requests that do not come to their end."""
        raise NotImplementedError

    @property
    def certificate(self) -> tuple[str, ...]:
        """Who the client is by the certificate that it showed."""
        if self._certificate is None:
            self._certificate = names_of_peer(self._tls.getpeercert()) if self._tls is not None and self.is_open else ()
        return self._certificate

    def spend(self, *, resets: int = 0, idle_frames: int = 0) -> None:
        """Count what a client may do only so often in a second."""
        second = int(self._loop.now)
        if second != self._second:
            self._second, self._resets, self._idle_frames = second, 0, 0
        self._resets += resets
        self._idle_frames += idle_frames
        if self._resets > bounds.RESETS_PER_S_MAX or self._idle_frames > bounds.IDLE_FRAMES_PER_S_MAX:
            _log.warning("%s is told to calm down", self.peer)
            self._resets = self._idle_frames = 0
            self.session.terminate_connection(_ENHANCE_YOUR_CALM)

    def notice(self) -> None:
        """Tell the client that it should go; the calls that it has sent meanwhile are served."""
        with contextlib.suppress(NGH2Error):
            self.session.send_shutdown_notice()
        self.changed()

    def dismiss(self) -> None:
        """Look at no call that comes later, and close when the others are finished."""
        if not self.is_open:
            return
        with contextlib.suppress(NGH2Error):
            self.session.send_goaway()
        self._leaving = True
        self.changed()

    def flushed(self) -> None:
        """Close where nothing more is to come."""
        session = self.session
        if self._leaving and self.is_idle:
            self._linger()
        elif not session.want_read and not session.want_write:
            self.lose()  # the session has said GOAWAY, and why

    def _linger(self) -> None:
        """Say that nothing more comes, and wait for the client to close: it may still be sending and reading.

        A close now, or on bytes that were not read, would have the kernel reset the connection, and a client that
        cannot send may not read the answers that have reached its machine.
        """
        self._leaving = False
        self.is_deaf = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self._loop.call_later(bounds.LINGER_S_MAX, self.lose)

    def _check(self) -> None:
        """Look whether the client is still there."""
        if not self.is_open:
            return
        limits, now = self._limits, self._loop.now
        silent_s = now - self.heard_at
        unanswered = self._pinged_at is not None and self.heard_at < self._pinged_at
        if unanswered or (not self.settled and now >= self._settled_by):
            self.lose()
            return
        self._pinged_at = None
        wait_s = limits.keepalive_s - silent_s
        if wait_s <= 0:
            self._pinged_at = now
            wait_s = limits.keepalive_answer_s_max
            self.session.ping()
            self.changed()
        self.check_arriving()
        if not self.settled:
            wait_s = min(wait_s, self._settled_by - now)
        if self._retire_at is not None and self._pinged_at is None:
            if self._retire_at <= now:
                self._retire()
            else:
                wait_s = min(wait_s, self._retire_at - now)
        self._timer = self._loop.call_later(wait_s, self._check)

    def _retire(self) -> None:
        """Have the client open another connection, as this one is old."""
        self._retire_at = None
        self.notice()
        self._loop.call_later(bounds.NOTICE_S, self.dismiss)
        self._loop.call_later(bounds.NOTICE_S + self._limits.connection_grace_s, self.lose)

    def lost(self) -> None:
        """Let go of the timer."""
        self._loop.cancel(self._timer)
