"""Where clients come in: listening sockets, TLS handshakes, and how connections are told to go."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING

from gateway.transport.native import bounds
from gateway.transport.native.addresses import name_of
from gateway.transport.native.behind import Behind
from gateway.transport.native.connection import Connection
from gateway.transport.native.handshake import Handshake
from gateway.transport.native.head import Heads
from gateway.transport.native.loop import Loop
from gateway.transport.native.waves import Waves

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from gateway.transport.port import Wiring

_log = logging.getLogger(__name__)
_NO_DESCRIPTORS_PAUSE_S = 0.1


class Front:
    """All connections of a transport, and what they share.

    Attributes
    ----------
    connections
        Those that are open.
    """

    def __init__(self, wiring: Wiring, behind: Path) -> None:
        self.loop = Loop()
        self.waves = Waves(wiring)
        self.heads = Heads((*wiring.methods, *wiring.streams))
        self.behind = Behind(self.loop, behind)
        self.connections: set[Connection] = set()
        self._wiring = wiring
        self._handshakes: set[Handshake] = set()
        self._listening: list[socket.socket] = []
        self._is_closing = False
        self._connections_max = wiring.limits.connections_max

    def listen(self, listening: list[socket.socket]) -> None:
        """Take clients from these sockets."""
        self._connections_max = min(self._connections_max, bounds.raise_descriptor_limit())
        self._listening = listening
        for one in listening:
            self._watch(one)

    def close_door(self) -> None:
        """Take those clients that have connected already, and no more."""
        for one in self._listening:
            self._accept(one)
            self.loop.forget(one.fileno())
            one.close()
        self._listening = []

    def welcome(self, accepted: socket.socket, peer: str) -> None:
        """Make a connection of a socket."""
        connection = Connection(self, accepted, peer)
        self.connections.add(connection)
        if self._is_closing:  # it was in its handshake when the others were told
            connection.notice()
            self.loop.call_later(bounds.NOTICE_S, connection.dismiss)

    def notice(self) -> None:
        """Tell all clients that they should go."""
        self._is_closing = True
        for connection in self.connections:
            connection.notice()

    def dismiss(self) -> None:
        """Close each connection when what its client has sent is finished."""
        for connection in self.connections:
            connection.dismiss()

    def count_owing(self) -> int:
        """Return how many clients have not read all their answers, or not sent all their requests."""
        return sum(connection.is_owing for connection in self.connections)

    def drop_greediest(self) -> None:
        """Close the connection whose client leaves most unread."""
        greediest = max(self.connections, key=lambda connection: connection.unread_bytes)
        _log.warning("%s does not read its answers and is dropped", greediest.peer)
        greediest.lose()

    def drop_all(self) -> None:
        """Close everything at once."""
        self.close_door()
        for handshake in list(self._handshakes):
            handshake.give_up()
        for connection in list(self.connections):
            connection.lose()
        self.behind.close()

    def forget_handshake(self, handshake: Handshake) -> None:
        """Count a handshake no longer."""
        self._handshakes.discard(handshake)

    def _watch(self, listening: socket.socket) -> None:
        self.loop.watch(listening.fileno(), lambda _: self._accept(listening))

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(bounds.ACCEPTS_PER_TURN_MAX):
            try:
                accepted, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:  # out of descriptors, or the client has gone already
                _log.warning("no connection could be taken: %s", error)
                self.loop.forget(listening.fileno())
                self.loop.call_later(_NO_DESCRIPTORS_PAUSE_S, lambda: self._resume(listening))
                return
            if len(self.connections) + len(self._handshakes) >= self._connections_max:
                accepted.close()
                continue
            accepted.setblocking(False)
            if accepted.family != socket.AF_UNIX:
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = name_of(accepted.family, address)
            if self._wiring.tls is None:
                self.welcome(accepted, peer)
            else:
                self._handshake(accepted, peer, self._wiring.tls.context)

    def _resume(self, listening: socket.socket) -> None:
        if listening.fileno() >= 0:
            self._watch(listening)

    def _handshake(self, accepted: socket.socket, peer: str, context: Callable[[], ssl.SSLContext]) -> None:
        try:
            secured = context().wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
        except OSError as error:
            _log.warning("a handshake could not begin: %s", error)
            accepted.close()
            return
        self._handshakes.add(Handshake(self, secured, peer))
