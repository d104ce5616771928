"""A link to a client: its requests become calls, and what is not answered in waves goes to the server behind."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ngh2.events import (
    DataReceived,
    PingReceived,
    RequestReceived,
    SettingsReceived,
    StreamClosed,
    StreamReset,
    TrailersReceived,
)

from gateway.transport.native.answering import OVER, Answering
from gateway.transport.native.arriving import PREFIX, Arriving
from gateway.transport.native.call import NativeCall
from gateway.transport.native.conversation import Conversation
from gateway.transport.native.forwarded import Forwarded, unavailable
from gateway.transport.native.head import FORWARDED, Head
from gateway.transport.native.inbox import Inbox

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from ngh2.events import Event

    from gateway.transport.native.front import Front
    from gateway.transport.native.status import Headers

_log = logging.getLogger(__name__)
_PREFIX_BYTES = PREFIX.size
_read_prefix = PREFIX.unpack_from


class Connection(Answering):
    """A client's connection."""

    __slots__ = (
        "_front",
        "_heads",
        "_inbox",
        "_last_head",
        "_last_headers",
        "_unary",
    )

    def __init__(self, front: Front, accepted: socket.socket, peer: str) -> None:
        self._front = front
        self._heads = front.heads
        self._unary = len(front.waves.wiring.methods)
        self._last_headers: object = None
        self._last_head = Head(FORWARDED)
        self._inbox = Inbox(self, front.waves)
        super().__init__(front, accepted, peer)

    def received(self, events: Sequence[Event]) -> None:
        """Make calls of requests."""
        streams = self.streams
        waves = self._waves
        unary = self._unary
        event: Any  # by its type alone, which is what makes it quick
        for event in events:
            kind = type(event)
            if kind is DataReceived:
                stream = event.stream_id
                data = event.data
                state = streams.get(stream)
                if type(state) is Head and event.end_stream and len(data) >= _PREFIX_BYTES:
                    compressed, size = _read_prefix(data)
                    if not compressed and size == len(data) - _PREFIX_BYTES <= waves.request_bytes_max:
                        self.session.acknowledge_received_data(len(data), stream)
                        waves.admit(self, stream, state, data[_PREFIX_BYTES:])
                        continue
                self._take(stream, state, data, last=event.end_stream)
            elif kind is RequestReceived:
                headers = event.headers
                if headers != self._last_headers:
                    self._last_headers, self._last_head = headers, self._heads.read(headers)
                head = self._last_head
                if 0 <= head.method < unary and not event.end_stream and not self._choked:
                    streams[event.stream_id] = head
                else:
                    self._open(event.stream_id, head, headers, last=event.end_stream)
            elif kind is StreamClosed:
                if event.stream_id in streams:
                    self._gone(event.stream_id)
            else:
                self._hear(event)

    def _hear(self, event: Event) -> None:
        """Handle what is rare."""
        if isinstance(event, StreamReset):
            self.spend(resets=1)
            if event.stream_id in self.streams:
                self._gone(event.stream_id)
        elif isinstance(event, TrailersReceived):
            self._take(event.stream_id, self.streams.get(event.stream_id), b"", last=True)
        elif isinstance(event, PingReceived):
            self.spend(idle_frames=1)
        elif isinstance(event, SettingsReceived):
            self.settled = True
            self.spend(idle_frames=1)

    def _open(self, stream: int, head: Head, headers: Headers, *, last: bool) -> None:
        """Begin a stream that is not simply a request with a body to come."""
        if not last:
            self.partial.add(stream)
        waves = self._waves
        if head.refusal is not None:
            self.end(stream, head.refusal.headers())
        elif head.method == FORWARDED:
            if self._front.behind.has_room:
                self._forward(stream, headers, last=last)
            else:
                waves.wiring.shed(waves.hold(self, stream, head, b""))
        elif self._choked or waves.is_full or (head.method >= self._unary and not waves.has_room_for_streams):
            waves.wiring.shed(waves.hold(self, stream, head, b""))
        elif head.method >= self._unary:
            self.streams[stream] = conversation = Conversation(self, waves, stream, head)
            conversation.take(b"", last=last)
        else:
            self._inbox.finish(stream, Arriving(head, self.now))

    def _forward(self, stream: int, headers: Headers, *, last: bool) -> None:
        forwarded = self._front.behind.forward(self, stream, headers, last=last)
        if forwarded is None:
            self.end(stream, unavailable())
        else:
            self.streams[stream] = forwarded

    def is_half_open(self, stream: int) -> bool:
        """Whether the client may still send on a stream."""
        return stream in self.partial

    def _take(self, stream: int, state: object, data: bytes, *, last: bool) -> None:
        """Take a piece of a request."""
        if last:
            self.partial.discard(stream)
        elif not data:
            self.spend(idle_frames=1)
        if isinstance(state, Forwarded | Conversation):
            state.take(data, last=last)
            return
        self.session.acknowledge_received_data(len(data), stream)
        if type(state) is Head and self._waves.is_full:  # it is not worth the rest of the body
            if not last:
                self.partial.add(stream)
            self._waves.wiring.shed(self._waves.hold(self, stream, state, b""))
            return
        if type(state) is Head:
            state = self._inbox.begin(stream, state, whole=last)
        if type(state) is Arriving:
            self._inbox.take(stream, state, data, last=last)
        elif last and state is OVER:
            del self.streams[stream]

    def _gone(self, stream: int) -> None:
        """Let go of a stream that the client has ended."""
        state = self.streams[stream]
        self.partial.discard(stream)
        if isinstance(state, Arriving):
            self._inbox.forget(stream, state)
            return
        del self.streams[stream]
        if isinstance(state, NativeCall):
            state.cancelled = True
            self._waves.end(state)
        elif isinstance(state, Forwarded | Conversation):
            self._owing.discard(state)
            state.client_closed()

    @property
    def is_owing(self) -> bool:
        """Whether a call is not finished that is answered here, or its answer has not left."""
        return (
            bool(self.unread_bytes)
            or self._unsent is not None
            or any(isinstance(state, NativeCall | Arriving | Conversation) for state in self.streams.values())
        )

    def check_arriving(self) -> None:
        """Give up requests that do not come to their end."""
        self._inbox.give_up_late()

    def lost(self) -> None:
        """Let go of all streams."""
        for stream in list(self.streams):
            self._gone(stream)
        super().lost()
        self._inbox.leave()
        self._owing.clear()
        self._waves.bytes_unread -= self._counted_unread
        self._front.connections.discard(self)

    def dismiss(self) -> None:
        """Close the connection when what its client has sent is finished; streams take nothing more."""
        super().dismiss()
        for state in list(self.streams.values()):
            if isinstance(state, Conversation):
                state.close()
