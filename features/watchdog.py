"""Ends a query that runs too long or spills too much.

DuckDB has no limit on time, and its own limit on the size of the folder that it spills to is not kept by a sort whose
result is streamed (seen with 2.0: 270 MB under a limit of 50 MB). So a thread looks, and interrupts.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOOK_INTERVAL_MS = 100


@contextlib.contextmanager
def watched(interrupt: Callable[[], None], *, run_ms_max: int, folder: str, folder_bytes_max: int) -> Iterator[None]:
    """Call `interrupt`, again and again, when the body takes longer or the folder grows larger than it may."""
    done = threading.Event()
    give_up = time.monotonic() + run_ms_max / 1000

    def look() -> None:
        while not done.wait(min(LOOK_INTERVAL_MS, run_ms_max) / 1000):
            if time.monotonic() > give_up or _bytes_in(folder) > folder_bytes_max:
                interrupt()

    thread = threading.Thread(target=look, name="offline-watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _bytes_in(folder: str) -> int:
    """Return the length of the folder's files; those that go away meanwhile do not count."""
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                total += entry.stat().st_size
    return total
