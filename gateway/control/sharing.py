"""What several gateways do together with their events: ship, fetch, erase everywhere, drop what is old."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from gateway.journal.columns import SCHEMA_NUMBER
from gateway.journal.commits import Part
from gateway.journal.rewriting import KEYS, Rewriter, day_of, is_erased
from gateway.journal.shared.entries import Entry, ErasureDone, Replaced
from gateway.journal.shared.files import written_anew

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.control.erasing import Erasures
    from gateway.journal.commits import Commit, EventFolders
    from gateway.journal.rewriting import Subject
    from gateway.journal.shared.entries import Shipped, ShippedPart
    from gateway.journal.shared.index import SharedErasure
    from gateway.journal.shared.shared import SharedLog


@dataclass(frozen=True, slots=True)
class SharingFacts:
    """What sharing did since the process began, and what waits.

    Attributes
    ----------
    shipped, fetched
        How many segments.
    failed
        How many exchanges failed.
    waiting, waiting_bytes
        How many segments that are Parquet here are not in the bucket, and how long they are.
    erasures_open
        How many erasures some gateway has not confirmed for what it had shipped.
    """

    shipped: int = 0
    fetched: int = 0
    failed: int = 0
    waiting: int = 0
    waiting_bytes: int = 0
    erasures_open: int = 0


class Sharing:
    """What one gateway does in the shared log. The caller holds the compactor's lock.

    Parameters
    ----------
    folders
        Where this gateway's events are.
    log
        The shared log.
    """

    def __init__(self, folders: EventFolders, log: SharedLog) -> None:
        self._folders = folders
        self._log = log
        self._removed: set[str] = set()
        self.facts = SharingFacts()

    def exchange(self, erasures: Erasures) -> None:
        """Ship what is here, fetch what others shipped, and do the erasures that they asked for.

        Erasures come first: what is to be erased is not shipped.
        """
        self._log.learn()
        pending = [asked.subject for asked in erasures.pending()]
        for erasure in self._log.index.erasures:
            self._hold(erasure, erasures, again=erasure.subject in pending)
        erasures.erase(Rewriter(self._folders))
        shipped = self._log.ship(Rewriter(self._folders).parts)
        fetched = self._log.fetch()
        self._erase_late(fetched, erasures)
        self._remove_replaced()
        self._count(shipped, len(fetched))

    def ask(self, subject: Subject) -> None:
        """Have every gateway erase a subject's events, this one too with its next exchange."""
        self._log.say(Entry(erasure=subject))

    def apart(self) -> set[str]:
        """Return the files that may not be merged yet."""
        return self._log.unshipped_paths(Rewriter(self._folders).parts)

    def retire(self, days: Mapping[str, int], now_us: int) -> int:
        """Remove from the bucket what this gateway shipped and is older than so many days; return how many objects."""
        today = datetime.fromtimestamp(now_us / 1e6, UTC).date()
        first = {kind: (today - timedelta(days=kept)).isoformat() for kind, kept in days.items() if kept}
        old = [
            part.key
            for _, part in self._own_parts()
            if part.part.kind in first and day_of(part.part.path) < first[part.part.kind]
        ]
        if old:
            self._log.say(Entry(retired=tuple(old)))
            self._remove_replaced()
        return len(old)

    def count_failure(self) -> None:
        """Say what waits after an exchange that failed."""
        self.facts = replace(self.facts, failed=self.facts.failed + 1)
        self._count(0, 0)

    def _hold(self, erasure: SharedErasure, erasures: Erasures, *, again: bool) -> None:
        """Make an erasure hold here and for what this gateway shipped, and say so; once, unless more becomes known.

        Its predictions are looked for before they go: outcomes at other gateways may name them. `again` asks to look
        for predictions that have become Parquet since it was held.
        """
        known = self._log.index.requests(erasure)
        held = self._log.index.done[erasure.gateway, erasure.number].get(self._log.gateway)
        if held is not None and known <= held and not again:
            return
        rewriter = Rewriter(self._folders)
        requests = known | rewriter.requests_of(erasure.subject)
        if held is not None and requests <= held:
            return
        gone = pa.array(sorted(requests), pa.string())
        replaced = [
            each
            for shipped, part in self._own_parts()
            if shipped.first_time_us <= erasure.subject.until_us
            and (each := self._without(erasure, shipped, part, gone)) is not None
        ]
        erasures.ask(erasure.subject, sorted(requests))
        done = ErasureDone(erasure.gateway, erasure.number, tuple(replaced), tuple(sorted(requests)))
        self._log.say(Entry(done=done))

    def _without(self, erasure: SharedErasure, shipped: Shipped, part: ShippedPart, gone: pa.Array) -> Replaced | None:
        """Put a part anew without a subject's events, and return what took its place; None when it has none of them."""
        kind = part.part.kind
        if not KEYS.get(kind):
            return None
        with tempfile.TemporaryDirectory(prefix="turnout-erasing-") as folder:
            before, after = Path(folder) / "before", Path(folder) / "after"
            if not self._log.get_part(part, before):
                return None

            def keep(table: pa.Table) -> pa.Table:
                return table.filter(pc.invert(is_erased(kind, table, erasure.subject, gone)))

            rows = written_anew(kind, before, after, keep=keep)
            if rows == part.part.rows:
                return None
            if not rows:
                return Replaced(part.key, None)
            anew = Part(kind, part.part.path, rows)
            # One name for each erasure, and for each time that more of its predictions became known.
            suffix = f".{erasure.gateway}-{erasure.number}-{len(gone)}"
            by = self._log.put_part(shipped.segment, anew, after, schema=SCHEMA_NUMBER, suffix=suffix)
            return Replaced(part.key, by)

    def _erase_late(self, fetched: list[Commit], erasures: Erasures) -> None:
        """Erase again where what was fetched is from before an erasure: its gateway may not have known of it."""
        earliest = min((commit.first_time_us for commit in fetched), default=2**62)
        late = [each for each in self._log.index.erasures if each.subject.until_us >= earliest]
        for erasure in late:
            erasures.ask(erasure.subject, sorted(self._log.index.requests(erasure)))
        if late:
            erasures.erase(Rewriter(self._folders))

    def _own_parts(self) -> Iterator[tuple[Shipped, ShippedPart]]:
        """Yield what this gateway shipped and stands in the bucket."""
        for gateway, shipped in self._log.index.shipped.values():
            if gateway == self._log.gateway:
                yield from ((shipped, part) for part in self._log.index.parts(shipped))

    def _remove_replaced(self) -> None:
        """Remove what this gateway replaced; again at each start, since it may have been killed in between."""
        keys = [key for key in self._log.index.replaced_keys(self._log.gateway) if key not in self._removed]
        self._log.remove(keys)
        self._removed.update(keys)

    def _count(self, shipped: int, fetched: int) -> None:
        waiting = self._log.unshipped()
        paths = self._log.unshipped_paths(Rewriter(self._folders).parts)
        index = self._log.index
        gateways = {gateway for gateway, _ in index.shipped.values()}
        self.facts = replace(
            self.facts,
            shipped=self.facts.shipped + shipped,
            fetched=self.facts.fetched + fetched,
            waiting=len(waiting),
            waiting_bytes=sum((self._folders.events / path).stat().st_size for path in paths),
            erasures_open=len({each for gateway in gateways for each in index.open_for(gateway)}),
        )
