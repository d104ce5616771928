"""Erasing a unit's or an entity's events: asked for once, done for all that was recorded by then.

What is asked for is written down before anything is erased, and struck out when no segment is left that a worker may
have written some of it to. Until then each run of the compactor erases again what has become Parquet meanwhile.
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import msgspec

from gateway.journal.commits import write_durably
from gateway.journal.rewriting import Erasure, Rewriter, Subject
from gateway.journal.segment import list_segments, sync_folder
from storage.errors import InvalidError
from storage.revision import record_change

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.control.sharing import Sharing
    from gateway.journal.commits import EventFolders
    from storage.clock import Clock
    from storage.database import Database

TEXT_CHARS_MAX = 1024


class ErasureInvalidError(InvalidError):
    """An erasure names a unit or an entity, and a reason."""

    reason = "ERASURE_INVALID"


class Asked(msgspec.Struct, frozen=True):
    """An erasure that was asked for.

    Attributes
    ----------
    subject
        Whose events.
    machine_us
        When, by the time that segments are named by.
    requests
        Predictions of the subject that other gateways know of.
    """

    subject: Subject
    machine_us: int
    requests: tuple[str, ...] = ()


class Erasures:
    """The erasures of a state folder that are not done throughout. The caller holds the compactor's lock."""

    def __init__(self, folders: EventFolders) -> None:
        self._folders = folders
        self._path = folders.events / "erasures.json"

    def pending(self) -> list[Asked]:
        """Return what is asked for and may not be done."""
        if not self._path.exists():
            return []
        return msgspec.json.decode(self._path.read_bytes(), type=list[Asked])

    def ask(self, subject: Subject, requests: Sequence[str] = ()) -> None:
        """Write an erasure down."""
        self._keep([*self.pending(), Asked(subject, time.time_ns() // 1000, tuple(requests))])

    def erase(self, rewriter: Rewriter) -> None:
        """Erase what is Parquet by now, and strike out what is done."""
        pending = self.pending()
        if not pending:
            return
        oldest_us = min((each.created_us for each in list_segments(self._folders.journal)), default=2**62)
        for asked in pending:
            rewriter.erase(asked.subject, requests=asked.requests)
        self._keep([asked for asked in pending if oldest_us <= asked.machine_us])

    def _keep(self, asked: list[Asked]) -> None:
        write_durably(self._path, msgspec.json.encode(asked))
        sync_folder(self._folders.events)


class Eraser:
    """Erases on request, and says so in the audit.

    Parameters
    ----------
    database, clock
        Where it is audited, and by what time.
    tend
        Runs the compactor once, with the function in the middle of it.
    sharing
        This gateway's part in a log that several share; None: it has its own.
    """

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        tend: Callable[[Callable[[Rewriter, Erasures], None]], object],
        sharing: Sharing | None = None,
    ) -> None:
        self._sharing = sharing
        self._database = database
        self._clock = clock
        self._tend = tend

    def erase(self, subject: Subject, *, reason: str, actor: str, dry_run: bool) -> tuple[Erasure, bool]:
        """Return what is erased, and whether segments that are still written may hold more.

        Raises
        ------
        ErasureInvalidError
            No unit and no entity is named, or no reason.
        CompactorBusyError
            Another process compacts.
        ObjectsUnreachableError
            The bucket that the gateways share cannot be told: then nothing is erased.
        """
        if not (subject.unit_id or (subject.key and subject.value)):
            raise ErasureInvalidError("an erasure names a `unit_id`, or an `entity` with key and value")
        if not reason or len(reason) > TEXT_CHARS_MAX:
            raise ErasureInvalidError(f"an erasure has a `reason` of 1 to {TEXT_CHARS_MAX} characters")
        now_us = self._clock.now_us()
        dated = Subject(subject.unit_id, subject.key, subject.value, until_us=now_us)
        found: list[Erasure] = []
        left: list[bool] = []

        def work(rewriter: Rewriter, erasures: Erasures) -> None:
            found.append(rewriter.erase(dated, dry_run=True))
            if not dry_run:
                if self._sharing is not None:
                    self._sharing.ask(dated)
                self._audit(dated, found[0], reason=reason, actor=actor, now_us=now_us)
                if self._sharing is not None:
                    self._sharing.exchange(erasures)
                else:
                    erasures.ask(dated)
                    erasures.erase(rewriter)
            left.append(bool(erasures.pending()))

        self._tend(work)
        return found[0], left[0]

    def _audit(self, subject: Subject, found: Erasure, *, reason: str, actor: str, now_us: int) -> None:
        """Write down who erased how much and why; of whom, only as a digest, since the audit is not erased."""
        name = subject.unit_id or f"{subject.key}={subject.value}"
        with self._database.write() as tx:
            record_change(
                tx,
                kind="events.erased",
                resource="events",
                actor=actor,
                detail={
                    "subject": "unit" if subject.unit_id else f"entity {subject.key}",
                    "sha256": hashlib.sha256(name.encode()).hexdigest(),
                    "reason": reason,
                    "predictions": found.predictions,
                    "outcomes": found.outcomes,
                    "shadows": found.shadows,
                    "files": found.files,
                },
                now_us=now_us,
            )
