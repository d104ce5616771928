"""Following the database: whenever its revision rises, the whole desired set is written and the workers are told."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from gateway.control.desired import desired_document, newest_table, write_table
from gateway.errors import DatabaseBehindError
from storage.errors import DomainError, UnavailableError
from storage.revision import current_revision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from gateway.control.wakeups import Wakeups
    from registry.artifacts import ArtifactStore
    from storage.database import Database

POLL_INTERVAL_S = 0.25
"""How often the database is looked at without having been told; for what another process changed."""
POLL_TOLD_INTERVAL_S = 1.0
"""The same while other gateways say what they change: for a message that was lost."""
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
    wakeups
        What tells other gateways, and is told by them; None: all look.
    stale_max_s
        After how long without the database's word nothing more is to be answered; 0: what is known is served for ever.
    set_stale
        Is told when that begins, and when it ends.
    """

    def __init__(
        self,
        *,
        database: Database,
        artifacts: ArtifactStore,
        folder: Path,
        previous_max: int,
        announce: Callable[[Path], None],
        wakeups: Wakeups | None = None,
        stale_max_s: float = 0.0,
        set_stale: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._folder = folder
        self._previous_max = previous_max
        self._announce = announce
        self._wakeups = wakeups
        self._stale_max_s = stale_max_s
        self._set_stale = set_stale
        self._stale = False
        self._written = -1
        self._newest: Path | None = None
        self._kept = newest_table(folder)
        self._woken = threading.Event()
        self._stopped = False
        self._lacking: set[str] = set()
        self._silent_since_us = 0
        self._silent_since_s = 0.0

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

    def begin(self) -> None:
        """Publish for the first time: what this gateway served before, where the database does not know it yet."""
        try:
            self.publish()
        except DatabaseBehindError as error:
            self._silent(error)

    def publish(self) -> None:
        """Write and announce the desired set unless it is written already.

        Raises
        ------
        DatabaseBehindError
            The database's revision is older than one that was served here; that one goes on being served.
        """
        with self._database.read() as tx:
            revision = current_revision(tx)
            if revision == self._written:
                return
            self._check_not_behind(revision)
            if self._wakeups is not None:
                self._wakeups.say(revision)
            document = desired_document(tx, self._artifacts, previous_max=self._previous_max)
        self._bring(document)
        self._newest = write_table(self._folder, document)
        self._written = document["revision"]
        self._announce(self._newest)

    def _check_not_behind(self, revision: int) -> None:
        """Raise DatabaseBehindError where a later revision than this one was served here, after seeing that it is."""
        kept_revision, kept = self._kept
        if self._written < 0 and kept is not None and revision < kept_revision:
            self._written, self._newest = kept_revision, kept
            self._announce(kept)
        if revision < self._written:
            raise DatabaseBehindError(
                f"the database is at revision {revision}, and this gateway has served {self._written}: it is a copy "
                "that lags, or one that was brought back; what was served goes on being served until it is past that",
                revision=revision,
                served=self._written,
            )

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
            told = self._wakeups is not None and self._wakeups.listening
            self._woken.wait(POLL_TOLD_INTERVAL_S if told else POLL_INTERVAL_S)
            self._woken.clear()
            try:
                self.publish()
                self._heard()
                self._bring_lacking()
            except UnavailableError as error:
                self._silent(error)
                self._woken.wait(RETRY_INTERVAL_S)
            except Exception:  # noqa: BLE001  (the thread must outlive whatever it is)
                _log.exception("the desired set cannot be written; trying again")
                self._woken.wait(RETRY_INTERVAL_S)

    def _silent(self, error: UnavailableError) -> None:
        """Note that nothing is heard of the database; past the limit, let nothing be answered."""
        if not self._silent_since_us:
            self._silent_since_us, self._silent_since_s = time.time_ns() // 1000, time.monotonic()
            _log.warning("what is served stays as it is until the database answers: %s", error.message)
        if self._stale_max_s and not self._stale and time.monotonic() - self._silent_since_s > self._stale_max_s:
            _log.error("nothing was heard of the database for %g s: predictions are refused", self._stale_max_s)
            self._stale = True
            self._set_stale(True)

    def _heard(self) -> None:
        """Note that the database answers."""
        self._silent_since_us = 0
        if self._stale:
            _log.warning("the database answers again: predictions are answered")
            self._stale = False
            self._set_stale(False)

    def close(self) -> None:
        """Let `run` return."""
        self._stopped = True
        self._woken.set()
