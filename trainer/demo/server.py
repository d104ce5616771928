"""The real gateway, started as anybody would start it: `turnout serve`."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from trainer.demo.errors import ServerFailedError

if TYPE_CHECKING:
    from types import TracebackType

_READY_TIMEOUT_S = 60
_STOP_TIMEOUT_S = 45
_POLL_S = 0.05
_LOG_CHARACTERS_MAX = 3_000


class Server:
    """A gateway on free ports and the replay clock; stopped when the context is left.

    Parameters
    ----------
    state
        Its state folder.
    workers
        How many data-plane workers.
    log
        Where its output goes.

    Attributes
    ----------
    data, control
        Its addresses, `host:port`, once the context is entered.
    exit_code
        How it ended; None before.
    """

    def __init__(self, state: Path, *, workers: int, log: Path) -> None:
        self.data = self.control = ""
        self.exit_code: int | None = None
        self._log = log
        self._ready = state / "ready.json"
        self._ready.unlink(missing_ok=True)
        command = [*turnout(), "serve", "--state", str(state), "--workers", str(workers), "--clock", "replay"]
        for port in ("--data-port", "--http-port", "--control-port"):
            command += [port, "0"]
        self._command = [*command, "--ready-file", str(self._ready)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)  # noqa: S603  our own command
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not self._ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._stop()
                raise self._failure("did not get ready")
            time.sleep(_POLL_S)
        ready = json.loads(self._ready.read_text())
        self.data, self.control = _address(ready["data"]), _address(ready["control"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def check(self) -> None:
        """Raise ServerFailedError when the gateway has ended."""
        if self._process is None or self._process.poll() is not None:
            raise self._failure("ended")

    def _stop(self) -> None:
        """Ask the gateway to finish, and wait for it."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self.exit_code = self._process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.exit_code = self._process.wait()

    def _failure(self, what: str) -> ServerFailedError:
        said = self._log.read_text(errors="replace")[-_LOG_CHARACTERS_MAX:]
        return ServerFailedError(f"the gateway {what}:\n{said}", what=what)


def turnout() -> list[str]:
    """Return the command of the environment that runs this, or raise ServerFailedError when it has none."""
    beside = Path(sys.executable).with_name("turnout")
    script = str(beside) if beside.exists() else shutil.which("turnout")
    if script is None:
        raise ServerFailedError("the command `turnout` is not installed beside this Python", python=sys.executable)
    return [script]


def _address(port: object) -> str:
    """Return `host:port` of what the ready file says: an address, or a port alone."""
    return str(port) if ":" in str(port) else f"127.0.0.1:{port}"
