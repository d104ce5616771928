"""A call that came over HTTP/2, and how it is answered from any thread."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING

from gateway.transport.port import Call, Metadata

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.transport.native.connection import Connection


class NativeCall(Call):
    """A call that its connection holds open until it is answered.

    Attributes
    ----------
    stream
        Its stream on the connection.
    weight
        How many bytes of the worker's room for bodies it takes.
    """

    __slots__ = ("_connection", "stream", "weight")

    def __init__(  # noqa: PLR0917  (by position, and without the base's: this runs for every call)
        self,
        connection: Connection,
        stream: int,
        method: int,
        payload: bytes,
        metadata: Metadata,
        deadline: float | None,
        weight: int,
        arrived: float,
    ) -> None:
        self.method = method
        self.payload = payload
        self.metadata = metadata
        self.deadline = deadline
        self.cancelled = False
        self.stream = stream
        self.weight = weight
        self.arrived = arrived
        self._connection = connection

    @property
    def peer(self) -> str:  # type: ignore[override]  # read only, as every reader takes it
        """Where the call comes from."""
        return self._connection.peer

    @property
    def certificate(self) -> Sequence[str]:  # type: ignore[override]  # as above
        """Who the client is by the certificate that it showed."""
        return self._connection.certificate

    def reply(self, payload: bytes) -> None:
        """Answer with a message; from any thread."""
        connection = self._connection
        if get_ident() == connection.thread:
            connection.reply(self, payload)
        else:
            connection.post(connection.reply, self, payload)

    def fail(self, code: int, message: str, trailing: Metadata = ()) -> None:
        """Answer with a status; from any thread."""
        connection = self._connection
        if get_ident() == connection.thread:
            connection.fail(self, code, message, trailing)
        else:
            connection.post(connection.fail, self, code, message, trailing)
