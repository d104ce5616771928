"""Views in Python: functions of the operator's own modules, called by name in a process of their own.

A definition names `module:function`. The module is one of the folder that the operator gave the gateway, never text of
a definition; what it was when the definition was applied is recorded by its hash, and another is not run.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.errors import CodeChangedError, CodeFailedError, CodeMissingError, OfflineQueryError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

REFERENCE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "VIRTUAL_ENV")
_SAID_MAX = 300


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a function.

    Attributes
    ----------
    view, reference, digest
        For which view; `module:function`; what the code was when the definition was applied.
    inputs
        The tables that it takes, by name, each as a Parquet file.
    output
        Where its result is written, as Parquet.
    since, until
        The bounds that it may use to compute less.
    """

    view: str
    reference: str
    digest: str
    inputs: Sequence[tuple[str, Path]]
    output: Path
    since: datetime
    until: datetime


class CodeFolder:
    """The operator's modules.

    Parameters
    ----------
    folder
        Where they lie; None: there are none, and definitions that name some are refused.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def digest(self, reference: str) -> str:
        """Return the sha256 of a function's name and its top-level module's files, or raise CodeMissingError."""
        if self._folder is None:
            raise CodeMissingError(
                f"{reference!r} is Python, and this gateway has none: start it with --feature-code DIR", code=reference
            )
        top = reference.partition(":")[0].partition(".")[0]
        single, package = self._folder / f"{top}.py", self._folder / top
        files = sorted(package.rglob("*.py")) if package.is_dir() else [single] if single.is_file() else []
        if not files:
            raise CodeMissingError(f"there is no module {top!r} in the folder of --feature-code", code=reference)
        digest = hashlib.sha256(reference.encode())
        for path in files:
            digest.update(f"\0{path.relative_to(self._folder).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def run(self, call: Call, *, memory_bytes_max: int, run_ms_max: int) -> None:
        """Call the function and write its result.

        Raises
        ------
        CodeMissingError, CodeChangedError
            It is not there, or not what it was when the definition was applied.
        CodeFailedError
            It raised, or gave no table.
        OfflineQueryError
            It took too long.
        """
        if self.digest(call.reference) != call.digest:
            raise CodeChangedError(
                f"view {call.view}: its code has changed since it was applied: apply the definitions again",
                view=call.view,
            )
        bounds = (call.since.isoformat(), call.until.isoformat())
        inputs = [f"{name}={path}" for name, path in call.inputs]
        command = [sys.executable, "-m", "features.compute", str(self._folder), call.reference]
        try:
            done = subprocess.run(  # noqa: S603  our own module, on paths that we made
                [*command, str(memory_bytes_max), str(call.output), *bounds, *inputs],
                env={name: os.environ[name] for name in _KEPT if name in os.environ},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=run_ms_max / 1000,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise OfflineQueryError(f"view {call.view}: its code took longer than {run_ms_max} ms") from error
        if done.returncode != 0 or not call.output.is_file():
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            said = lines[-1][:_SAID_MAX] if lines else f"exit {done.returncode}"
            raise CodeFailedError(f"view {call.view}: its code failed: {said}", view=call.view)
