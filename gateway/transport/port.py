"""The transport port: calls come in waves, answers go out one by one.

A transport hands each wave, the calls that wait right now, to one function and expects that function to answer every
call of it exactly once. A wave is never empty and never waited for. The function may be called from several threads;
it takes its own lock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import grpc

    from gateway.transport.tls import Certificates

Metadata = Sequence[tuple[str, str | bytes]]


class Call:
    """One request on its way through the gateway, and the handle to answer it.

    Attributes
    ----------
    method
        The place of the method among those that the transport was opened with, the streams after the others.
    payload
        The request's bytes.
    metadata
        The call's metadata, keys in lower case.
    deadline
        When the client stops waiting, on the monotonic clock, in seconds; None when it set no deadline.
    arrived
        When the call came, on the monotonic clock, in seconds; 0 where the transport does not say.
    peer
        Where the call comes from.
    certificate
        Who the client is by the certificate that it showed and that was verified, as `tls.names_of_peer` says; empty
        where it showed none.
    cancelled
        Whether the client is known to have gone; an answer is then dropped without harm.
    """

    __slots__ = ("arrived", "cancelled", "certificate", "deadline", "metadata", "method", "payload", "peer")

    def __init__(
        self,
        method: int,
        payload: bytes,
        *,
        metadata: Metadata = (),
        deadline: float | None = None,
        peer: str = "",
        certificate: Sequence[str] = (),
    ) -> None:
        self.method = method
        self.payload = payload
        self.metadata = metadata
        self.deadline = deadline
        self.peer = peer
        self.arrived = 0.0
        self.certificate = certificate
        self.cancelled = False

    def reply(self, payload: bytes) -> None:
        """Answer with a message; does nothing when the call was answered or its client has gone."""
        raise NotImplementedError

    def fail(self, code: int, message: str, trailing: Metadata = ()) -> None:
        """Answer with a status: its gRPC code, a sentence, and trailing metadata."""
        raise NotImplementedError


Answer = Callable[[list[Call]], None]
KindOf = Callable[[Call], Hashable]

# gRPC's status codes that a transport gives by itself.
CANCELLED = 1
DEADLINE_EXCEEDED = 4
RESOURCE_EXHAUSTED = 8
UNIMPLEMENTED = 12
INTERNAL = 13
UNAVAILABLE = 14


def shed_plainly(call: Call) -> None:
    """Refuse a call past the bound, without details; the edge that knows google.rpc passes a better one."""
    call.fail(RESOURCE_EXHAUSTED, "more calls than the bound are in flight; try again after a pause")


def close_plainly(call: Call) -> None:
    """Refuse a call that arrives during the drain, without details."""
    call.fail(UNAVAILABLE, "the worker is draining; try again on another connection")


def method_of(call: Call) -> Hashable:
    """Return what a call competes as where the edge knows nothing better."""
    return call.method


def open_to_all(_: Call) -> bool:
    """Let any stream be opened."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a transport bounds.

    Attributes
    ----------
    request_bytes_max
        The largest request; a larger one gets RESOURCE_EXHAUSTED.
    response_bytes_max
        The largest response.
    calls_max
        How many calls may be in flight; one more gets RESOURCE_EXHAUSTED at once.
    wave_calls_max
        How many calls make a wave at the most.
    streams_max
        How many streams may be open; one more gets RESOURCE_EXHAUSTED at once.
    stream_calls_max
        How many messages of one stream may be taken whose answers its client has not read; a stream that has as many
        is not read further.
    handshake_s_max
        How long a client may take until it speaks HTTP/2.
    keepalive_s, keepalive_answer_s_max
        How long a client may be silent before it is asked whether it is there, and how long it may take to answer.
    connections_max
        How many connections may be open at a time; one more is closed at once.
    connection_age_max_s
        How long a connection may last before its client is asked to open another, which spreads clients over workers
        that came later; 0: for ever. Calls on it are finished first, for `connection_grace_s` at the most.
    connection_grace_s
        How long the calls on a connection that is too old may go on.
    """

    request_bytes_max: int = 16 * 1024 * 1024
    response_bytes_max: int = 16 * 1024 * 1024
    calls_max: int = 256
    wave_calls_max: int = 64
    streams_max: int = 64
    stream_calls_max: int = 32
    handshake_s_max: float = 20.0
    keepalive_s: float = 60.0
    keepalive_answer_s_max: float = 20.0
    connections_max: int = 16 * 1024
    connection_age_max_s: float = 0.0
    connection_grace_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What a transport is opened with.

    Attributes
    ----------
    address
        Host and port, for example ``127.0.0.1:8001``; port 0 picks a free one. Several processes may share a port.
    methods
        Full method paths that are answered in waves, for example ``/turnout.serving.v1.PredictionService/Predict``.
    streams
        Full paths of bidirectional streams, each message of which is a call: it joins the waves like any other, and its
        `method` is the place in ``(*methods, *streams)``. `reply` answers that message; answers leave in the order of
        the messages. `fail` ends the whole stream once the answers before it have left. The deadline, the metadata and
        the peer are the stream's. When the client has half-closed and everything is answered, the stream ends OK; when
        it is cancelled, what has not run is dropped.
    answer
        Gets every wave.
    add_services
        Adds what is not answered in waves (health, reflection) to a grpcio server.
    limits
        What is bounded.
    shed
        Fails a call that came past `calls_max` or a stream past `streams_max`, at once. Only the edge knows
        google.rpc.ErrorInfo, so it is given. A stream is shown to it as a call without a payload.
    close
        Fails a call that came during the drain, and ends each stream then, after the answers to what it had sent.
    kind_of
        Says what a call competes as for room: where more calls wait than one wave takes or than may be in flight, each
        kind gets its fair share, as `gateway.transport.fair` says. It is asked of whole calls only, and only then.
    opens
        Says whether a stream may be opened, and fails it when not. A stream is shown to it as a call without a payload.
    tls
        The port's certificate: `context()` for each connection that begins, or `credentials()` for a grpcio server;
        None: the port speaks without TLS.
    """

    address: str
    methods: Sequence[str]
    answer: Answer
    add_services: Callable[[grpc.Server], None]
    streams: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    shed: Callable[[Call], None] = shed_plainly
    close: Callable[[Call], None] = close_plainly
    kind_of: KindOf = method_of
    opens: Callable[[Call], bool] = open_to_all
    tls: Certificates | None = None


class Transport(Protocol):
    """Takes calls off the network and puts answers on it."""

    name: str
    """`native` or `grpcio`."""

    why: str
    """Why this one was taken, in a sentence."""

    def start(self) -> int:
        """Begin to take calls and return the bound port."""
        ...

    def calls_in_flight(self) -> int:
        """Return how many calls are taken and not answered; from any thread."""
        ...

    def drain(self, grace_s: float) -> bool:
        """Refuse new calls with UNAVAILABLE and wait for the ones in flight; return whether all were finished.

        It is for the end of a process, which closes what is still open. What goes on without it closes it.
        """
        ...

    def close(self) -> None:
        """Close the port and end what is still in flight; more than once does no harm."""
        ...
