"""What those see who follow the registry: whole snapshots, one at a time, shared by all of them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.models import list_models
from registry.versions import versions_of
from storage.revision import current_revision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from registry.records import Model, Version
    from storage.database import Database

POLL_INTERVAL_S = 0.25
"""How often the database is looked at without having been told, once for all who wait; for what others changed."""
_PAGE_MAX = 500


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All models that are not deleted, with the versions that their aliases name, at one revision."""

    revision: int
    models: Sequence[tuple[Model, Sequence[Version]]]


class Snapshots:
    """Makes a snapshot when somebody waits for it and the revision has risen.

    Parameters
    ----------
    database
        What is followed.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = threading.Lock()
        self._revision = -1
        self._looked_s = 0.0
        self._snapshot: Snapshot | None = None
        self._told = threading.Condition()
        self._commits = 0
        self._closed = False
        database.on_commit(self._tell)

    @property
    def closed(self) -> bool:
        """Whether there will be no more."""
        return self._closed

    @property
    def revision(self) -> int:
        """The newest revision that was seen."""
        return self._revision

    def newer_than(self, revision: int, *, within_s: float) -> Snapshot | None:
        """Return the newest snapshot as soon as it is newer than a revision; None when there was none in that time."""
        until = time.monotonic() + within_s
        while True:
            with self._told:
                commits = self._commits
            if self._look() > revision and not self._closed:
                return self._newest()
            left_s = until - time.monotonic()
            if left_s <= 0 or self._closed:
                return None
            with self._told:
                if self._commits == commits:
                    self._told.wait(min(left_s, POLL_INTERVAL_S))

    def close(self) -> None:
        """Let nobody wait any more, and leave the database alone from then on."""
        with self._turn:
            self._closed = True
        self._tell()

    def _tell(self) -> None:
        with self._told:
            self._commits += 1
            self._told.notify_all()

    def _look(self) -> int:
        """Return the revision, looked up unless somebody else just did."""
        asked_s = time.monotonic()
        with self._turn:
            if self._looked_s <= asked_s and not self._closed:
                with self._database.read() as tx:
                    self._revision = current_revision(tx)
                self._looked_s = time.monotonic()
            return self._revision

    def _newest(self) -> Snapshot | None:
        with self._turn:
            if not self._closed and (self._snapshot is None or self._snapshot.revision < self._revision):
                with self._database.read() as tx:
                    self._snapshot = take(tx)
                self._revision = self._snapshot.revision
            return self._snapshot


def take(tx: Connection) -> Snapshot:
    """Return the snapshot of a transaction."""
    models: list[tuple[Model, Sequence[Version]]] = []
    after = ""
    while page := list_models(tx, after=after, limit_max=_PAGE_MAX):
        after = page[-1].id
        for model in page:
            named = {alias.version for alias in model.aliases}
            models.append((model, versions_of(tx, model.id, named) if named else ()))
    return Snapshot(current_revision(tx), models)
