"""What works beside a control plane's ports, a thread each, until it is to stop."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

GRACE_S = 5.0


class Background:
    """Threads that end when ``stopped`` is set; what is still at work when the process ends, ends with it."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._awaited: list[threading.Thread] = []

    def start(self, name: str, work: Callable[[threading.Event], object], *, awaited: bool = False) -> None:
        """Give a piece of work a thread; what is ``awaited`` gets the time to finish what it has begun."""
        thread = threading.Thread(target=work, args=(self.stopped,), name=name, daemon=True)
        thread.start()
        if awaited:
            self._awaited.append(thread)

    def join(self) -> None:
        """Wait for what is awaited, some seconds each."""
        for thread in self._awaited:
            thread.join(GRACE_S)
