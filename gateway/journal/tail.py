"""The newest events, and then each new one as it comes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gateway.journal.columns import SCHEMAS, lift

if TYPE_CHECKING:
    import pyarrow as pa

    from gateway.journal.commits import Commit
    from gateway.journal.live import TailView
    from gateway.journal.log import EventLog, Files

_REMEMBERED_MAX = 100_000
_IDENTITIES = {
    "predictions": ("request_id",),
    "outcomes": ("request_id", "unit_id", "model", "name", "outcome_id", "sequence"),
    "gaps": ("segment", "position"),
    "shadows": ("request_id", "version"),
}


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes
    ----------
    kind
        `predictions`, `outcomes`, `gaps` or `shadows`.
    time_us
        When it was recorded.
    row
        Its columns.
    """

    kind: str
    time_us: int
    row: dict[str, Any]

    @property
    def json(self) -> str:
        """The event as a JSON object; numbers that are not finite are null."""
        return msgspec.json.encode(self.row).decode()


class EventTail:
    """Follows one log for one reader.

    Parameters
    ----------
    log
        What is followed.
    model
        Only events that name this model; empty: all.

    Notes
    -----
    What was given out is remembered by segment and offset, which compaction keeps, and the last 100 000 identities by
    themselves, so that a retry is not given out a second time.
    """

    def __init__(self, log: EventLog, *, model: str = "") -> None:
        self._log = log
        self._model = model
        self._ends: dict[str, int] = {}
        self._commits: set[str] = set()
        self._given: OrderedDict[tuple[object, ...], None] = OrderedDict()

    def newest(self, limit: int) -> list[Event]:
        """Return the newest events, at most `limit`, oldest first. Reads the live tails and the newest parts only."""
        with self._log.reading() as files:
            self._mark(files)
            return self._newest(files, limit) if limit > 0 else []

    def _newest(self, files: Files, limit: int) -> list[Event]:
        events: list[Event] = []
        for tail in files.tails:
            events += self._of_tail(tail, 0, limit)
        for commit in sorted(files.commits.values(), key=lambda commit: -commit.last_time_us):
            events = sorted(events, key=_order)[-limit:]
            if len(events) == limit and events[0].time_us >= commit.last_time_us:
                break
            events += self._of_commit(files, commit, 0, limit)
        return self._once(sorted(events, key=_order)[-limit:])

    def poll(self) -> list[Event]:
        """Return the events that came since the last call of `newest` or `poll`, oldest first."""
        events: list[Event] = []
        with self._log.reading() as files:
            for tail in files.tails:
                start = self._ends.get(tail.name, 0)
                if tail.end > start:
                    events += self._of_tail(tail, start)
            for name in files.commits.keys() - self._commits:
                events += self._of_commit(files, files.commits[name], self._ends.get(name, 0))
            self._mark(files)
        return self._once(sorted(events, key=_order))

    def _mark(self, files: Files) -> None:
        """Remember how far was read."""
        self._ends = {tail.name: tail.end for tail in files.tails}
        self._commits = set(files.commits)

    def _of_tail(self, tail: TailView, start: int, limit: int | None = None) -> list[Event]:
        events: list[Event] = []
        for kind, table in tail.tables.items():
            events += self._events(kind, table, start, limit)
        for spill in tail.spills:
            events += self._events(spill.kind, pq.ParquetFile(spill.path).read(), start, limit)
        return events

    def _of_commit(self, files: Files, commit: Commit, start: int, limit: int | None = None) -> list[Event]:
        """Return the events of a segment, from wherever they are now."""
        events: list[Event] = []
        paths = {
            heir.path: heir.kind
            for part in commit.parts
            if part.kind in SCHEMAS  # a newer release may have written other kinds
            for heir in files.parts.heirs(part.path)
        }
        for path, kind in paths.items():
            table = pq.ParquetFile(self._log.folders.events / path).read()
            table = lift(kind, table.filter(pc.equal(table["segment"], commit.segment)))
            events += self._events(kind, table, start, limit)
        return events

    def _events(self, kind: str, table: pa.Table, start: int, limit: int | None) -> list[Event]:
        """Return the table's events from the position on, the newest `limit` of them."""
        if self._model:
            if "model" not in table.column_names:
                return []
            table = table.filter(pc.equal(table["model"], self._model))
        if start:
            table = table.filter(pc.greater_equal(table["position"], start))
        if limit is not None and table.num_rows > limit:
            order = pc.sort_indices(table, sort_keys=[("time_us", "ascending"), ("position", "ascending")])
            table = table.take(order[-limit:])
        return [Event(kind, row["time_us"], row) for row in table.to_pylist(maps_as_pydicts="strict")]

    def _once(self, events: list[Event]) -> list[Event]:
        """Return the events without those whose identity was given out already."""
        new = []
        for event in events:
            identity = (event.kind, *(event.row[name] for name in _IDENTITIES[event.kind]))
            if identity not in self._given:
                self._given[identity] = None
                new.append(event)
        while len(self._given) > _REMEMBERED_MAX:
            self._given.popitem(last=False)
        return new


def _order(event: Event) -> tuple[int, str, int]:
    return event.time_us, event.row["segment"], event.row["position"]
