"""Telling the other gateways at once that something was changed, by Redis; who is not told finds out by looking.

Theory of operation
-------------------
A message holds the revision and nothing else, so one that is lost, doubled or late does no harm: whoever is told looks
at the database, and all look now and then in any case. Who sees a revision first, by its own commit or by looking,
says it, and who has heard it is silent. Two threads, so that a Redis that does not answer keeps nobody from listening,
and no thread of the gateway's ever waits for it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from features.redis_address import parse_address
from features.redis_routes import connect
from features.redis_wire import Parser, ReplyError, Wire, WireError, pack

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

BUDGET_S = 1.0
"""How long Redis may take to answer, connecting included."""
SILENCE_MAX_S = 5.0
"""A connection over which nothing came for so long is asked whether it lives; after twice that it is given up."""
RETRY_FIRST_S = 0.1
RETRY_MAX_S = 5.0
_RECEIVE_BYTES = 1 << 16

_log = logging.getLogger(__name__)


class Wakeups:
    """Says and hears revisions.

    Parameters
    ----------
    url
        As `features.redis_address` says. What shares a Redis and not a metadata database takes another number of a
        database in it.
    wake
        Called when another gateway said a revision that was not known here; it must return at once.
    """

    def __init__(self, url: str, *, wake: Callable[[], None]) -> None:
        self._address = parse_address(url)
        self._channel = f"turnout:{self._address.db}:revision"
        self._wake = wake
        self._wire = Wire(
            lambda left_s: connect(self._address, left_s), budget_s=BUDGET_S, exclusive=self._address.tls is not None
        )
        self._unsaid = threading.Event()
        self._newest = -1
        self._heard = -1
        self._listening = False
        self._closed = threading.Event()

    @property
    def listening(self) -> bool:
        """Whether others are heard now."""
        return self._listening

    def say(self, revision: int) -> None:
        """Tell the others of a revision, unless they know it; returns at once."""
        self._newest = revision
        if revision != self._heard:
            self._unsaid.set()

    def start(self) -> None:
        """Begin to say and to hear."""
        for run in (self._speak, self._listen):
            threading.Thread(target=run, name=f"wakeups-{run.__name__.strip('_')}", daemon=True).start()

    def close(self) -> None:
        """End both."""
        self._closed.set()
        self._unsaid.set()
        self._wire.close()

    def _speak(self) -> None:
        failing = False
        while not self._closed.is_set():
            self._unsaid.wait()
            self._unsaid.clear()
            revision = self._newest
            if self._closed.is_set() or revision == self._heard:
                continue
            try:
                (reply,) = self._wire.ask([("PUBLISH", self._channel, str(revision))], time.monotonic() + BUDGET_S)
                failing = _told(failing, reply if isinstance(reply, ReplyError) else None)
            except OSError as error:
                failing = _told(failing, error)

    def _listen(self) -> None:
        pause_s = RETRY_FIRST_S
        while not self._closed.is_set():
            began = time.monotonic()
            try:
                with connect(self._address, BUDGET_S) as connection:
                    self._follow(connection)
            except (OSError, WireError) as error:
                if self._listening or pause_s == RETRY_FIRST_S:
                    _log.warning("changes elsewhere are found by looking until Redis answers: %s", error)
            self._listening = False
            pause_s = RETRY_FIRST_S if time.monotonic() - began > RETRY_MAX_S else min(pause_s * 2, RETRY_MAX_S)
            self._closed.wait(pause_s)

    def _follow(self, connection: socket.socket) -> None:
        """Hear what is said until the connection fails."""
        connection.settimeout(SILENCE_MAX_S)
        connection.sendall(_packed("SUBSCRIBE", self._channel))
        parser, asked = Parser(), False
        while not self._closed.is_set():
            try:
                received = connection.recv(_RECEIVE_BYTES)
            except TimeoutError:
                if asked:
                    raise
                connection.sendall(_packed("PING"))
                asked = True
                continue
            if not received:
                raise ConnectionResetError("the server closed the connection")
            asked = False
            parser.feed(received)
            while (message := parser.gets()) is not False:
                self._take(message)

    def _take(self, message: Any) -> None:
        if isinstance(message, ReplyError):
            raise ConnectionRefusedError(str(message))
        if message[0] == b"subscribe":
            self._listening = True
            _log.info("changes elsewhere are told by Redis")
            self._wake()  # what was said meanwhile was not heard
        elif message[0] == b"message":
            with contextlib.suppress(ValueError):
                self._hear(int(message[2]))

    def _hear(self, revision: int) -> None:
        self._heard = revision
        if revision != self._newest:
            self._wake()


def _packed(*command: Any) -> bytes:
    frame: bytes = pack(command)
    return frame


def _told(failing: bool, error: Exception | None) -> bool:  # noqa: FBT001  (what was, and what is)
    """Log when saying begins to fail, and when it works again; return whether it fails."""
    if error is not None and not failing:
        _log.warning("other gateways find changes by looking until Redis takes a message: %s", error)
    elif error is None and failing:
        _log.warning("Redis takes messages again")
    return error is not None
