"""What all calls of a grpcio transport share: who gets in, who is refused, and who is still inside."""

from __future__ import annotations

import functools
from collections import deque
from typing import TYPE_CHECKING, Any

from gateway.transport.fair import Rivals
from gateway.transport.grpcio.call import UnaryCall
from gateway.transport.grpcio.stream import Stream
from gateway.transport.waves import answer_wave

if TYPE_CHECKING:
    from gateway.transport.grpcio.core import Core
    from gateway.transport.port import Call, Wiring

# How many times the bound on calls may be on their way: a client that resets what it begins must not refuse others.
_ARRIVING_MAX = 8


class Front:
    """The calls and streams of a transport; in the loop's thread, unless it says otherwise.

    Attributes
    ----------
    waiting
        The calls of the next waves.
    arriving, held
        Those of one message that are not answered, before and after it has come; whoever takes one out answers it.
    has_certificates
        Whether clients may show certificates.
    """

    def __init__(self, wiring: Wiring, core: Core) -> None:
        limits = wiring.limits
        self.wiring = wiring
        self.waiting: deque[Call] = deque()
        self._rivals = Rivals(self.waiting, wiring.kind_of)
        self.arriving: set[UnaryCall] = set()
        self.held: set[UnaryCall] = set()
        self.has_certificates = wiring.tls is not None
        self.response_bytes_max = limits.response_bytes_max
        self.stream_calls_max = limits.stream_calls_max
        self._core = core
        self._calls_max = limits.calls_max
        self._streams_max = limits.streams_max
        self._wave_calls_max = limits.wave_calls_max
        self._inside: set[UnaryCall] = set()  # let in, and not over
        self._streams: set[Stream] = set()  # as well
        self._parked: set[UnaryCall | Stream] = set()
        self._is_closed = False
        self._may_refuse = True
        for place, path in enumerate(wiring.methods):
            core.expect(path, functools.partial(self._take_call, place))
        for place, path in enumerate(wiring.streams, len(wiring.methods)):
            core.expect(path, functools.partial(self._take_stream, place))

    @property
    def in_flight(self) -> int:
        """How many calls have come and are not answered; from any thread."""
        return len(self.held) + sum(stream.in_flight for stream in list(self._streams))

    @property
    def is_empty(self) -> bool:
        """Whether all that was let in is answered, and all answers have left; from any thread."""
        return not self._inside and not self._streams

    def run(self) -> None:
        """Take calls and answer them, until the server has stopped."""
        self._core.run(self.waiting, self._wave_calls_max, self._answer)

    def close_door(self) -> None:
        """Let nobody in any more, and end each open stream after the answers to what it has sent; from any thread."""
        self._is_closed = True
        for stream in list(self._streams):
            stream.close()

    def park(self) -> None:
        """Keep those waiting that come from now on, instead of refusing them; from any thread."""
        self._may_refuse = False

    def refuse_parked(self) -> None:
        """Refuse those that were kept waiting, and those that still come; from any thread."""
        self._may_refuse = True
        for one in list(self._parked):
            self._refuse(one)

    def admit(self, call: UnaryCall) -> None:
        """Have a call in the next wave whose message has come.

        Where there is no room, it is refused, or another one in its place whose kind has more waiting.
        """
        self.held.add(call)
        if len(self.held) > self._calls_max:
            self.wiring.shed(self._rivals.displace(call) if self._rivals.is_behind(call) else call)
        else:
            self.waiting.append(call)

    def over(self, one: UnaryCall | Stream) -> None:
        """Let go of a call or a stream that no more will be heard of."""
        for among in (self._inside, self._streams, self._parked):
            among.discard(one)
        self._core.drop(one)

    def _answer(self) -> None:
        self._rivals.forget()
        answer_wave(self.waiting, self._wave_calls_max, self.wiring.answer, self.wiring.kind_of)

    def _take_call(self, method: int, event: Any) -> None:
        has_room = len(self.arriving) < _ARRIVING_MAX * self._calls_max
        call = UnaryCall(self, method, event)
        self._core.keep(call)
        self._inside.add(call)  # before it is asked whether the door is closed: who closes it looks afterwards
        self.arriving.add(call)
        call.begin()
        if has_room and not self._is_closed:
            call.read()
        else:
            self._inside.discard(call)
            if self._is_closed:
                self._turn_away(call)
            else:
                self.wiring.shed(call)

    def _take_stream(self, method: int, event: Any) -> None:
        has_room = len(self._streams) < self._streams_max
        stream = Stream(self, method, event)
        self._core.keep(stream)
        self._streams.add(stream)  # as above
        stream.begin()
        if has_room and not self._is_closed:
            stream.open()
        else:
            self._streams.discard(stream)
            if self._is_closed:
                self._turn_away(stream)
            else:
                stream.end(self.wiring.shed)

    def _turn_away(self, one: UnaryCall | Stream) -> None:
        self._parked.add(one)
        if self._may_refuse:
            self._parked.discard(one)
            self._refuse(one)

    def _refuse(self, one: UnaryCall | Stream) -> None:
        if isinstance(one, Stream):
            one.close()
        else:
            self.wiring.close(one)
