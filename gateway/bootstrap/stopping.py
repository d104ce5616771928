"""Being asked to stop, by a signal or by another thread."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_HEARD_BYTES_MAX = 4096
_MS_PER_S = 1000


class StopRequest:
    """What a process's main thread waits for.

    Notes
    -----
    A signal's handler runs in the main thread between any two instructions, those of a wait included. It must not set a
    ``threading.Event`` that the main thread waits for: the wait holds the event's lock for moments, and a handler that
    comes in one of them waits for that lock for ever. Nor is a queue enough: a signal that comes just before the wait
    goes to sleep does not wake it. A byte in a socket does both, and the interpreter writes it when the signal comes.
    """

    def __init__(self) -> None:
        self._ear, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)
        self._heard = select.poll()
        self._heard.register(self._ear, select.POLLIN)
        self._is_asked = False
        self._on_signals = False

    @property
    def is_asked(self) -> bool:
        """Whether somebody asked."""
        return self._is_asked

    def ask(self) -> None:
        """Ask to stop; from any thread, as often as one likes."""
        self._is_asked = True
        with contextlib.suppress(BlockingIOError):  # full of wake-ups: one more is not needed
            self._mouth.send(b"\0")

    def ask_on(self, *signals: signal.Signals) -> None:
        """Make these signals ask; for the main thread, and one request in a process."""
        self._on_signals = True
        signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
        for number in signals:
            signal.signal(number, self._handle)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Return whether somebody asked, at the latest when the time has passed; without one, when somebody asks."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._is_asked:
            left_ms = None if until is None else max(0.0, (until - time.monotonic()) * _MS_PER_S)
            if not self._heard.poll(left_ms):
                break
            self._ear.recv(_HEARD_BYTES_MAX)  # some signal: its handler has run when this is done
        return self._is_asked

    def close(self) -> None:
        """Listen no more; signals that ask go on being heard by `is_asked`. For the main thread."""
        if self._on_signals:
            signal.set_wakeup_fd(-1)
        self._ear.close()
        self._mouth.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._is_asked = True
