"""A bidirectional stream whose messages are calls of the waves; their answers leave in order.

A message has its place until its answer has left. A stream that has all its places taken is not acknowledged further,
so its client is soon held back by its own HTTP/2 window, and nobody else is.
"""

from __future__ import annotations

import contextlib
from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING

from ngh2 import NGH2Error

from gateway.transport.native.arriving import PREFIX, PREFIX_BYTES, inflate, too_large
from gateway.transport.native.status import OK_HEAD, OK_TRAILERS, Refusal, ended
from gateway.transport.port import INTERNAL, RESOURCE_EXHAUSTED, Call, Metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.transport.native.connection import Connection
    from gateway.transport.native.head import Head
    from gateway.transport.native.waves import Waves

_Failure = tuple[int, str, Metadata]


class MessageCall(Call):
    """One message of a stream; the first answer counts."""

    __slots__ = ("_conversation", "answered", "failure", "response")

    def __init__(self, conversation: Conversation, payload: bytes) -> None:
        # Not the base's: what the stream knows is asked of the stream.
        self.method = conversation.head.method
        self.payload = payload
        self.metadata = conversation.head.metadata
        self.deadline = conversation.deadline
        self.arrived = conversation.connection.now
        self.cancelled = False
        self.answered = False
        self.response = b""
        self.failure: _Failure | None = None
        self._conversation = conversation

    @property
    def peer(self) -> str:  # type: ignore[override]  # read only, as every reader takes it
        """Where the stream comes from."""
        return self._conversation.connection.peer

    @property
    def certificate(self) -> Sequence[str]:  # type: ignore[override]  # as above
        """Who the client is by the certificate that it showed."""
        return self._conversation.connection.certificate

    def reply(self, payload: bytes) -> None:
        """Answer the message; from any thread."""
        limit = self._conversation.response_bytes_max
        if len(payload) > limit:
            self.fail(RESOURCE_EXHAUSTED, f"SERVER: Sent message larger than max ({len(payload)} vs. {limit})")
        else:
            self._answer(payload, None)

    def fail(self, code: int, message: str, trailing: Metadata = ()) -> None:
        """End the stream after the answers before this one; from any thread."""
        self._answer(b"", (code, message, trailing))

    def _answer(self, payload: bytes, failure: _Failure | None) -> None:
        conversation = self._conversation
        if get_ident() == conversation.connection.thread:
            conversation.answer(self, payload, failure)
        else:
            conversation.connection.post(conversation.answer, self, payload, failure)


