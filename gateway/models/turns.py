"""Loading by turns: of the workers on a machine only so many load at the same time as leave half of it to the calls."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Turns:
    """Turns that processes take, by locks on files: a process that dies gives its turn back.

    Parameters
    ----------
    folder
        Where the files are.
    turns_max
        How many processes may have a turn at a time; one for every two processors by default.
    """

    def __init__(self, folder: Path, turns_max: int | None = None) -> None:
        self._folder = folder
        self._turns_max = turns_max or max(1, len(os.sched_getaffinity(0)) // 2)

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn and have it for the time of the body."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            files = [
                stack.enter_context((self._folder / f"turn-{place}").open("w")) for place in range(self._turns_max)
            ]
            for file in files:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
            else:
                fcntl.flock(random.choice(files), fcntl.LOCK_EX)  # noqa: S311  (any of them will do)
            yield
