"""A bidirectional stream whose messages are calls of the waves; their answers leave in order.

A message has its place until its answer has left. A stream that has all its places taken is not read further, so its
client is soon held back by its own HTTP/2 window, and nobody else is.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from gateway.transport.grpcio.call import certificate_in, deadline_in, peer_in
from gateway.transport.grpcio.core import (
    CLOSE,
    MESSAGE,
    Listener,
    receive_close,
    receive_message,
    send_message,
    send_status,
)
from gateway.transport.port import RESOURCE_EXHAUSTED, Call, Metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.transport.grpcio.front import Front

_Failure = tuple[int, str, Metadata]
_OK: _Failure = (0, "", ())


class MessageCall(Call):
    """One message of a stream, which is answered when its turn comes; the first answer counts."""

    __slots__ = ("_stream", "answered", "failure", "response")

    def __init__(self, stream: Stream, payload: bytes) -> None:
        # Not the base's: what the stream knows is asked of the stream.
        self.method = stream.method
        self.payload = payload
        self.deadline = stream.deadline
        self.arrived = time.monotonic()
        self.cancelled = False
        self.answered = False
        self.response = b""
        self.failure: _Failure | None = None
        self._stream = stream

    @property
    def metadata(self) -> Metadata:  # type: ignore[override]  # read only, as every reader takes it
        """The stream's metadata, keys in lower case."""
        return self._stream.metadata

    @property
    def peer(self) -> str:  # type: ignore[override]  # as above
        """Where the stream comes from."""
        return self._stream.peer

    @property
    def certificate(self) -> Sequence[str]:  # type: ignore[override]  # as above
        """Who the client is by the certificate that it showed."""
        return self._stream.certificate

    def reply(self, payload: bytes) -> None:
        """Answer the message; from any thread."""
        limit = self._stream.response_bytes_max
        if len(payload) > limit:
            self.fail(RESOURCE_EXHAUSTED, f"SERVER: Sent message larger than max ({len(payload)} vs. {limit})")
        else:
            self._stream.answer(self, payload, None)

    def fail(self, code: int, message: str, trailing: Metadata = ()) -> None:
        """End the stream after the answers before this one; from any thread."""
        self._stream.answer(self, b"", (code, message, trailing))


class Stream(Listener):
    """One open stream; in the loop's thread, unless it says otherwise.

    Attributes
    ----------
    method
        The place of its method.
    deadline
        When its client stops waiting, on the monotonic clock; None when it set no deadline.
    metadata, peer, certificate
        As of a call.
    """

    def __init__(self, front: Front, method: int, event: Any) -> None:
        self.method = method
        self.deadline = deadline_in(event, time.monotonic())
        self.metadata: Metadata = event.invocation_metadata or ()
        self.peer = peer_in(event)
        self.certificate = certificate_in(event) if front.has_certificates else ()
        self.response_bytes_max = front.response_bytes_max
        self._front = front
        self._call = event.call
        self._lock = threading.Lock()
        self._owed = 0  # events that will come
        self._taken: deque[MessageCall] = deque()  # in the order of the messages, until their answers have left
        self._is_read = False  # the next message will be told
        self._is_deaf = False  # nothing more is taken
        self._is_sending = False
        self._has_sent = False
        self._is_over = False  # its end was sent, or its client has gone

    @property
    def in_flight(self) -> int:
        """How many messages are taken and their answers have not left; from any thread."""
        return len(self._taken)

    def begin(self) -> None:
        """Have its end told."""
        self._owed += 1
        receive_close(self._call, self)

    def open(self) -> None:
        """Take its messages, unless the edge refuses it."""
        opening = MessageCall(self, b"")
        self._taken.append(opening)
        if self._front.wiring.opens(opening):
            self._taken.clear()
            self._read_on()

    def end(self, how: Callable[[Call], None]) -> None:
        """Take no more messages, and end the stream after its last answer in some way; from any thread."""
        last = MessageCall(self, b"")
        with self._lock:
            if self._is_deaf or self._is_over:
                return
            self._is_deaf = True
            self._taken.append(last)
        how(last)

    def close(self) -> None:
        """End it as the edge ends what it closes; from any thread."""
        self.end(self._front.wiring.close)

    def answer(self, call: MessageCall, response: bytes, failure: _Failure | None) -> None:
        """Keep the answer of a message until its turn comes; from any thread."""
        with self._lock:
            if call.answered or self._is_over:
                return
            call.response, call.failure = response, failure
            call.answered = True
            self._write()

    def hear(self, event: Any) -> None:
        """Take a message, the end, or that an answer has left."""
        operation = event.batch_operations[0]
        kind = type(operation)
        if kind is MESSAGE:
            self._take(operation.message())
        elif kind is CLOSE:
            self._leave()
        else:
            self._sent()
        with self._lock:
            self._owed -= 1
            is_last = not self._owed
        if is_last:
            self._front.over(self)

    def _take(self, payload: bytes | None) -> None:
        """Make a call of a message that has come, or note that there is none any more."""
        with self._lock:
            self._is_read = False
            if self._is_deaf or self._is_over:
                return
            if payload is None:
                self._is_deaf = True
                self._write()
                return
            call = MessageCall(self, payload)
            self._taken.append(call)
        self._front.waiting.append(call)
        self._read_on()

    def _read_on(self) -> None:
        """Have the next message told, where there is room for it."""
        with self._lock:
            room = len(self._taken) < self._front.stream_calls_max
            if not room or self._is_read or self._is_deaf or self._is_over:
                return
            self._is_read = True
            self._owed += 1
        receive_message(self._call, self)

    def _sent(self) -> None:
        with self._lock:
            self._is_sending = False
            if self._is_over:
                return
            self._taken.popleft()
            self._write()
        self._read_on()

    def _write(self) -> None:
        """Send the answer whose turn has come, or the end; the lock is held."""
        if self._is_sending or self._is_over:
            return
        taken = self._taken
        if taken and taken[0].answered:
            call = taken[0]
            if call.failure is not None:
                self._finish(call.failure)
                return
            self._is_sending = True
            self._owed += 1
            first, self._has_sent = not self._has_sent, True
            send_message(self._call, call.response, self, first=first)
        elif self._is_deaf and not taken:
            self._finish(_OK)

    def _finish(self, failure: _Failure) -> None:
        """Send the end; the lock is held."""
        self._is_over = True
        self._owed += 1
        send_status(self._call, *failure, self, first=not self._has_sent)
        self._drop()

    def _leave(self) -> None:
        """Drop what has not run: the client has gone, or the stream is over."""
        with self._lock:
            self._is_over = True
            self._drop()

    def _drop(self) -> None:
        for call in self._taken:
            call.cancelled = True
        self._taken.clear()