class Conversation:
    """One open stream.

    Attributes
    ----------
    connection
        Where it is.
    head
        What its headers say.
    deadline
        When its client stops waiting, on the monotonic clock; None when it set no deadline.
    """

    def __init__(self, connection: Connection, waves: Waves, stream: int, head: Head) -> None:
        self.connection = connection
        self.head = head
        self.deadline = None if head.timeout_s is None else connection.now + head.timeout_s
        self.response_bytes_max = waves.response_bytes_max
        self._waves = waves
        self._stream = stream
        self._came = bytearray()
        self._unacknowledged = 0
        self._taken: deque[MessageCall] = deque()  # in the order of the messages, until their answers are written
        self._written = 0
        self._ends: deque[int] = deque()  # where each answer that was written and has not left ends
        self._half_closed = False
        self._deaf = False  # nothing more is taken
        self._over = False
        waves.conversations += 1

    def take(self, data: bytes, *, last: bool) -> None:
        """Take what has come, as far as there is room."""
        self._unacknowledged += len(data)
        self._half_closed |= last
        if not self._deaf:
            self._came += data
            self._waves.bytes_held += len(data)
        self._proceed()

    def answer(self, call: MessageCall, response: bytes, failure: _Failure | None) -> None:
        """Keep the answer of a message until its turn comes; it may have."""
        if call.answered or self._over:
            return
        call.answered = True
        call.response, call.failure = response, failure
        self._waves.in_conversation -= 1
        self._waves.bytes_held -= len(call.payload)
        if self._taken[0] is call:
            self._write()

    def settle(self) -> bool:
        """Give back the places of the answers that have left; return whether all have."""
        left = self._written - self.connection.queued(self._stream)
        while self._ends and self._ends[0] <= left:
            self._ends.popleft()
        if not self._over:
            self._proceed()
        return not self._ends

    def close(self) -> None:
        """Take no more messages, and end the stream after its last answer as the edge ends what it closes."""
        if not self._deaf:
            self._stop_listening()
            self._waves.wiring.close(self._append(b""))

    def client_closed(self) -> None:
        """Drop what has not run: the client has gone."""
        self._acknowledge()
        self._leave()

    def _proceed(self) -> None:
        """Make calls of the messages that have come, while there is room."""
        while not self._deaf and self._has_room:
            message = self._next_message()
            if message is None:
                self._acknowledge()
                if not self._waves.has_room_for_bytes:
                    self._stop_listening()
                    self._waves.wiring.shed(self._append(b""))
                elif self._half_closed:
                    self._end_of_messages()
                return
            if isinstance(message, Refusal):
                self._stop_listening()
                self._append(b"").fail(message.code, message.message)
                return
            self._waves.enqueue(self._append(message))
        if self._deaf:
            self._acknowledge()

    @property
    def _has_room(self) -> bool:
        return len(self._taken) + len(self._ends) < self._waves.stream_calls_max

    def _next_message(self) -> bytes | Refusal | None:
        """Return the next message, None when it has not come whole, or why there is none."""
        came = self._came
        if len(came) < PREFIX_BYTES:
            return None
        flag, size = PREFIX.unpack_from(came)
        limit = self._waves.request_bytes_max
        if flag > 1 or (flag and self.head.encoding == b"identity"):
            return Refusal(INTERNAL, "a message says that it is compressed, its headers do not say how")
        if size > limit:
            return too_large(size, limit)
        if len(came) < PREFIX_BYTES + size:
            return None
        payload = bytes(came[PREFIX_BYTES : PREFIX_BYTES + size])
        del came[: PREFIX_BYTES + size]
        self._waves.bytes_held -= PREFIX_BYTES + size
        return inflate(payload, self.head.encoding, limit) if flag else payload

    def _append(self, payload: bytes) -> MessageCall:
        call = MessageCall(self, payload)
        self._taken.append(call)
        self._waves.in_conversation += 1
        self._waves.bytes_held += len(payload)
        return call

    def _end_of_messages(self) -> None:
        if self._came:
            self._stop_listening()
            self._append(b"").fail(INTERNAL, "the stream ends within a message")
        else:
            self._deaf = True
            self._write()

    def _stop_listening(self) -> None:
        self._deaf = True
        self._waves.bytes_held -= len(self._came)
        self._came.clear()
        self._acknowledge()

    def _acknowledge(self) -> None:
        """Let the client send as much more as it has sent."""
        size, self._unacknowledged = self._unacknowledged, 0
        if size and self.connection.is_open:
            with contextlib.suppress(NGH2Error):
                self.connection.session.acknowledge_received_data(size, self._stream)
            self.connection.changed()

    def _write(self) -> None:
        """Write the answers whose turn has come, and the end."""
        session = self.connection.session
        taken = self._taken
        with contextlib.suppress(NGH2Error):  # the client has gone, which the next read will tell
            while taken and taken[0].answered:
                call = taken.popleft()
                if call.failure is not None:
                    self._finish(call.failure)
                    return
                if not self._written:
                    session.send_response(self._stream, OK_HEAD)
                session.send_data(self._stream, PREFIX.pack(0, len(call.response)))
                session.send_data(self._stream, call.response)
                self._written += PREFIX_BYTES + len(call.response)
                self._ends.append(self._written)
            if self._deaf and self._half_closed and not taken:
                self._finish(None)
                return
        self.connection.owe(self)

    def _finish(self, failure: _Failure | None) -> None:
        """Write the trailers."""
        session = self.connection.session
        headers = None if failure is None else ended(failure[0], failure[1], tuple(failure[2]))
        if not self._written and headers is not None:
            session.send_response(self._stream, headers, end_stream=True)
        else:
            if not self._written:
                session.send_response(self._stream, OK_HEAD)
            session.send_trailers(self._stream, OK_TRAILERS if headers is None else headers[len(OK_HEAD) :])
        self.connection.leave_over(self._stream)
        self._leave()

    def _leave(self) -> None:
        """Count the stream no longer, and drop what has not run."""
        if self._over:
            return
        self._over = True
        self._stop_listening()
        self._waves.conversations -= 1
        for call in self._taken:
            call.cancelled = True
            if not call.answered:
                self._waves.in_conversation -= 1
                self._waves.bytes_held -= len(call.payload)
        self._taken.clear()
