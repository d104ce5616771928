"""A published file is tried in a child process, and the child's finding becomes a signature or an error."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

from gateway.errors import CheckCrashedError, CheckTimedOutError, OverloadedError, VersionUnloadableError
from registry import errors
from registry.deployment import Deployment
from registry.versions import signature_from

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from registry.records import Signature
    from storage.errors import DomainError

_REFUSALS: dict[str, type[DomainError]] = {
    kind.reason: kind
    for kind in (
        errors.ExternalDataError,
        errors.GraphInvalidError,
        errors.GraphUnreadableError,
        errors.OpsetUnknownError,
        errors.OutputNotTensorError,
        errors.ProbeDisagreesError,
        errors.ProbeInvalidError,
        errors.ProbeRunError,
        errors.TensorTypeError,
        VersionUnloadableError,
    )
}


class Trial:
    """Tries published files, a few at a time.

    Parameters
    ----------
    timeout_s
        How long one file may take to load and to replay its probe rows.
    at_once_max
        How many are tried at the same time; more wait.
    wait_s
        How long one waits for its turn.
    """

    __slots__ = ("_timeout_s", "_turns", "_wait_s")

    def __init__(self, *, timeout_s: float = 120.0, at_once_max: int = 2, wait_s: float = 300.0) -> None:
        self._timeout_s = timeout_s
        self._wait_s = wait_s
        self._turns = threading.BoundedSemaphore(at_once_max)

    def signature(self, file: Path, probe: Path | None, deployment: Deployment | None = None) -> Signature:
        """Return the signature of a file that loads under the settings and agrees with its probe rows.

        Raises
        ------
        DomainError
            Why it is refused; each cause has its own kind in `registry.errors`.
        CheckTimedOutError, CheckCrashedError
            The child did not come to a finding.
        OverloadedError
            Too many files are being tried.
        """
        told = [str(file), "" if probe is None else str(probe), json.dumps((deployment or Deployment()).to_document())]
        finding = self._in_turn("gateway.models.check", told)
        if "signature" in finding:
            return signature_from(finding["signature"])
        kind = _REFUSALS.get(finding["reason"], errors.GraphInvalidError)
        raise kind(finding["message"], **finding["facts"])

    def difference(self, first: Path, second: Path, rows: Sequence[Path]) -> tuple[list[dict[str, Any]], str]:
        """Return how two graphs answer the same rows, by output, and why they could not be asked; empty when they were.

        Raises
        ------
        CheckTimedOutError, CheckCrashedError, OverloadedError
            As `signature`.
        """
        finding = self._in_turn("gateway.models.difference", [str(first), str(second), *map(str, rows)])
        return finding.get("outputs", []), finding.get("reason", "")

    def change(self, graph: Path, before: Path, after: Path) -> tuple[list[dict[str, Any]], str]:
        """Return how a graph's answers to two sets of rows differ, by output, and why it could not be asked."""
        finding = self._in_turn("gateway.models.change", [str(graph), str(before), str(after)])
        return finding.get("outputs", []), finding.get("reason", "")

    def _in_turn(self, module: str, arguments: list[str]) -> dict[str, Any]:
        if not self._turns.acquire(timeout=self._wait_s):
            raise OverloadedError("too many publications are being checked; try again")
        try:
            return self._run(module, arguments)
        finally:
            self._turns.release()

    def _run(self, module: str, arguments: list[str]) -> dict[str, Any]:
        command = [sys.executable, "-m", module, *arguments]
        try:
            done = subprocess.run(  # noqa: S603  our own module, on paths that we made
                command, capture_output=True, timeout=self._timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise CheckTimedOutError(
                f"the file did not load and answer its probe rows within {self._timeout_s:g} s",
                timeout_s=self._timeout_s,
            ) from error
        if done.returncode != 0:
            told = done.stderr.decode(errors="replace").strip().splitlines()
            raise CheckCrashedError(
                f"the file ended the process that tried it (exit {done.returncode}): {told[-1][:200] if told else ''}",
                exit_code=done.returncode,
            )
        finding: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return finding
