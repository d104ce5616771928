"""A call on grpc-core's queue, and how it is answered from any thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from gateway.transport.grpcio.core import (
    CLOSE,
    MESSAGE,
    Listener,
    properties_of_peer,
    receive_close,
    receive_message,
    send_answer,
    send_status,
)
from gateway.transport.port import RESOURCE_EXHAUSTED, UNIMPLEMENTED, Call, Metadata
from gateway.transport.tls import names_in_context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.transport.grpcio.front import Front

# grpc-core reports a missing deadline as one centuries away.
_DEADLINE_S_MAX = 1e9


def deadline_in(event: Any, now: float) -> float | None:
    """Return a call's deadline on the monotonic clock; None when it has none."""
    left_s = event.call_details.deadline - time.time()
    return now + max(0.0, left_s) if left_s < _DEADLINE_S_MAX else None


def peer_in(event: Any) -> str:
    """Return where a call comes from."""
    peer: bytes = event.call.peer()
    return peer.decode()


def certificate_in(event: Any) -> tuple[str, ...]:
    """Return who the client of a call is by the certificate that it showed; empty where it showed none."""
    return names_in_context(properties_of_peer(event.call))


class UnaryCall(Call, Listener):
    """A call of one message that is held until it is answered."""

    __slots__ = ("_event", "_front", "_owed")

    def __init__(self, front: Front, method: int, event: Any) -> None:
        # Not the base's: metadata and peer are only made when somebody asks for them.
        self.method = method
        self.payload = b""
        self.arrived = now = time.monotonic()
        self.deadline = deadline_in(event, now)
        self.cancelled = False
        self._front = front
        self._event = event
        self._owed = 2  # events that will come: of its end, and of the answer

    @property
    def metadata(self) -> Metadata:  # type: ignore[override]  # read only, as every reader takes it
        """The call's metadata, keys in lower case."""
        found: Metadata = self._event.invocation_metadata
        return found or ()

    @property
    def peer(self) -> str:  # type: ignore[override]  # as above
        """Where the call comes from."""
        return peer_in(self._event)

    @property
    def certificate(self) -> Sequence[str]:  # type: ignore[override]  # as above
        """Who the client is by the certificate that it showed."""
        return certificate_in(self._event) if self._front.has_certificates else ()

    def begin(self) -> None:
        """Have its end told."""
        receive_close(self._event.call, self)

    def read(self) -> None:
        """Have its message told."""
        self._owed += 1
        receive_message(self._event.call, self)

    def reply(self, payload: bytes) -> None:
        """Answer with a message; from any thread."""
        limit = self._front.response_bytes_max
        if len(payload) > limit:
            self.fail(RESOURCE_EXHAUSTED, f"SERVER: Sent message larger than max ({len(payload)} vs. {limit})")
        elif self._is_first():
            send_answer(self._event.call, payload, self)

    def fail(self, code: int, message: str, trailing: Metadata = ()) -> None:
        """Answer with a status; from any thread."""
        if self._is_first():
            send_status(self._event.call, code, message, trailing, self, first=True)

    def hear(self, event: Any) -> None:
        """Take its message, its end, or that the answer has left."""
        operation = event.batch_operations[0]
        kind = type(operation)
        if kind is MESSAGE:
            self._take(operation.message())
        elif kind is CLOSE and operation.cancelled():
            self.cancelled = True
            self._owed -= self._is_first()  # then there will be no answer
        self._owed -= 1
        if not self._owed:
            self._front.over(self)

    def _take(self, payload: bytes | None) -> None:
        front = self._front
        if payload is None:
            self.fail(UNIMPLEMENTED, "the method takes one message, and none came")
        elif self in front.arriving:
            front.arriving.remove(self)
            self.payload = payload
            front.admit(self)

    def _is_first(self) -> bool:
        """Return whether this is the first answer; it is asked once for each, and by several threads."""
        front = self._front
        try:
            (front.held if self in front.held else front.arriving).remove(self)
        except KeyError:
            return False
        return True
