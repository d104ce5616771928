"""How a client's calls reach a gateway: its channels, opened when they are needed, and what each call says.

A channel tries calls again by its service config, and gRPC knows no way to say otherwise for one call: calls that must
not be tried again go over a channel of their own, which is opened by the first of them.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import grpc

from turnout import channel as _channel
from turnout import errors
from turnout.security import Security
from turnout.trace import CallMetadata

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from turnout.trace import Metadata

Request = TypeVar("Request")
Response = TypeVar("Response")

DATA_SERVER = "127.0.0.1:8001"
"""Where a gateway is asked when neither the program nor the environment says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a client is made with: all that is kept of it when it travels to another process."""

    address: str | Sequence[str]
    timeout_s: float
    attempts_max: int
    security: Security | None


class _Way:
    """What both kinds of link know: where calls go, and what each of them says."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.guard = _channel.ForkGuard()
        self.security = Security.from_environment() if setup.security is None else setup.security
        self.target = _channel.target_of(_given() if setup.address == "" else setup.address)
        self._said = CallMetadata(self.security.metadata(self.target))

    def metadata(self) -> Metadata | None:
        """Return what a call that is made now says beside its request."""
        return self._said.metadata()

    def timeout_s(self, given_s: float | None) -> float:
        """Return the deadline of a call."""
        return self.setup.timeout_s if given_s is None else given_s

    def options(self, attempts_max: int) -> list[tuple[str, str | int]]:
        """Return the options of a channel that gives each call so many tries."""
        return _channel.options_of([{}], attempts_max=attempts_max)


def _given() -> list[str]:
    """Return the addresses that the environment names, or this machine's."""
    return (os.environ.get("TURNOUT_DATA_SERVER") or DATA_SERVER).split(",")


class Stubs:
    """The generated stubs of the data port over one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        from turnout.outcomes.v1 import outcome_service_pb2_grpc  # noqa: PLC0415  (loaded at the first call)
        from turnout.serving.v1 import prediction_service_pb2_grpc  # noqa: PLC0415  (loaded at the first call)

        self.channel = channel
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.outcomes = outcome_service_pb2_grpc.OutcomeServiceStub(channel)


class Link(_Way):
    """The link of a client for threads."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._opened: dict[int, Stubs] = {}
        self._opening = threading.Lock()

    def call(
        self,
        pick: Callable[[Stubs], grpc.UnaryUnaryMultiCallable[Request, Response]],
        request: Request,
        *,
        timeout_s: float | None,
        retry: bool,
    ) -> Response:
        """Return the answer to one request, or raise TurnoutError."""
        method = pick(self.stubs(retry=retry))
        try:
            return method(request, timeout=self.timeout_s(timeout_s), metadata=self.metadata())
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from error

    def stubs(self, *, retry: bool = True) -> Stubs:
        """Return the stubs for calls that are tried again, or for those that are not."""
        self.guard.check()
        attempts_max = self.setup.attempts_max if retry else 1
        found = self._opened.get(attempts_max)
        return self._open(attempts_max) if found is None else found

    def close(self) -> None:
        """End the connections."""
        for stubs in self._opened.values():
            stubs.channel.close()

    def _open(self, attempts_max: int) -> Stubs:
        with self._opening:
            found = self._opened.get(attempts_max)
            if found is None:
                channel = _channel.open_channel(self.target, self.options(attempts_max), self.security)
                found = self._opened[attempts_max] = Stubs(channel)
            return found


class AsyncStubs:
    """The same over a channel of an event loop."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        from turnout.outcomes.v1 import outcome_service_pb2_grpc  # noqa: PLC0415  (loaded at the first call)
        from turnout.serving.v1 import prediction_service_pb2_grpc  # noqa: PLC0415  (loaded at the first call)

        self.channel = channel
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.outcomes = outcome_service_pb2_grpc.OutcomeServiceStub(channel)


class AsyncLink(_Way):
    """The link of a client for asyncio: its channels belong to the event loop in which the first call is made."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._opened: dict[int, AsyncStubs] = {}

    async def call(
        self,
        pick: Callable[[AsyncStubs], grpc.aio.UnaryUnaryMultiCallable[Request, Response]],
        request: Request,
        *,
        timeout_s: float | None,
        retry: bool,
    ) -> Response:
        """Return the answer to one request, or raise TurnoutError."""
        method = pick(self.stubs(retry=retry))
        try:
            return await method(request, timeout=self.timeout_s(timeout_s), metadata=self.metadata())
        except grpc.RpcError as error:
            raise errors.from_rpc(error) from error

    def stubs(self, *, retry: bool = True) -> AsyncStubs:
        """Return the stubs for calls that are tried again, or for those that are not."""
        self.guard.check()
        attempts_max = self.setup.attempts_max if retry else 1
        found = self._opened.get(attempts_max)
        if found is None:
            channel = _channel.open_aio_channel(self.target, self.options(attempts_max), self.security)
            found = self._opened[attempts_max] = AsyncStubs(channel)
        return found

    async def close(self) -> None:
        """End the connections."""
        for stubs in self._opened.values():
            await stubs.channel.close(None)
