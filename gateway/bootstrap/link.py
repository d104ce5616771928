"""The line between the supervisor and a worker: JSON objects, one a line, over a socket pair.

The supervisor sends where the newest desired set is; the worker sends what it serves. When the other side dies, the
line ends: a worker without a supervisor drains and stops, so that nothing is left behind.
"""

from __future__ import annotations

import contextlib
import json
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator


class Link:
    """One end of the line. `send` may be called from several threads."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._reader = end.makefile("r", encoding="utf-8")
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> bool:
        """Send a message; return False when nobody is there any more."""
        data = (json.dumps(message) + "\n").encode()
        with self._lock:
            try:
                self._end.sendall(data)
            except OSError:
                return False
        return True

    def messages(self) -> Iterator[dict[str, Any]]:
        """Give the messages of the other side until the line ends."""
        with contextlib.suppress(OSError, ValueError):
            for line in self._reader:
                yield json.loads(line)

    def close(self) -> None:
        """End the line."""
        with contextlib.suppress(OSError):
            self._end.close()
