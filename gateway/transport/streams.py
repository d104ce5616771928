"""Streams on the grpcio transport: each message is a call of the waves, and the answers leave in order.

Theory of operation
-------------------
A stream has two threads. The reader takes messages off the network and puts them among the calls that wait for the
next wave; it leads the wave when nobody else does. The writer, the thread that grpcio gives the stream, sends each
answer when all before it are sent. Either may be held up by the network, so neither is ever told to lead later: that is
done by one thread that all streams share. Room for a message is given back when its answer was sent, so a client that
does not read is soon not read either, and holds up nobody else.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import grpc

from gateway.transport.context import abort, certificate_of, deadline_of
from gateway.transport.door import Door
from gateway.transport.gather import Gathering, WaitingCall
from gateway.transport.port import CANCELLED, RESOURCE_EXHAUSTED, Metadata, Wiring

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class _StreamCall(WaitingCall):
    """One message of a stream, which is answered when its turn comes; the first answer counts."""

    __slots__ = ("_stream", "answered", "failure", "response")

    def __init__(self, stream: _Stream, payload: bytes) -> None:
        # Not the base's: metadata and peer are only made when somebody asks for them.
        self.method = stream.method
        self.payload = payload
        self.deadline = stream.deadline
        self.arrived = time.monotonic()
        self.cancelled = stream.gone
        self.answered = False
        self.response = b""
        self.failure: tuple[int, str, Metadata] | None = None
        self._stream = stream

    @property
    def metadata(self) -> Metadata:  # type: ignore[override]  # read only, as every reader takes it
        """The stream's metadata, keys in lower case."""
        found: Any = self._stream.context.invocation_metadata()
        return found or ()

    @property
    def peer(self) -> str:  # type: ignore[override]  # as above
        """Where the stream comes from."""
        return str(self._stream.context.peer())

    @property
    def certificate(self) -> Sequence[str]:  # type: ignore[override]  # as above
        """Who the client is by the certificate that it showed."""
        return certificate_of(self._stream.context)

    def reply(self, payload: bytes) -> None:
        limit = self._stream.response_bytes_max
        if len(payload) > limit:
            self.fail(RESOURCE_EXHAUSTED, f"SERVER: Sent message larger than max ({len(payload)} vs. {limit})")
        else:
            self._stream.answer(self, payload, None)

    def fail(self, code: int, message: str, trailing: Metadata = ()) -> None:
        self._stream.answer(self, b"", (code, message, trailing))

    def lead(self) -> None:
        self._stream.lead_later()


class _Stream:
    """One open stream.

    Attributes
    ----------
    gone
        Whether the client has gone, or its deadline has passed.
    """

    def __init__(
        self, method: int, context: grpc.ServicerContext, *, wiring: Wiring, lead_later: Callable[[], None]
    ) -> None:
        self.method = method
        self.context = context
        self.deadline = deadline_of(context)
        self.response_bytes_max = wiring.limits.response_bytes_max
        self.gone = False
        self.lead_later = lead_later
        self._wiring = wiring
        self._lock = threading.Lock()
        self._taken: deque[_StreamCall] = deque()  # in the order of the messages, until their answers are sent
        self._ended = False  # nothing more is taken
        self._woken: queue.SimpleQueue[None] = queue.SimpleQueue()  # something may have changed for the writer
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()  # one for each message that may still be taken
        for _ in range(wiring.limits.stream_calls_max):
            self._room.put(None)

    def answer(self, call: _StreamCall, response: bytes, failure: tuple[int, str, Metadata] | None) -> None:
        """Keep the answer of a call until its turn comes."""
        with self._lock:
            if call.answered:
                return
            call.response, call.failure = response, failure
            call.answered = True
        self._woken.put(None)

    def read(self, messages: Iterator[bytes], gathering: Gathering) -> None:
        """Take messages as long as there is room, until the client is done, has gone, or the stream was ended."""
        try:
            while True:
                self._room.get()
                call = _StreamCall(self, next(messages))
                if not self._take(call):
                    return
                if gathering.join(call):
                    gathering.lead()
        except (StopIteration, grpc.RpcError):  # half-closed; cancelled
            self._end(None)

    def write(self) -> Iterator[bytes]:
        """Give the answers in order; end the stream with the first failure."""
        taken = self._taken
        while not self.gone:
            ended = self._ended  # before looking: what was taken by then is all there is
            while taken and taken[0].answered:
                call = taken[0]
                if call.failure is not None:
                    self._end(None)
                    abort(self.context, *call.failure)
                yield call.response
                taken.popleft()
                self._room.put(None)
            if ended and not taken:
                return
            self._woken.get()

    def close(self) -> None:
        """Take no more messages, and end the stream after its last answer as the edge ends what it closes."""
        call = _StreamCall(self, b"")
        if self._end(call):
            self._wiring.close(call)

    def leave(self) -> None:
        """Drop what has not run: the client has gone, or the stream is over."""
        self.gone = True
        with self._lock:
            taken = list(self._taken)
        for call in taken:
            call.cancelled = True
        self._room.put(None)
        self._woken.put(None)

    def _take(self, call: _StreamCall) -> bool:
        with self._lock:
            if not self._ended:
                self._taken.append(call)
            call.cancelled = self.gone
            return not self._ended

    def _end(self, last: _StreamCall | None) -> bool:
        """Take nothing more, with a last call that no message stands for; return False when it was ended before."""
        with self._lock:
            if self._ended:
                return False
            self._ended = True
            if last is not None:
                self._taken.append(last)
        self._woken.put(None)
        return True


