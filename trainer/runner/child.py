"""A child that does one step within its budget: time, memory, and the claim that it works under."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.errors import StepFailedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.records.policy import Budget

_POLL_S = 0.05
_LOG_CHARACTERS_MAX = 2_000
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# One thread a library: the cores are others' too.
_THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
_SECRETS = ("TURNOUT_",)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: its exit code, and the end of what it wrote to its log."""

    code: int
    log: str


def perform(step: str, folder: Path, budget: Budget, *, connected: bool, lost: Callable[[], bool]) -> Ended:
    """Let a child do a step and return how it ended.

    It is the leader of a session of its own, and it and all that it started are killed when the budget is used up, the
    claim is lost, or this process ends, however it ends.

    Parameters
    ----------
    step, folder
        What is done, and where.
    budget
        How long it may take, and how much memory.
    connected
        Whether it needs the gateway: only then does it get what this process shows to it.
    lost
        Whether the claim is lost.

    Raises
    ------
    StepFailedError
        The budget was used up.
    ClaimLostError
        The claim was lost meanwhile.
    """
    log = folder / f"{step}.log"
    until = time.monotonic() + budget.wall_time_s
    with log.open("wb") as said:
        process = subprocess.Popen(  # noqa: S603  our own module
            [sys.executable, "-m", "trainer.runner.work", step, str(folder), str(budget.memory_bytes)],
            stdin=subprocess.PIPE,  # its end tells the child that this process is gone
            stdout=said,
            stderr=said,
            start_new_session=True,
            env=_environment(connected=connected),
        )
        try:
            problem = _wait(process, until, budget, lost)
        finally:
            _kill(process)
    if problem:
        raise StepFailedError(f"the step '{step}' {problem}", step=step)
    return Ended(process.returncode, log.read_text(errors="replace")[-_LOG_CHARACTERS_MAX:])


def _wait(process: subprocess.Popen[bytes], until: float, budget: Budget, lost: Callable[[], bool]) -> str:
    """Wait until a child has ended by itself or must not go on, and return why it must not; empty when it may."""
    was_over = False
    while process.poll() is None:
        if lost():
            raise ClaimLostError
        if time.monotonic() > until:
            return f"took longer than {budget.wall_time_s} s"
        used = _memory_bytes(process.pid)
        is_over = used > budget.memory_bytes
        # One look is not enough: what starts another process counts twice until that runs a program of its own.
        if is_over and was_over:
            return f"took {used} bytes of memory, more than {budget.memory_bytes}"
        was_over = is_over
        time.sleep(_POLL_S)
    return ""


class ClaimLostError(Exception):
    """The run is another trainer's, or over."""


def _environment(*, connected: bool) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if connected or not name.startswith(_SECRETS)}
    return kept | _THREADS


def _memory_bytes(session: int) -> int:
    """Return what the processes of a session have in memory."""
    total = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError, ValueError):
            # Behind the name in parentheses: state, parent, group, session.
            if int((entry / "stat").read_text().rpartition(")")[2].split()[3]) == session:
                total += int((entry / "statm").read_text().split()[1]) * _PAGE_BYTES
    return total


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End the child and all that it started, and take leave of it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()
