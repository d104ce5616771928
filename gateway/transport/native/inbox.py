"""The requests of a connection that come in pieces, and what they may take up together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.transport.native import bounds
from gateway.transport.native.arriving import PREFIX, Arriving
from gateway.transport.native.status import Refusal, ended
from gateway.transport.port import DEADLINE_EXCEEDED

if TYPE_CHECKING:
    from gateway.transport.native.connection import Connection
    from gateway.transport.native.head import Head
    from gateway.transport.native.waves import Waves


class Inbox:
    """Puts requests together; most come whole and are never here."""

    __slots__ = ("_bytes", "_connection", "_waves")

    def __init__(self, connection: Connection, waves: Waves) -> None:
        self._connection = connection
        self._waves = waves
        self._bytes = 0

    def begin(self, stream: int, head: Head, *, whole: bool) -> Arriving:
        """Return a request that nothing has come of yet."""
        arriving = Arriving(head, self._connection.now)
        self._connection.streams[stream] = arriving
        if not whole:
            self._connection.partial.add(stream)
        return arriving

    def take(self, stream: int, arriving: Arriving, data: bytes, *, last: bool) -> None:
        """Take a piece; refuse the request as soon as it is clear that it must be."""
        waves = self._waves
        began = arriving.wanted is None
        before = arriving.size
        refusal = arriving.add(data, waves.request_bytes_max)
        self._bytes += arriving.size - before
        waves.bytes_held += arriving.size - before
        if refusal is not None:
            self.forget(stream, arriving)
            self._connection.end(stream, refusal.headers())
        elif last:
            self.finish(stream, arriving)
        elif self._bytes > waves.arriving_bytes_max or not waves.has_room_for_bytes:
            self.forget(stream, arriving)
            waves.wiring.shed(waves.hold(self._connection, stream, arriving.head, b""))
        elif began and (arriving.wanted or 0) > bounds.STREAM_WINDOW_BYTES:
            window = min((arriving.wanted or 0) + PREFIX.size, bounds.LARGE_WINDOW_BYTES)
            self._connection.session.set_local_window_size(window, stream_id=stream)

    def finish(self, stream: int, arriving: Arriving) -> None:
        """Make a call of a request that has come to its end."""
        self.forget(stream, arriving)
        payload = arriving.finish(self._waves.request_bytes_max)
        if isinstance(payload, Refusal):
            self._connection.end(stream, payload.headers())
        else:
            self._waves.bytes_held += len(payload)
            self._waves.admit(self._connection, stream, arriving.head, payload, len(payload))

    def forget(self, stream: int, arriving: Arriving) -> None:
        """Give back what a request takes up."""
        self._connection.streams.pop(stream, None)
        self._bytes -= arriving.size
        self._waves.bytes_held -= arriving.size

    def leave(self) -> None:
        """Let go of the connection: both would wait for the collector, which does not see what their engine holds."""
        del self._connection

    def give_up_late(self) -> None:
        """Fail the requests that do not come to their end."""
        late = self._connection.now - bounds.ARRIVAL_S_MAX
        for stream, state in list(self._connection.streams.items()):
            if isinstance(state, Arriving) and state.since < late:
                self.forget(stream, state)
                self._connection.end(stream, ended(DEADLINE_EXCEEDED, "the request did not arrive in time"))
