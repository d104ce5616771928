"""What the tests of crews send to nodes: they find it by its name, so that it is in a module."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def die_once(work, mark, task):
    """Do a share; the first process that has done one dies before anybody knows of it."""
    made = work(task)
    try:
        Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return made
    os.kill(os.getpid(), signal.SIGKILL)
    return None


def fail(_task):
    raise ValueError("of its own")


def last(mark):
    """Say that it has begun, and go on for longer than any test."""
    Path(mark).touch()
    time.sleep(600)


def where(pause_s):
    """Return the node that does this, after a while in which the other share finds it busy."""
    import ray  # noqa: PLC0415  (only nodes have it loaded)

    time.sleep(pause_s)
    return ray.get_runtime_context().get_node_id()
