"""What becomes of Parquet files later: small ones are merged, old ones are retired, a person's events are erased.

Theory of operation
-------------------
Each is the same three durable steps, and a crash between any two leaves a state that the next run finishes:

1. the new parts are written, synced and named; nobody reads a part that no marker names;
2. the rewrite's marker appears, by one rename: readers turn from the old parts to the new ones;
3. the old parts are deleted, as soon as nobody reads; until then they are litter that each run tries to sweep.

Rows keep their segment and position, so that neither order nor identity changes. A part's rows stay in its folder, so
that the day and the model of a path stay true.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gateway.journal.columns import SCHEMA_NUMBER, SCHEMAS, lift, marked
from gateway.journal.commits import Commits, EventFolders, Part
from gateway.journal.compact import folders_between
from gateway.journal.rewrites import Parts, Rewrite, Rewrites, deleting, write_rewrite
from gateway.journal.segment import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

_log = logging.getLogger(__name__)

MERGED_BYTES_MAX = 256 * 1024 * 1024
MERGE_PARTS_MIN = 8
MERGE_PARTS_MAX = 256
_BATCH_ROWS = 65_536
_ROW_GROUP_ROWS = 262_144
_DAY = "day="


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose events are erased: a unit's, or those of an entity (key and value).

    Attributes
    ----------
    until_us
        What was recorded later stays.
    """

    unit_id: str = ""
    key: str = ""
    value: str = ""
    until_us: int = 2**62


@dataclass(frozen=True, slots=True)
class Erasure:
    """How many records went, or would go, and how many files held them."""

    predictions: int
    outcomes: int
    files: int
    shadows: int = 0