class Streams:
    """The open streams of a grpcio transport.

    Attributes
    ----------
    door
        Lets a bounded number of streams in.
    """

    def __init__(self, wiring: Wiring, gathering: Gathering) -> None:
        self._wiring = wiring
        self._gathering = gathering
        self._lock = threading.Lock()
        self._open: set[_Stream] = set()
        self._turns: queue.SimpleQueue[bool] = queue.SimpleQueue()
        streams_max = wiring.limits.streams_max
        self.door = Door(streams_max, threads=streams_max, name="stream")
        if wiring.streams:
            threading.Thread(target=self._lead, name="stream-waves", daemon=True).start()

    def handler(self, method: int) -> _StreamHandler:
        """Return what answers the streams of one method."""
        return _StreamHandler(method, self)

    def answers(self, method: int, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Return the answers to the messages of a new stream, or the one failure that refuses it."""
        stream = _Stream(method, context, wiring=self._wiring, lead_later=self._lead_later)
        if self.door.is_shedding:
            call = _StreamCall(stream, b"")
            self.door.refuse(call, self._wiring)
            abort(context, *(call.failure or (CANCELLED, "", ())))
        if not self._wiring.opens(opening := _StreamCall(stream, b"")):
            abort(context, *(opening.failure or (CANCELLED, "", ())))
        self.door.follow(context)
        with self._lock:
            self._open.add(stream)
        if not context.add_callback(lambda: self._forget(stream)):
            self._forget(stream)
        if self.door.is_closed:
            stream.close()
        threading.Thread(
            target=stream.read, args=(messages, self._gathering), name="stream-reader", daemon=True
        ).start()
        return stream.write()

    def drain(self) -> None:
        """Let no stream in, and end each open one after the answers to what it has sent."""
        self.door.close()
        with self._lock:
            streams = list(self._open)
        for stream in streams:
            stream.close()

    def close(self) -> None:
        """End the thread that leads waves for streams."""
        self._turns.put(False)

    def _forget(self, stream: _Stream) -> None:
        with self._lock:
            self._open.discard(stream)
        stream.leave()

    def _lead_later(self) -> None:
        self._turns.put(True)

    def _lead(self) -> None:
        while self._turns.get():
            time.sleep(0)  # it is busy: let the calls that have arrived join, which makes larger waves
            self._gathering.lead()


class _StreamHandler:
    """Answers the streams of one method."""

    def __init__(self, method: int, streams: Streams) -> None:
        self._method = method
        self._streams = streams
        self.experimental_thread_pool = streams.door  # where grpcio runs this handler

    def __call__(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        return self._streams.answers(self._method, messages, context)
