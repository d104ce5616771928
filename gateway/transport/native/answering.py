"""A link to a client as far as answers go: how they are written, and what happens when they have left."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Protocol

from ngh2 import NGH2Error

from gateway.transport.native.arriving import PREFIX
from gateway.transport.native.client import ClientLink
from gateway.transport.native.status import OK_HEAD, OK_TRAILERS, ended
from gateway.transport.port import RESOURCE_EXHAUSTED

if TYPE_CHECKING:
    import socket

    from gateway.transport.native.call import NativeCall
    from gateway.transport.native.front import Front
    from gateway.transport.native.status import Headers
    from gateway.transport.port import Metadata

_log = logging.getLogger(__name__)
# A message that is larger is not copied to stand behind its prefix.
_JOIN_BYTES_MAX = 16 * 1024
_NO_ERROR = 0

OVER = object()
"""What stands for a stream that was answered before its request had come whole."""


class Owed(Protocol):
    """Something that must know how much of an answer has left."""

    def settle(self) -> bool:
        """Look how much has left; return whether all has."""
        ...


class Answering(ClientLink):
    """A link that answers.

    Attributes
    ----------
    streams
        What each open stream is at present: a `Head` whose body has not begun, an `Arriving` one, a `NativeCall` that
        is not answered, a `Forwarded` one, a `Conversation`, or `OVER`.
    partial
        The streams whose requests have not come whole.
    thread
        The number of the thread that alone may touch the link; others `post` to it.
    """

    __slots__ = (
        "_choked",
        "_counted_unread",
        "_front",
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
        self.partial: set[int] = set()
        self.thread = front.loop.thread
        self.post = front.loop.post
        self._front = front
        self._waves = front.waves
        self._over: list[int] = []
        self._owing: set[Owed] = set()
        self._counted_unread = 0
        self._choked = False  # it leaves too much unread to ask for more
        super().__init__(front.loop, accepted, peer, front.waves.wiring.limits)

    @property
    def now(self) -> float:
        """The monotonic clock when this turn of the loop began."""
        return self._loop.now

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
        loop = self._loop
        if loop.answering is not self:
            loop.answer_on(self)
        if not self.is_due:
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
        self.leave_over(stream)

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
            for one in list(self._owing):
                if one.settle():
                    self._owing.discard(one)
            self.received(self.session.events())
        super().flushed()

    def owe(self, one: Owed) -> None:
        """Tell it how much of its answer has left, whenever some has."""
        self._owing.add(one)
        self.hurry()

    def _reset_what_is_over(self) -> None:
        """Have the clients send no more of requests that were answered, once the answers have left."""
        over, self._over = self._over, []
        for stream in over:
            if self.streams.get(stream) is not OVER:
                continue
            if self.unread_bytes and self.queued(stream):
                self._over.append(stream)
                continue
            del self.streams[stream]
            with contextlib.suppress(NGH2Error):
                self.session.reset_stream(stream, _NO_ERROR)
            self.changed()

    def leave_over(self, stream: int) -> None:
        """Drop what still comes on a stream whose answer is complete, and end it when that has left."""
        if stream in self.partial:
            self.partial.discard(stream)
            self.streams[stream] = OVER
            self._over.append(stream)
        else:
            self.streams.pop(stream, None)
        self.hurry()

    @property
    def is_idle(self) -> bool:
        """Whether no stream is open and all answers have left."""
        return not self.streams and not self.unread_bytes and self._unsent is None
