"""The queue of events that a grpcio server lives on, and a loop that takes them.

Theory of operation
-------------------
grpcio's server has one thread that takes events off grpc-core's queue, and gives each call to a thread of a pool, which
waits there for the call's message and then answers. That is two wake-ups of a thread a call, and threads that contend
for the interpreter. Here the same server's events are taken by a loop that does the calls of the wave methods itself:
it takes events while there are any, then lets the calls that have come be answered together, and begins anew. What
belongs to the server's other methods is given back to grpcio's own code, thread pool and all.

This is the only module that reaches below grpcio's public face, for want of a public way to a call without a thread.
What it takes for granted there is written in the decision on this transport, and held by the contract suite.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from grpc import _server as grpcio
from grpc._cython import cygrpc  # type: ignore[attr-defined]  # compiled; the stubs do not know it

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Sized

    import grpc

    from gateway.transport.port import Metadata

MESSAGE = cygrpc.ReceiveMessageOperation
"""What an event is about that brings a message of the client's, or None where none will come any more."""
CLOSE = cygrpc.ReceiveCloseOnServerOperation
"""What an event is about that tells the end of a call: it is answered, or its client has gone."""

_TIMEOUT = cygrpc.CompletionType.queue_timeout
_PAST_S = 0.0
_NO_FLAGS = 0
# How many events are taken before what waits is answered; a call has four.
_EVENTS_MAX = 256
_log = logging.getLogger(__name__)


class Listener:
    """What an event is for."""

    __slots__ = ()

    def hear(self, event: Any) -> None:
        """Take an event; only the loop calls it."""
        raise NotImplementedError


class Core:
    """The events of one server; before `start` from any thread, then in the loop's, unless it says otherwise."""

    def __init__(self, server: grpc.Server) -> None:
        self._state: Any = server._state  # type: ignore[attr-defined]  # noqa: SLF001  (see above)
        self._wanted: list[_Wanted] = []
        self._is_over = False

    def expect(self, path: str, arrived: Callable[[Any], None]) -> None:
        """Have the calls of a method told to a function; before services that have that method too are added."""
        self._state.server.register_method(path)
        self._wanted.append(_Wanted(self, path, arrived))

    def start(self) -> None:
        """Begin to take calls; the port is bound."""
        state = self._state
        with state.lock:
            state.server.start()
            state.stage = grpcio._ServerStage.STARTED  # noqa: SLF001
            for wanted in self._wanted:
                state.registered_method_handlers.pop(wanted.path, None)
                self.ask(wanted)
            for path in state.registered_method_handlers:
                grpcio._request_registered_call(state, path)  # noqa: SLF001
            grpcio._request_call(state)  # noqa: SLF001

    def run(self, waiting: Sized, enough: int, answer: Callable[[], None]) -> None:
        """Take events until the server has stopped; when there are none, or enough calls wait, have those answered."""
        poll = self._state.completion_queue.poll
        while not self._is_over:
            event = poll(None)
            taken = 0
            while event.completion_type != _TIMEOUT:
                self._take(event)
                taken += 1
                if taken == _EVENTS_MAX or len(waiting) >= enough:
                    break
                event = poll(_PAST_S)
            event = None  # it may hold a call, whose end would wait for the next event
            if waiting:
                answer()

    def ask(self, wanted: _Wanted) -> None:
        """Ask for the next call of a method, unless the server is about to stop."""
        state = self._state
        with state.lock:
            if state.stage is grpcio._ServerStage.STARTED:  # noqa: SLF001
                queue = state.completion_queue
                state.server.request_registered_call(queue, queue, wanted.path, wanted)
                state.due.add(wanted)
            else:
                self._settle(state.due, wanted)

    def keep(self, call: Listener) -> None:
        """Have the server not end before `drop`: events will come for a call."""
        self._state.rpc_states.add(call)

    def drop(self, call: Listener) -> None:
        """Let go of a call that no event will come for any more."""
        with self._state.lock:
            self._settle(self._state.rpc_states, call)

    def _settle(self, among: set[Any], what: object) -> None:
        among.discard(what)
        if self._state.stage is not grpcio._ServerStage.STARTED and grpcio._stop_serving(self._state):  # noqa: SLF001
            self._is_over = True

    def _take(self, event: Any) -> None:
        tag = event.tag
        try:
            if isinstance(tag, Listener):
                tag.hear(event)
            elif not grpcio._process_event_and_continue(self._state, event):  # noqa: SLF001
                self._is_over = True
        except Exception:  # noqa: BLE001  (whatever it was, all other calls go on)
            _log.exception("a step of the transport failed")


class _Wanted(Listener):
    """The next call of a method."""

    __slots__ = ("_arrived", "_core", "path")

    def __init__(self, core: Core, path: str, arrived: Callable[[Any], None]) -> None:
        self.path = path
        self._core = core
        self._arrived = arrived

    def hear(self, event: Any) -> None:
        if event.success:
            self._arrived(event)
        self._core.ask(self)


def properties_of_peer(call: Any) -> dict[str, Sequence[bytes]]:
    """Return what TLS says of a call's client."""
    return {key.decode(): values for key, values in (cygrpc.auth_context(call) or {}).items()}


def receive_close(call: Any, listener: Listener) -> None:
    """Have a call's end told."""
    call.start_server_batch((CLOSE(_NO_FLAGS),), listener)


def receive_message(call: Any, listener: Listener) -> None:
    """Have the next message of a call told."""
    call.start_server_batch((MESSAGE(_NO_FLAGS),), listener)


def send_answer(call: Any, payload: bytes, listener: Listener) -> None:
    """Answer a call with its only message; from any thread."""
    call.start_server_batch(
        (
            cygrpc.SendStatusFromServerOperation(None, cygrpc.StatusCode.ok, b"", _NO_FLAGS),
            cygrpc.SendInitialMetadataOperation(None, _NO_FLAGS),
            cygrpc.SendMessageOperation(payload, _NO_FLAGS),
        ),
        listener,
    )


def send_message(call: Any, payload: bytes, listener: Listener, *, first: bool) -> None:
    """Send a message of several; from any thread, when the one before was told as sent."""
    message = cygrpc.SendMessageOperation(payload, _NO_FLAGS)
    operations = (cygrpc.SendInitialMetadataOperation(None, _NO_FLAGS), message) if first else (message,)
    call.start_server_batch(operations, listener)


def send_status(call: Any, code: int, message: str, trailing: Metadata, listener: Listener, *, first: bool) -> None:
    """End a call; from any thread."""
    status = cygrpc.SendStatusFromServerOperation(tuple(trailing) or None, code, message.encode(), _NO_FLAGS)
    operations: Sequence[Any] = (cygrpc.SendInitialMetadataOperation(None, _NO_FLAGS), status) if first else (status,)
    call.start_server_batch(operations, listener)
