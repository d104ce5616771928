"""Scheduling of the native front's own threads.

Each answer wakes one of them. Where they share a core with the pipeline, an ordinary thread that is woken takes it
at once: every single answer then costs two switches and a write of its own. Threads of the batch class do not take the
core from one that runs, so the front sends the answers of a wave together when the pipeline waits again. On a core of
their own they run at once as before.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_TASKS = Path("/proc/self/task")


def threads_of_process() -> set[int]:
    """Return the kernel's numbers of this process's threads; none where the kernel does not list them."""
    try:
        return {int(entry.name) for entry in _TASKS.iterdir()}
    except OSError:
        return set()


def yield_to_python(threads: Iterable[int]) -> None:
    """Put threads into the batch class, where the platform has it; one that has ended meanwhile is passed over."""
    if sys.platform != "linux":
        return
    for thread in threads:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))
