"""A TLS handshake that waits for its socket as everybody does."""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING

from gateway.transport.native.loop import READ, WRITE

if TYPE_CHECKING:
    from gateway.transport.native.front import Front

_log = logging.getLogger(__name__)


class Handshake:
    """A handshake under way; what comes of it is a connection, or nothing."""

    def __init__(self, front: Front, secured: ssl.SSLSocket, peer: str) -> None:
        self._front = front
        self._socket = secured
        self._peer = peer
        self._is_over = False
        front.loop.watch(secured.fileno(), self._step)
        front.loop.call_later(front.waves.wiring.limits.handshake_s_max, self.give_up)

    def give_up(self) -> None:
        """Close the socket, unless the handshake is over."""
        if not self._is_over:
            self._leave()
            self._socket.close()

    def _step(self, _: int) -> None:
        loop = self._front.loop
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError:
            loop.rewatch(self._socket.fileno(), READ)
        except ssl.SSLWantWriteError:
            loop.rewatch(self._socket.fileno(), WRITE)
        except OSError as error:
            _log.debug("%s: the handshake failed: %s", self._peer, error)
            self.give_up()
        else:
            if self._socket.selected_alpn_protocol() != "h2":
                self.give_up()
                return
            self._leave()
            self._front.welcome(self._socket, self._peer)

    def _leave(self) -> None:
        self._is_over = True
        self._front.loop.forget(self._socket.fileno())
        self._front.forget_handshake(self)
