"""Trainers as anybody would start them: `turnout trainer`, a process and a folder each."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING, Self

from trainer.demo.server import turnout

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_POLL_S = 0.25
_STOP_TIMEOUT_S = 30
_NICENESS = 5  # predictions come first


class Trainers:
    """Trainers that work for a gateway while the context lasts.

    Parameters
    ----------
    control
        The gateway's control port, host:port.
    state
        Where their folders and logs go.
    count
        How many there are.
    """

    def __init__(self, control: str, state: Path, *, count: int) -> None:
        self._control = control
        self._state = state
        self._count = count
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for number in range(1, self._count + 1):
            folder = self._state / f"trainer-{number}"
            command = [*turnout(), "trainer", "--state", str(folder), "--server", self._control]
            with (self._state / f"trainer-{number}.log").open("ab") as log:
                self._processes.append(
                    subprocess.Popen(  # noqa: S603  our own command
                        ["nice", "-n", str(_NICENESS), *command, "--poll", str(_POLL_S)],  # noqa: S607  of the system
                        stdout=log,
                        stderr=log,
                        env=os.environ | {"OMP_NUM_THREADS": "1"},
                    )
                )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
