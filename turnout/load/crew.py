"""The processes of a load: they are started together, begin at one instant, and their tallies are added."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from turnout.load.plan import Plan, write_bodies
from turnout.load.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

BEGIN_S = 0.1
"""From when all are ready until all begin."""


class LoadFailedError(Exception):
    """A process of the load ended before it told its tally."""


class Crew:
    """The processes of one load; a context manager, which ends them.

    Parameters
    ----------
    plan
        The load; where its requests are is said here.
    bodies
        The requests.
    """

    def __init__(self, plan: Plan, bodies: Sequence[bytes]) -> None:
        self._stack = ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="turnout-load-")))
        write_bodies(folder / "bodies", bodies)
        self.plan = replace(plan, bodies=str(folder / "bodies"))
        (folder / "plan.json").write_text(self.plan.text())
        command = [sys.executable, "-m", "turnout.load.sender", str(folder / "plan.json")]
        self._processes = [
            subprocess.Popen([*command, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603  (this interpreter)
            for place in range(plan.processes)
        ]
        self._so_far = [(0, 0)] * plan.processes
        self._tallies: list[Tally | None] = [None] * plan.processes
        self._readers = [threading.Thread(target=self._read, args=(place,)) for place in range(plan.processes)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None and not any(reader.is_alive() for reader in self._readers):
                    pipe.close()
        self._stack.close()

    def begin(self) -> None:
        """Let all processes begin, once each has its connections."""
        for process in self._processes:
            self._heard(process)
        began_ns = time.monotonic_ns() + round(BEGIN_S * 1e9)
        for process in self._processes:
            assert process.stdin is not None  # noqa: S101  (it was opened)
            process.stdin.write(f"{began_ns}\n")
            process.stdin.flush()
        for reader in self._readers:
            reader.start()

    @property
    def is_running(self) -> bool:
        """Whether a process has not told its tally yet."""
        return any(reader.is_alive() for reader in self._readers)

    def so_far(self) -> tuple[int, int]:
        """Return how many calls ended, and how many of them failed."""
        return sum(calls for calls, _ in self._so_far), sum(failed for _, failed in self._so_far)

    def tally(self) -> Tally:
        """Return what became of all calls, once the load is over, or raise LoadFailedError."""
        whole = Tally()
        for reader in self._readers:
            reader.join()
        for tally in self._tallies:
            if tally is None:
                raise LoadFailedError("a process of the load generator died; its error is above")
            whole.add(tally)
        return whole

    def _read(self, place: int) -> None:
        while self._tallies[place] is None and (line := self._line(self._processes[place])):
            told = json.loads(line)
            if "tally" in told:
                self._tallies[place] = Tally.of_document(told["tally"])
            else:
                self._so_far[place] = tuple(told["so_far"])

    def _heard(self, process: subprocess.Popen[str]) -> None:
        if not self._line(process):
            raise LoadFailedError("a process of the load generator did not start; its error is above")

    @staticmethod
    def _line(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None  # noqa: S101  (it was opened)
        return process.stdout.readline()
