"""Following the database: whenever its revision rises, the whole desired set is written and the workers are told."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from gateway.control.desired import desired_document, write_table
from storage.errors import DomainError, UnavailableError
from storage.revision import current_revision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from registry.artifacts import ArtifactStore
    from storage.database import Database

POLL_INTERVAL_S = 0.25
"""How often the database is looked at without having been told; for what another process changed."""
RETRY_INTERVAL_S = 1.0

_log = logging.getLogger(__name__)


class TablePublisher:
    """Writes a desired set for each new revision.

    Parameters
    ----------
    database, artifacts
        What is read.
    folder
        Where the desired sets go.
    previous_max
        How many champions before the present one are wanted of each model.
    announce
        Is told each new file; called on the publisher's thread.
    """

    def __init__(
        self,
        *,
        database: Database,
        artifacts: ArtifactStore,
        folder: Path,
        previous_max: int,
        announce: Callable[[Path], None],
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._folder = folder
        self._previous_max = previous_max
        self._announce = announce
        self._written = -1
        self._newest: Path | None = None
        self._woken = threading.Event()
        self._stopped = False
        self._lacking: set[str] = set()
        self._silent_since_us = 0

    @property
    def following(self) -> tuple[int, int]:
        """The newest revision that was seen, and since when, by the machine, the database is silent; 0: it answers."""
        return self._written, self._silent_since_us

    @property
    def written(self) -> int:
        """The revision of the newest desired set; -1 before the first."""
        return self._written

    @property
    def newest(self) -> Path | None:
        """The newest desired set; None before the first."""
        return self._newest

    def publish(self) -> None:
        """Write and announce the desired set unless it is written already."""
        with self._database.read() as tx:
            if current_revision(tx) == self._written:
                return
            document = desired_document(tx, self._artifacts, previous_max=self._previous_max)
        self._bring(document)
        self._newest = write_table(self._folder, document)
        self._written = document["revision"]
        self._announce(self._newest)

    def _bring(self, document: Mapping[str, Any]) -> None:
        """Bring the desired artifacts to this machine, where workers look for them.

        One that cannot be brought now is brought by a later try: workers try again too, and say so of the version.
        """
        wanted = {
            sha256
            for versions in document["versions"].values()
            for entry in versions.values()
            for sha256 in (entry["digest"], entry["probe_sha256"])
            if sha256
        }
        self._lacking = set()
        for sha256 in sorted(wanted):
            try:
                self._artifacts.path(sha256)
            except (DomainError, OSError) as error:
                self._lacking.add(sha256)
                _log.warning("the artifact %s cannot be brought here: %s", sha256, error)

    def _bring_lacking(self) -> None:
        """Try again what could not be brought."""
        for sha256 in sorted(self._lacking):
            with contextlib.suppress(DomainError, OSError):
                self._artifacts.path(sha256)
                self._lacking.discard(sha256)

    def wake(self) -> None:
        """Look at the database at once."""
        self._woken.set()

    def run(self) -> None:
        """Follow the database until `close`; a failure is logged and tried again."""
        while not self._stopped:
            self._woken.wait(POLL_INTERVAL_S)
            self._woken.clear()
            try:
                self.publish()
                self._silent_since_us = 0
                self._bring_lacking()
            except UnavailableError as error:
                if not self._silent_since_us:
                    self._silent_since_us = time.time_ns() // 1000
                    _log.warning("what is served stays as it is until the database answers: %s", error.message)
                self._woken.wait(RETRY_INTERVAL_S)
            except Exception:  # noqa: BLE001  (the thread must outlive whatever it is)
                _log.exception("the desired set cannot be written; trying again")
                self._woken.wait(RETRY_INTERVAL_S)

    def close(self) -> None:
        """Let `run` return."""
        self._stopped = True
        self._woken.set()
