"""The event log: the Parquet files and the live tails as one set of relations, each event exactly once.

Theory of operation
-------------------
A segment is read either from its file or from its parts, never from both and never from neither:

1. the segments that exist are listed, twice, since a listing may miss a name that is renamed under it;
2. then the commit markers are read: a segment that was deleted before it was listed has one;
3. a listed segment with a marker is read from its parts, any other from its file. When that file is gone, the segment
   was committed in between, and its marker is found on a second look. One that was read from its file stays read so,
   whatever the markers say by then. Nothing is tried again, so no pace of writing or compaction can starve a reader.

What was acknowledged before `snapshot` is called is in the snapshot, whatever writers and the compactor do meanwhile.
Of several records with one identity the first counts, by the time of recording, then by segment and position: an
order that compaction does not change.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from gateway.journal import relations
from gateway.journal.columns import SCHEMA_NUMBER, SCHEMAS
from gateway.journal.commits import Commit, Commits, EventFolders
from gateway.journal.live import LiveTails, TailView
from gateway.journal.rewrites import Parts, Rewrites, reading
from gateway.journal.segment import list_segments

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from gateway.journal.rewrites import Rewrite

_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Files:
    """What the log consisted of at one instant.

    Attributes
    ----------
    commits
        The committed segments, by name.
    tails
        All other segments.
    parts
        Where the committed segments' records are now.
    rewrites
        What became of their files.
    """

    commits: dict[str, Commit]
    tails: tuple[TailView, ...]
    parts: Parts
    rewrites: tuple[Rewrite, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """How many events there are, each identity once; `records` counts repeated ones too.

    An outcome is joined; or it came after its unit's window was over, and is late and not joined; or it is an orphan.
    """

    predictions: int
    failed_predictions: int
    outcomes: int
    joined_outcomes: int
    lost_predictions: int
    records: int
    early_outcomes: int
    late_outcomes: int
    orphan_outcomes: int
    corrected_outcomes: int


@dataclass(frozen=True, slots=True)
class Reader:
    """How a log is read, to be told to another process: the parameters of `EventLog`."""

    state_folder: Path
    attribution_window_us: int
    query_bytes_max: int
    query_threads: int


class EventLog:
    """Reads the events of a state folder. Safe to call from several threads.

    Parameters
    ----------
    state_folder
        The state folder.
    attribution_window_us
        How long after a prediction an outcome of its unit may happen and still be its outcome.
    held_bytes_max
        How much memory the live tails may take before they go to temporary files.
    query_bytes_max
        How much memory one snapshot's queries may take before they go to temporary files.
    query_threads
        How many threads run them; 0: as many as there are processors.
    """

    def __init__(
        self,
        state_folder: Path,
        *,
        attribution_window_us: int = 30 * _DAY_US,
        held_bytes_max: int = 256 * 1024 * 1024,
        query_bytes_max: int = 1024 * 1024 * 1024,
        query_threads: int = 0,
    ) -> None:
        self.folders = EventFolders(state_folder)
        self.attribution_window_us = attribution_window_us
        self._query_bytes_max = query_bytes_max
        self._query_threads = query_threads
        self._commits = Commits(self.folders)
        self._rewrites = Rewrites(self.folders)
        self._tails = LiveTails(self.folders.journal, held_bytes_max=held_bytes_max)
        self._lock = threading.Lock()

    @classmethod
    def of(cls, reader: Reader) -> EventLog:
        """Return the log that another process reads so."""
        return cls(
            reader.state_folder,
            attribution_window_us=reader.attribution_window_us,
            query_bytes_max=reader.query_bytes_max,
            query_threads=reader.query_threads,
        )

    def reader(self, *, threads: int = 0) -> Reader:
        """Return how this log is read, by so many threads; 0: by as many as here."""
        bytes_max = self._query_bytes_max
        return Reader(self.folders.state, self.attribution_window_us, bytes_max, threads or self._query_threads)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a DuckDB connection with the relations of the events, for the body only.

        Columns of predictions, outcomes, gaps and shadows are those of `gateway.journal.columns`. `joined` has the
        outcomes that belong to a prediction: ``request_id, unit_id, model`` are that prediction's, ``name, value,
        event_time_us, outcome_id, time_us, segment, position`` the outcome's. `attributed` has in addition those that
        came when their unit's window was over. `pairs` has the shadows beside the predictions that they pair with: what
        both have as ``live_`` and ``shadow_`` columns. Later writes do not change the relations.
        """
        with self.reading() as files, self.querying() as connection:
            self.define_records(connection, files)
            relations.define(connection, self.attribution_window_us)
            yield connection

    def counts(self, model: str = "") -> Counts:
        """Return how many events there are, of one model when it is named.

        Orphans of a model are those that name it.
        """
        given = {"model": model, "window_us": self.attribution_window_us}
        with self.snapshot() as connection:
            (row,) = connection.execute(relations.COUNTS, given).fetchall()
        return Counts(*(int(value) for value in row))

    @contextlib.contextmanager
    def querying(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a DuckDB connection that is bounded as all queries are, without any relation."""
        with tempfile.TemporaryDirectory(prefix="turnout-query-") as spill:
            connection = duckdb.connect(
                config={
                    "memory_limit": f"{self._query_bytes_max // 1_000_000}MB",
                    "temp_directory": spill,
                    "preserve_insertion_order": False,
                    **({"threads": self._query_threads} if self._query_threads else {}),
                }
            )
            try:
                yield connection
            finally:
                connection.close()

    def define_records(
        self,
        connection: duckdb.DuckDBPyConnection,
        files: Files,
        *,
        prefix: str = "all",
        live: bool = True,
        without: AbstractSet[str] = frozenset(),
    ) -> None:
        """Define the relations of all records by kind, such as `all_outcomes`: repeated ones too.

        Parameters
        ----------
        files
            What `reading` gave; its body must not be left while they are read.
        prefix
            What their names begin with.
        live
            Whether records are among them that are not Parquet yet.
        without
            Parts that are left out.
        """
        for kind, schema in SCHEMAS.items():
            tails = files.tails if live else ()
            tables = [tail.tables[kind] for tail in tails if kind in tail.tables]
            connection.register(f"{prefix}_live_{kind}", pa.concat_tables([schema.empty_table(), *tables]))
            paths: dict[int, list[Path]] = defaultdict(list)
            paths[SCHEMA_NUMBER] += [spill.path for tail in tails for spill in tail.spills if spill.kind == kind]
            for part, number in files.parts.of_kind(kind):
                if part.path not in without:
                    paths[relations.schema_read(number)].append(self.folders.events / part.path)
            connection.execute(relations.everything(kind, paths, prefix=prefix))

    @contextlib.contextmanager
    def reading(self) -> Iterator[Files]:
        """Give what the log consists of now; all of it stays readable for the body."""
        with reading(self.folders):
            yield self._files()

    def _files(self) -> Files:
        """Return what the log consists of now."""
        with self._lock:
            rewrites = self._rewrites.refresh()  # before the commits: see `gateway.journal.rewrites`
            names = self._segment_names()
            uncommitted = names - self._commits.refresh().keys()
            tails = self._tails.refresh(uncommitted)
            read = {tail.name for tail in tails}
            # A second look finds the markers of those that are gone; one without a marker was empty and was removed.
            commits = self._commits.refresh()
            committed = {name: commit for name, commit in commits.items() if name not in read}
            return Files(committed, tuple(tails), Parts(committed.values(), rewrites), rewrites)

    def _segment_names(self) -> set[str]:
        if not self.folders.journal.is_dir():
            return set()
        return {segment.name for _ in range(2) for segment in list_segments(self.folders.journal)}
