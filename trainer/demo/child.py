"""Child processes of the demo: commands go in, reports come out, a JSON object a line."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

from trainer.demo.errors import ChildFailedError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

_STOP_TIMEOUT_S = 20
_LOG_CHARACTERS_MAX = 2_000
# One thread a library: the cores belong to the gateway's workers.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")


class Child:
    """A module of the demo in a process of its own; ended when the context is left.

    Parameters
    ----------
    module
        What `python -m` runs.
    arguments
        Its arguments.
    log
        Where its standard error goes.
    """

    def __init__(self, module: str, arguments: Sequence[str], *, log: Path) -> None:
        self._module = module
        self._log = log
        self._reports: queue.Queue[dict[str, Any]] = queue.Queue()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(  # noqa: S603  our own module
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | _ONE_THREAD,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def tell(self, **command: object) -> None:
        """Send a command, or raise ChildFailedError when nobody listens."""
        stream = self._process.stdin
        if stream is None or stream.closed:
            raise self._failure()
        try:
            stream.write(json.dumps(command) + "\n")
            stream.flush()
        except BrokenPipeError as error:
            raise self._failure() from error

    def reports(self) -> list[dict[str, Any]]:
        """Return the reports that have come since the last call, or raise ChildFailedError when the process failed."""
        ended = self.ended
        if ended:
            self._reader.join()
        come = []
        while not self._reports.empty():
            come.append(self._reports.get())
        if ended and self._process.returncode != 0:
            raise self._failure()
        return come

    @property
    def ended(self) -> bool:
        """Whether the process is over."""
        return self._process.poll() is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and not self.ended:
            self._process.kill()
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._reports.put(json.loads(line))

    def _failure(self) -> ChildFailedError:
        """Return the error that says how the process ended."""
        said = self._log.read_text(errors="replace")[-_LOG_CHARACTERS_MAX:]
        return ChildFailedError(f"{self._module} failed:\n{said}", module=self._module, code=self._process.poll())
