"""The link to the grpcio server, which answers whatever is not answered in waves."""

from __future__ import annotations

import base64
import contextlib
import logging
import socket
from typing import TYPE_CHECKING

from ngh2 import NGH2Error, Role
from ngh2.events import DataReceived, ResponseReceived, StreamClosed, StreamReset, TrailersReceived

from gateway.transport.native import bounds
from gateway.transport.native.forwarded import Forwarded
from gateway.transport.native.link import Link
from gateway.transport.peer import RESERVED_PREFIX, names_key, pack_names, peer_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ngh2.events import Event

    from gateway.transport.native.connection import Connection
    from gateway.transport.native.loop import Loop
    from gateway.transport.native.status import Headers

_log = logging.getLogger(__name__)


class Behind:
    """Where calls are forwarded to; it connects when the first one comes, and again when it was lost."""

    def __init__(self, loop: Loop, path: Path) -> None:
        self._loop = loop
        self._path = path
        self._link: BehindLink | None = None

    @property
    def has_room(self) -> bool:
        """Whether one more call may be forwarded."""
        return self._link is None or len(self._link.streams) < bounds.FORWARDED_PER_WORKER_MAX

    @property
    def held(self) -> int:
        """How many forwarded calls are not finished."""
        return 0 if self._link is None else len(self._link.streams)

    def close(self) -> None:
        """End all that is forwarded."""
        if self._link is not None:
            self._link.lose()

    def forward(self, client: Connection, stream: int, headers: Headers, *, last: bool) -> Forwarded | None:
        """Return the call that was begun behind, or None when there is no server."""
        try:
            if self._link is None or not self._link.is_open:
                self._link = BehindLink(self._loop, _connect(self._path))
            return self._link.forward(client, stream, headers, last=last)
        except (OSError, NGH2Error) as error:
            _log.warning("a call could not be forwarded: %s", error)
            return None


def _connect(path: Path) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.setblocking(False)
        connected.connect(str(path))
    except OSError:
        connected.close()
        raise
    return connected


class BehindLink(Link):
    """One connection to the server behind.

    Attributes
    ----------
    streams
        The calls that are not finished there.
    """

    __slots__ = ("_owing", "streams")

    def __init__(self, loop: Loop, connected: socket.socket) -> None:
        self.streams: dict[int, Forwarded] = {}
        self._owing: set[Forwarded] = set()
        super().__init__(
            loop,
            connected,
            role=Role.CLIENT,
            configuration=bounds.CLIENT,
            settings=bounds.CLIENT_SETTINGS,
            window_bytes=bounds.CONNECTION_WINDOW_BYTES,
        )

    def forward(self, client: Connection, stream: int, headers: Headers, *, last: bool) -> Forwarded:
        """Begin a call, with who the client is where no client can write it."""
        passed = [field for field in headers if not field[0].startswith(RESERVED_PREFIX)]
        passed.append((peer_key().encode(), client.peer.encode()))
        passed.append((names_key().encode(), base64.b64encode(pack_names(client.certificate))))
        far = self.session.send_request(passed, end_stream=last)
        forwarded = self.streams[far] = Forwarded(client, stream, self, far)
        self.hurry()
        return forwarded

    def owe(self, forwarded: Forwarded) -> None:
        """Tell the client how much of its request has left, whenever some has."""
        self._owing.add(forwarded)
        self.hurry()

    def received(self, events: Sequence[Event]) -> None:
        """Pass on what the server has said."""
        streams = self.streams
        for event in events:
            if isinstance(event, DataReceived):
                if event.stream_id in streams:
                    streams[event.stream_id].bring(event.data, last=event.end_stream)
                else:
                    with contextlib.suppress(NGH2Error):
                        self.session.acknowledge_received_data(len(event.data), event.stream_id)
            elif isinstance(event, ResponseReceived):
                if event.stream_id in streams:
                    streams[event.stream_id].begin(event.headers, last=event.end_stream)
            elif isinstance(event, TrailersReceived):
                if event.stream_id in streams:
                    streams[event.stream_id].end(event.headers)
            elif isinstance(event, StreamReset | StreamClosed):
                forwarded = streams.pop(event.stream_id, None)
                if forwarded is not None:
                    self._owing.discard(forwarded)
                    forwarded.server_closed(event.error_code)

    def flushed(self) -> None:
        """Let clients send as much more as has left."""
        for forwarded in list(self._owing):
            if forwarded.settle_with_client():
                self._owing.discard(forwarded)
        self.received(self.session.events())

    def lost(self) -> None:
        """Tell the clients of all calls that the server is gone."""
        streams, self.streams = self.streams, {}
        self._owing.clear()
        for forwarded in streams.values():
            forwarded.server_lost()
