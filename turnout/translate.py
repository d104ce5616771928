"""What every control call goes through: a deadline by default, the caller's name and trace, and errors of our own.

One gRPC interceptor does it for every method of every service, so that the generated stubs serve as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

from turnout import errors
from turnout.trace import CallMetadata, Metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from turnout.channel import ForkGuard

ACTOR_KEY = "turnout-actor"


class _Details(NamedTuple):
    """The particulars of a call, as gRPC wants them."""

    method: str
    timeout: float | None
    metadata: Sequence[tuple[str, str | bytes]] | None
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class Stream:
    """Messages of a streaming answer; raises TurnoutError where gRPC would raise its own error."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        """Return the next message, or raise TurnoutError when the call failed."""
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from error

    def cancel(self) -> bool:
        """End the call early."""
        return bool(self._call.cancel())


class Translate(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[type-arg]  # generic in the stubs only
    grpc.UnaryStreamClientInterceptor,  # type: ignore[type-arg]
    grpc.StreamUnaryClientInterceptor,  # type: ignore[type-arg]
):
    """Gives each call a deadline and the caller's name, and turns a failed call into TurnoutError.

    Parameters
    ----------
    guard
        Asked before each call.
    actor
        The caller's name; None sends none.
    timeout_s
        The deadline of a call that names none of its own, in seconds; a streamed answer that is followed has none.
    always
        What each call says beside its request.
    """

    def __init__(self, guard: ForkGuard, *, actor: str | None, timeout_s: float, always: Metadata = ()) -> None:
        self._guard = guard
        self._actor = actor
        self._timeout_s = timeout_s
        self._said = CallMetadata(always)

    def intercept_unary_unary(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        """Make a unary call."""
        return _finished(continuation(self._details(client_call_details, self._timeout_s), request))

    def intercept_stream_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Make a call that uploads."""
        return _finished(continuation(self._details(client_call_details, self._timeout_s), request_iterator))

    def intercept_unary_stream(self, continuation: Callable[..., Any], client_call_details: Any, request: Any) -> Any:
        """Make a call that downloads."""
        return Stream(continuation(self._details(client_call_details, None), request))

    def _details(self, given: Any, timeout_s: float | None) -> _Details:
        self._guard.check()
        metadata = [*(given.metadata or ()), *(self._said.metadata() or ())]
        if self._actor is not None:
            metadata.append((ACTOR_KEY, self._actor))
        return _Details(
            given.method,
            timeout_s if given.timeout is None else given.timeout,
            metadata,
            given.credentials,
            getattr(given, "wait_for_ready", None),
            getattr(given, "compression", None),
        )


def _finished(call: Any) -> Any:
    """Return the call once it is over, or raise TurnoutError when it failed."""
    error = call.exception()
    if isinstance(error, grpc.RpcError):
        raise errors.from_rpc(error) from error
    return call