class Rewriter:
    """Rewrites the Parquet files of a state folder. The caller holds the compactor's lock.

    Parameters
    ----------
    folders
        Where the events are.
    after
        Called after each durable step with its name: ``part``, ``rewritten``, ``swept``.
    """

    def __init__(self, folders: EventFolders, *, after: Callable[[str], None] = lambda _step: None) -> None:
        self._folders = folders
        self._after = after
        rewrites = Rewrites(folders).refresh()
        self._next = rewrites[-1].number + 1 if rewrites else 1
        self._replaced = {path for rewrite in rewrites for path in rewrite.replaced}
        self._parts = Parts(Commits(folders).refresh().values(), rewrites)

    @property
    def parts(self) -> Parts:
        """The files that are read now."""
        return self._parts

    def merge(
        self,
        *,
        parts_min: int = MERGE_PARTS_MIN,
        bytes_max: int = MERGED_BYTES_MAX,
        apart: AbstractSet[str] = frozenset(),
    ) -> int:
        """Merge the small parts of each folder that has many, but for those apart; return how many parts went."""
        merged = 0
        for group in self._mergeable(parts_min, bytes_max, apart):
            kind, folder = group[0].kind, Path(group[0].path).parent
            part = self._write(kind, folder, self._rows(kind, [each.path for each in group]))
            self._turn("merged", [each.path for each in group], [part] if part else [])
            merged += len(group)
        return merged

    def retire(self, days: Mapping[str, int], now_us: int) -> int:
        """Drop the parts of each kind that are older than so many days; return how many. 0 days: none are."""
        today = datetime.fromtimestamp(now_us / 1e6, UTC).date()
        old: list[str] = []
        for kind, kept_days in days.items():
            if kept_days:
                first = (today - timedelta(days=kept_days)).isoformat()
                old += [part.path for part, _ in self._parts.of_kind(kind) if day_of(part.path) < first]
        if old:
            self._turn("retired", old, [])
        return len(old)

    def requests_of(self, subject: Subject) -> set[str]:
        """Return the ids of the subject's predictions."""
        requests: set[str] = set()
        for part, _ in self._parts.of_kind("predictions"):
            for table in self._tables("predictions", part.path, KEYS["predictions"]):
                requests.update(table.filter(_of_subject(table, subject))["request_id"].to_pylist())
        return requests

    def erase(self, subject: Subject, *, requests: Iterable[str] = (), dry_run: bool = False) -> Erasure:
        """Write anew what holds events of the subject, or of further predictions of it, without them."""
        gone = pa.array(sorted(self.requests_of(subject).union(requests)), pa.string())
        counts = {"predictions": 0, "outcomes": 0, "shadows": 0}
        replaced: list[str] = []
        parts: list[Part] = []
        for kind in counts:
            for part, _ in self._parts.of_kind(kind):
                found = sum(
                    pc.sum(is_erased(kind, table, subject, gone)).as_py() or 0
                    for table in self._tables(kind, part.path, KEYS[kind])
                )
                counts[kind] += found
                if not found:
                    continue
                replaced.append(part.path)
                if not dry_run and found < part.rows:
                    rows = (
                        table.filter(pc.invert(is_erased(kind, table, subject, gone)))
                        for table in self._tables(kind, part.path)
                    )
                    written = self._write(kind, Path(part.path).parent, rows)
                    parts += [written] if written else []
        if replaced and not dry_run:
            self._turn("erased", replaced, parts)
        return Erasure(counts["predictions"], counts["outcomes"], len(replaced), counts["shadows"])

    def sweep(self) -> int:
        """Delete what nobody reads any more, and what an interrupted run left; return how many files."""
        kinds = [folder for folder in self._folders.events.glob("*") if folder.is_dir() and folder.name in KEYS]
        named = set(self._parts.present)
        litter = [
            path
            for folder in kinds
            for path in folder.rglob("*")
            if path.suffix in {".parquet", ".tmp"} and str(path.relative_to(self._folders.events)) not in named
        ]
        if not litter:
            return 0
        with deleting(self._folders) as alone:
            if not alone:
                return 0
            for path in litter:
                path.unlink(missing_ok=True)
                self._after("swept")
        return len(litter)

    def _mergeable(self, parts_min: int, bytes_max: int, apart: AbstractSet[str]) -> Iterator[list[Part]]:
        """Yield groups of small parts that lie in one folder, smallest first."""
        by_folder: dict[str, list[tuple[int, Part]]] = defaultdict(list)
        for part, _ in list(self._parts.present.values()):
            if part.kind not in SCHEMAS or part.path in apart:  # a newer release may know more kinds
                continue
            size = (self._folders.events / part.path).stat().st_size
            if size <= bytes_max // parts_min:
                by_folder[str(Path(part.path).parent)].append((size, part))
        for sized in by_folder.values():
            group: list[Part] = []
            total = 0
            for size, part in sorted(sized, key=lambda each: (each[0], each[1].path)):
                if total + size > bytes_max or len(group) == MERGE_PARTS_MAX:
                    break
                group.append(part)
                total += size
            if len(group) >= parts_min:
                yield group

    def _rows(self, kind: str, paths: Iterable[str]) -> Iterator[pa.Table]:
        for path in paths:
            yield from self._tables(kind, path)

    def _tables(self, kind: str, path: str, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield the rows of a part, some at a time; whole rows in the schema of this release."""
        with pq.ParquetFile(self._folders.events / path) as file:
            for batch in file.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
                table = pa.Table.from_batches([batch])
                yield table if columns else lift(kind, table)

    def _write(self, kind: str, folder: Path, tables: Iterable[pa.Table]) -> Part | None:
        """Write a part durably and return it, or None when there are no rows."""
        path = self._folders.events / folder / f"part-rewrite-{self._next:016d}-{secrets.token_hex(4)}.parquet"
        temporary = path.with_suffix(".tmp")
        rows = 0
        writer: pq.ParquetWriter | None = None
        try:
            with temporary.open("wb") as file:
                for table in _gathered(tables):
                    if writer is None:
                        writer = pq.ParquetWriter(file, marked(table).schema, compression="zstd")
                    writer.write_table(marked(table), row_group_size=_ROW_GROUP_ROWS)
                    rows += table.num_rows
                if writer is not None:
                    writer.close()
                file.flush()
                os.fsync(file.fileno())
            if not rows:
                temporary.unlink()
                return None
            temporary.rename(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        for each in folders_between(self._folders.events, path.parent):
            sync_folder(each)
        self._after("part")
        return Part(kind, str(path.relative_to(self._folders.events)), rows)

    def _turn(self, cause: str, replaced: list[str], parts: list[Part]) -> None:
        """Let the parts take the place of others, from now on and for every reader at one instant."""
        rewrite = Rewrite(self._next, cause, tuple(replaced), tuple(parts), SCHEMA_NUMBER)
        write_rewrite(self._folders, rewrite)
        self._after("rewritten")
        self._next += 1
        self._replaced |= set(replaced)
        self._parts = Parts(Commits(self._folders).refresh().values(), Rewrites(self._folders).refresh())
        _log.info("%d files were %s, %d took their place", len(replaced), cause, len(parts))


KEYS = {
    "predictions": ["request_id", "unit_id", "entities", "time_us"],
    "outcomes": ["request_id", "unit_id", "time_us"],
    "gaps": [],
    "shadows": ["request_id", "unit_id", "entities", "time_us"],
}


def _gathered(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the same rows in tables of a good size for a row group."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(each.num_rows for each in held) >= _BATCH_ROWS:
            yield pa.concat_tables(held)
            held.clear()
    if held:
        yield pa.concat_tables(held)


def _of_subject(table: pa.Table, subject: Subject) -> pa.ChunkedArray:
    """Return for each prediction or shadow whether it is the subject's."""
    before = pc.less_equal(table["time_us"], subject.until_us)
    if not subject.key:
        return pc.and_(before, pc.equal(table["unit_id"], subject.unit_id))
    value = pc.map_lookup(table["entities"].combine_chunks(), subject.key, "first")
    return pc.and_(before, pc.fill_null(pc.equal(value, subject.value), fill_value=False))


def is_erased(kind: str, table: pa.Table, subject: Subject, requests: pa.Array) -> pa.ChunkedArray:
    """Return for each row whether it goes: the subject's own, what has its request id, and what happened to it."""
    gone = pc.is_in(table["request_id"], requests)
    if kind != "outcomes":
        return pc.or_(gone, _of_subject(table, subject))
    return pc.or_(gone, _of_subject(table, subject)) if subject.unit_id else gone


def day_of(path: str) -> str:
    """Return the day whose events a part has, as its path says."""
    return next(part.removeprefix(_DAY) for part in Path(path).parts if part.startswith(_DAY))
