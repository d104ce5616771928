"""How a load reaches the gateway: as a client does, but no call is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

from turnout import channel, errors
from turnout.security import Security

if TYPE_CHECKING:
    from turnout.load.plan import Plan


class Reach:
    """Opens connections; what is shown to the gateway is what the environment says.

    Parameters
    ----------
    plan
        The load.

    Raises
    ------
    ValueError
        The addresses cannot be used together, or a token would travel to another machine in clear.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._security = Security.from_environment()
        self._target = channel.target_of(plan.address.split(",") if "," in plan.address else plan.address)
        self.metadata = self._security.metadata(self._target)

    def open(self) -> grpc.Channel:
        """Return one more connection (to each of several addresses)."""
        return channel.open_channel(self._target, channel.options_of([], attempts_max=1), self._security)

    def method(self, channel: grpc.Channel) -> grpc.UnaryUnaryMultiCallable[bytes, bytes]:
        """Return the method that is called, by bytes."""
        return channel.unary_unary(self._plan.method, bytes, bytes)

    def ask(self, body: bytes) -> None:
        """Make one call, or raise TurnoutError."""
        with self.open() as opened:
            try:
                self.method(opened)(body, timeout=self._plan.timeout_s, metadata=self.metadata)
            except grpc.RpcError as error:
                raise errors.from_rpc(error) from error
