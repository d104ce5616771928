"""A connection to one Redis server, over which the commands of concurrent callers are pipelined.

Theory of operation
-------------------
Who asks writes a command and queues a ticket for its replies, under one lock. Replies come in the order of the
commands: whoever waits and finds nobody reading reads, hands each reply to the ticket at the head of the queue, and
goes when its own ticket is full; then another one reads. A caller whose deadline passes leaves its ticket behind, to be
filled and thrown away. A caller who has waited for the connection's whole budget gives the connection up, and so does
one who could not write all of a command: nobody would understand what comes after.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import hiredis

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

RECEIVE_BYTES = 1 << 16
_NEARLY = 0.9
"""A wait that is so much of the budget is as good as all of it: it spares setting the socket's timeout anew."""

Command = tuple[Any, ...]
Parser = hiredis.Reader
ReplyError = hiredis.ReplyError
WireError = hiredis.HiredisError
pack = hiredis.pack_command


class _Ticket:
    __slots__ = ("count", "error", "replies")

    def __init__(self, count: int) -> None:
        self.count = count
        self.replies: list[Any] = []
        self.error: OSError | None = None

    @property
    def done(self) -> bool:
        return len(self.replies) == self.count or self.error is not None


class _Link:
    """An open connection."""

    __slots__ = ("given_up", "parser", "reading", "socket", "waiting")

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.parser = Parser()
        self.waiting: deque[_Ticket] = deque()
        self.reading = threading.Lock()
        self.given_up = False

    def take_some(self) -> None:
        """Receive what has come, at least one byte, and hand out the replies that are whole."""
        received = self.socket.recv(RECEIVE_BYTES)
        if not received:
            raise ConnectionResetError("the server closed the connection")
        self.parser.feed(received)
        while (reply := self.parser.gets()) is not False:
            ticket = self.waiting[0]
            ticket.replies.append(reply)
            if ticket.done:
                self.waiting.popleft()

    def give_up(self, error: OSError) -> None:
        """Tell all who wait that no answer comes, and wake who reads."""
        self.given_up = True
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        while self.waiting:
            self.waiting.popleft().error = error

    def bury(self) -> None:
        """Close the connection once it is given up and nobody reads: its number may be another one's at once."""
        if self.given_up and self.reading.acquire(blocking=False):
            self.socket.close()
            self.reading.release()


class Pending:
    """Commands that were sent; their replies must be asked for."""

    __slots__ = ("_link", "_sent", "_ticket", "_until", "_wire")

    def __init__(self, wire: Wire, link: _Link, ticket: _Ticket, until: float) -> None:
        self._wire = wire
        self._link = link
        self._ticket = ticket
        self._until = until
        self._sent = time.monotonic()

    def replies(self) -> list[Any]:
        """Return the replies, errors of the server among them, or raise OSError."""
        ticket, link = self._ticket, self._link
        try:
            while not ticket.done:
                left_s = self._until - time.monotonic()
                if left_s <= 0 or not link.reading.acquire(timeout=left_s):
                    raise TimeoutError("no answer in time")
                try:
                    self._read(ticket, link)
                finally:
                    link.reading.release()
                    link.bury()
        finally:
            self._wire.end_turn()
        if ticket.error is not None:
            raise ticket.error
        return ticket.replies

    def _read(self, ticket: _Ticket, link: _Link) -> None:
        wire = self._wire
        try:
            while not ticket.done:
                wire.limit(link, self._until)
                link.take_some()
        except TimeoutError as error:
            if time.monotonic() - self._sent >= _NEARLY * wire.budget_s:  # else it was in a hurry
                wire.drop(link, error)
            raise
        except (OSError, hiredis.HiredisError) as error:
            wire.drop(link, error if isinstance(error, OSError) else ConnectionError(str(error)))


class Wire:
    """Speaks with one server; connects when there is something to say. Safe to share among threads.

    Parameters
    ----------
    dial
        Opens a connection within so many seconds, or raises OSError.
    budget_s
        How long an answer may take, and connecting.
    exclusive
        Whether callers take turns: a TLS connection is not for writing and reading at once.
    """

    def __init__(self, dial: Callable[[float], socket.socket], *, budget_s: float, exclusive: bool) -> None:
        self._dial = dial
        self.budget_s = budget_s
        self._sending = threading.Lock()
        self._turn = threading.Lock() if exclusive else None
        self._link: _Link | None = None

    def send(self, frame: bytes, count: int, until: float) -> Pending:
        """Send a frame of so many commands, or raise OSError."""
        if self._turn is not None and not self._turn.acquire(timeout=max(0.0, until - time.monotonic())):
            raise TimeoutError("no turn in time")
        try:
            return self._send(frame, count, until)
        except BaseException:
            self.end_turn()
            raise

    def _send(self, frame: bytes, count: int, until: float) -> Pending:
        with self._sending:
            link = self._link
            if link is None:
                link = self._link = _Link(self._dial(min(self.budget_s, until - time.monotonic())))
            ticket = _Ticket(count)
            link.waiting.append(ticket)
            try:
                self.limit(link, until)
                link.socket.sendall(frame)
            except OSError as error:
                self.drop(link, error)
                link.bury()
                raise
            return Pending(self, link, ticket, until)

    def end_turn(self) -> None:
        """Let the next caller have its turn."""
        if self._turn is not None:
            self._turn.release()

    def ask(self, commands: Sequence[Command], until: float) -> list[Any]:
        """Send commands and return their replies, or raise OSError.

        A connection that the server has closed meanwhile is opened again: commands here may be repeated.
        """
        frame = b"".join([pack(command) for command in commands])
        opened = self._link is None
        try:
            return self.send(frame, len(commands), until).replies()
        except TimeoutError:
            raise
        except OSError:
            if opened:
                raise
        return self.send(frame, len(commands), until).replies()

    def limit(self, link: _Link, until: float) -> None:
        """Let the socket wait no longer than until a time, and no longer than the budget."""
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("no answer in time")
        wanted_s = self.budget_s if left_s >= _NEARLY * self.budget_s else left_s
        if link.socket.gettimeout() != wanted_s:
            link.socket.settimeout(wanted_s)

    def drop(self, link: _Link, error: OSError) -> None:
        """Give up a connection; the next command opens another one."""
        if self._link is link:
            self._link = None
        link.give_up(error)

    def close(self) -> None:
        """Close the connection."""
        link = self._link
        if link is not None:
            self.drop(link, ConnectionAbortedError("the store was closed"))
            link.bury()
