"""A link to a client: its requests become calls, and what is not answered in waves goes to the server behind."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ngh2 import NGH2Error
from ngh2.events import (
    DataReceived,
    PingReceived,
    RequestReceived,
    SettingsReceived,
    StreamClosed,
    StreamReset,
    TrailersReceived,
)

from gateway.transport.native.arriving import PREFIX, Arriving
from gateway.transport.native.call import NativeCall
from gateway.transport.native.client import ClientLink
from gateway.transport.native.forwarded import Forwarded, unavailable
from gateway.transport.native.head import FORWARDED, Head
from gateway.transport.native.inbox import Inbox
from gateway.transport.native.status import OK_HEAD, OK_TRAILERS, ended
from gateway.transport.port import RESOURCE_EXHAUSTED

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from ngh2.events import Event

    from gateway.transport.native.front import Front
    from gateway.transport.native.status import Headers
    from gateway.transport.port import Metadata

_log = logging.getLogger(__name__)
_PREFIX_BYTES = PREFIX.size
_read_prefix = PREFIX.unpack_from
# A message that is larger is not copied to stand behind its prefix.
_JOIN_BYTES_MAX = 16 * 1024
_NO_ERROR = 0

OVER = object()
"""What stands for a stream that was answered before its request had come whole."""


class Connection(ClientLink):
    """A client's connection.

    Attributes
    ----------
    streams
        What each open stream is at present: a `Head` whose body has not begun, an `Arriving` one, a `NativeCall` that
        is not answered, a `Forwarded` one, or `OVER`.
    partial
        The streams whose requests have not come whole.
    thread
        The number of the thread that alone may touch the connection.
    """

    __slots__ = (
        "_choked",
        "_counted_unread",
        "_front",
        "_heads",
        "_inbox",
        "_last_head",
        "_last_headers",
        "_over",
        "_owing",
        "_waves",
        "partial",
        "post",
        "streams",
        "thread",
    )

    def __init__(self, front: Front, accepted: socket.socket, peer: str) -> None:
        self.streams: dict[int, object] = {}
        self.thread = front.loop.thread
        self.post = front.loop.post
        self._front = front
        self._waves = front.waves
        self._heads = front.heads
        self._last_headers: object = None
        self._last_head = Head(FORWARDED)
        self.partial: set[int] = set()
        self._over: list[int] = []
        self._owing: set[Forwarded] = set()
        self._inbox = Inbox(self, front.waves)
        self._counted_unread = 0
        self._choked = False  # it leaves too much unread to ask for more
        super().__init__(front.loop, accepted, peer)

    @property
    def now(self) -> float:
        """The monotonic clock when this turn of the loop began."""
        return self._loop.now

    # What comes.

    def received(self, events: Sequence[Event]) -> None:
        """Make calls of requests."""
        streams = self.streams
        waves = self._waves
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
                if (
                    head.method != FORWARDED
                    and not event.end_stream
                    and waves.held < waves.calls_max
                    and not self._choked
                ):
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
        elif waves.held >= waves.calls_max or self._choked:
            waves.wiring.shed(waves.hold(self, stream, head, b""))
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
        if type(state) is Forwarded:
            state.take(data, last=last)
            return
        self.session.acknowledge_received_data(len(data), stream)
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
        elif isinstance(state, Forwarded):
            self._owing.discard(state)
            state.client_closed()

    # What goes.

    def reply(self, call: NativeCall, payload: bytes) -> None:
        """Answer a call with a message."""
        stream = call.stream
        if self.streams.get(stream) is not call:
            return
        size = len(payload)
        limit = self._waves.response_bytes_max
        if size > limit:
            self.fail(call, RESOURCE_EXHAUSTED, f"SERVER: Sent message larger than max ({size} vs. {limit})")
            return
        del self.streams[stream]
        self._waves.end(call)
        session = self.session
        try:
            session.send_response(stream, OK_HEAD)
            if size <= _JOIN_BYTES_MAX:
                session.send_data(stream, PREFIX.pack(0, size) + payload)
            else:
                session.send_data(stream, PREFIX.pack(0, size))
                session.send_data(stream, payload)
            session.send_trailers(stream, OK_TRAILERS)
        except NGH2Error as error:  # the client has gone, which the next read would have told
            _log.debug("an answer was dropped: %s", error)
        if not self._changed:
            self.changed()

    def fail(self, call: NativeCall, code: int, message: str, trailing: Metadata = ()) -> None:
        """End a call with a status."""
        stream = call.stream
        if self.streams.get(stream) is call:
            del self.streams[stream]
            self._waves.end(call)
            self.end(stream, ended(code, message, tuple(trailing)))

    def end(self, stream: int, headers: Headers) -> None:
        """End a stream without a message; what still comes of its request is dropped."""
        try:
            self.session.send_response(stream, headers, end_stream=True)
        except (NGH2Error, ValueError) as error:
            _log.debug("a status was dropped: %s", error)
        if stream in self.partial:
            self.partial.discard(stream)
            self.streams[stream] = OVER
            self._over.append(stream)
        self.hurry()

    def flushed(self) -> None:
        """See to what had to wait until answers left."""
        if self.unread_bytes != self._counted_unread:
            self._waves.bytes_unread += self.unread_bytes - self._counted_unread
            self._counted_unread = self.unread_bytes
            self._choked = self.unread_bytes > self._waves.unread_bytes_max
            if not self._waves.has_room_for_answers:
                self._front.drop_greediest()
        if self._over:
            self._reset_what_is_over()
        if self._owing:
            for forwarded in list(self._owing):
                if forwarded.settle_with_server():
                    self._owing.discard(forwarded)
            self.received(self.session.events())
        super().flushed()

    def owe(self, forwarded: Forwarded) -> None:
        """Tell the server behind how much of its answer has left, whenever some has."""
        self._owing.add(forwarded)
        self.hurry()

    def _reset_what_is_over(self) -> None:
        """Have the clients send no more of requests that were answered; the answers have left."""
        over, self._over = self._over, []
        for stream in over:
            if self.streams.get(stream) is OVER:
                del self.streams[stream]
                self.session.reset_stream(stream, _NO_ERROR)
                self.changed()

    @property
    def is_idle(self) -> bool:
        """Whether no stream is open and all answers have left."""
        return not self.streams and not self.unread_bytes and self._unsent is None

    @property
    def is_owing(self) -> bool:
        """Whether a call is not finished that is answered here, or its answer has not left."""
        return (
            bool(self.unread_bytes)
            or self._unsent is not None
            or any(isinstance(state, NativeCall | Arriving) for state in self.streams.values())
        )

    def check_arriving(self) -> None:
        """Give up requests that do not come to their end."""
        self._inbox.give_up_late()

    def lost(self) -> None:
        """Let go of all streams."""
        for stream in list(self.streams):
            self._gone(stream)
        self._owing.clear()
        self._waves.bytes_unread -= self._counted_unread
        self._front.connections.discard(self)
