"""The calls that are held, and the waves that are made of those that wait."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from gateway.transport.fair import Rivals
from gateway.transport.native.bounds import (
    ARRIVING_REQUESTS_MAX,
    ARRIVING_REQUESTS_PER_WORKER_MAX,
    UNREAD_RESPONSES_MAX,
    UNREAD_RESPONSES_PER_WORKER_MAX,
)
from gateway.transport.native.call import NativeCall
from gateway.transport.waves import answer_wave

if TYPE_CHECKING:
    from gateway.transport.native.connection import Connection
    from gateway.transport.native.head import Head
    from gateway.transport.port import Call, Wiring


class Waves:
    """What all connections of a transport share.

    Attributes
    ----------
    waiting
        The calls of the next waves.
    held
        How many calls are not answered yet.
    conversations, in_conversation
        How many streams are open whose messages are calls, and how many of those are not answered.
    bytes_held
        How much the bodies take that are arriving, and those of whole calls that came in pieces.
    bytes_unread
        How much the answers take that clients do not read.
    """

    def __init__(self, wiring: Wiring) -> None:
        limits = wiring.limits
        self.wiring = wiring
        self.calls_max = limits.calls_max
        self.request_bytes_max = limits.request_bytes_max
        self.response_bytes_max = limits.response_bytes_max
        self.arriving_bytes_max = ARRIVING_REQUESTS_MAX * limits.request_bytes_max
        self.unread_bytes_max = UNREAD_RESPONSES_MAX * limits.response_bytes_max
        self.held = 0
        self.bytes_held = 0
        self.bytes_unread = 0
        self._bytes_held_max = ARRIVING_REQUESTS_PER_WORKER_MAX * limits.request_bytes_max
        self._bytes_unread_max = UNREAD_RESPONSES_PER_WORKER_MAX * limits.response_bytes_max
        self.conversations = 0
        self.in_conversation = 0
        self.stream_calls_max = limits.stream_calls_max
        self._streams_max = limits.streams_max
        self.waiting: deque[Call] = deque()
        self._rivals = Rivals(self.waiting, wiring.kind_of)
        self._is_overloaded = False
        self._wave_calls_max = limits.wave_calls_max

    @property
    def is_full(self) -> bool:
        """Whether as many calls are held as may be."""
        return self.held >= self.calls_max

    @property
    def has_room_for_bytes(self) -> bool:
        """Whether bodies may go on arriving."""
        return self.bytes_held <= self._bytes_held_max

    @property
    def has_room_for_answers(self) -> bool:
        """Whether clients read what they asked for, by and large."""
        return self.bytes_unread <= self._bytes_unread_max

    @property
    def has_room_for_streams(self) -> bool:
        """Whether one more stream may open."""
        return self.conversations < self._streams_max

    def enqueue(self, call: Call) -> None:
        """Have a call in the next wave."""
        self.waiting.append(call)

    def admit(self, connection: Connection, stream: int, head: Head, payload: bytes, weight: int = 0) -> NativeCall:
        """Return the call that has come whole; it waits for the next wave.

        Where there is no room, it is refused, or another one in its place whose kind has more waiting.
        """
        call = self.hold(connection, stream, head, payload, weight)
        if self.held > self.calls_max:
            self._is_overloaded = True
            self.wiring.shed(self._rivals.displace(call) if self._rivals.is_behind(call) else call)
        else:
            self.waiting.append(call)
        return call

    def hold(self, connection: Connection, stream: int, head: Head, payload: bytes, weight: int = 0) -> NativeCall:
        """Return a call that counts until it ends."""
        self.held += 1
        timeout_s = head.timeout_s
        arrived = connection.now
        deadline = None if timeout_s is None else arrived + timeout_s
        call = NativeCall(connection, stream, head.method, payload, head.metadata, deadline, weight, arrived)
        connection.streams[stream] = call
        return call

    def end(self, call: NativeCall) -> None:
        """Count a call no longer; it was answered or its client has gone."""
        self.held -= 1
        self.bytes_held -= call.weight

    def answer(self) -> None:
        """Answer the next wave, if calls wait.

        Where calls were refused for want of room, all that wait are answered: the next turn may bring thousands more to
        refuse, and those that were taken must not wait for that.
        """
        self._answer_one()
        while self._is_overloaded and self.waiting:
            self._answer_one()
        self._is_overloaded = False

    def _answer_one(self) -> None:
        if self._is_overloaded:
            self._rivals.forget()
        answer_wave(self.waiting, self._wave_calls_max, self.wiring.answer, self.wiring.kind_of)
