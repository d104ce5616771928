"""Reduces the events of an experiment to evidence, without reading again what it has read.

What is Parquet and not reduced yet is folded into what is kept when it is much; the rest, and what is not Parquet yet,
is reduced beside it each time. So an analysis costs what is new, and a look at the rows of all units.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import duckdb
import msgspec

from gateway.control.analysis import conclude_units, reduce_events
from gateway.control.reducing.asked import asking
from gateway.control.reducing.kept import RIVALS, TOUCHED, Kept, Layer, Shelf
from gateway.control.reducing.share import Share, reduce_share, write_tables
from gateway.control.reducing.tables import tables_of, tabulate
from gateway.control.reducing.touched import fetch, rivals_of, touch
from gateway.journal import relations
from storage.crew import ALONE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from experiments.analysis.evidence import Evidence
    from experiments.definition import Experiment
    from gateway.journal.log import EventLog, Files
    from storage.crew import Crew

KEPT_ROWS_MIN = 200_000
FOLDED_ROWS_MIN = 150_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Part:
    """The tables of the touched units on a connection of its own, and what they change of the outcomes' number."""

    connection: duckdb.DuckDBPyConnection
    more: int


class Reducer:
    """Reduces events, and keeps what it has reduced. Safe to call from several threads and processes.

    Parameters
    ----------
    events
        Where the events are.
    kept_rows_min
        Fewer events than these are reduced anew each time.
    folded_rows_min
        So many events that are not in what is kept are folded into it.
    crew
        Who reduces all that is Parquet, in shares of the units: each reads all events and holds its own units only.
    """

    def __init__(
        self,
        events: EventLog,
        *,
        kept_rows_min: int = KEPT_ROWS_MIN,
        folded_rows_min: int = FOLDED_ROWS_MIN,
        crew: Crew = ALONE,
    ) -> None:
        self._events = events
        self._crew = crew
        self._kept_rows_min = kept_rows_min
        self._folded_rows_min = folded_rows_min

    def evidence(self, experiment: Experiment, *, now_us: int) -> Evidence:
        """Return what the events say of the experiment.

        Parameters
        ----------
        now_us
            The gateway's time: what windows are over by then.
        """
        with self._events.reading() as files:
            if sum(commit.records for commit in files.commits.values()) >= self._kept_rows_min:
                shelf = Shelf(self._events.folders, experiment.id)
                try:
                    with shelf.alone():
                        return self._from_kept(shelf, experiment, files, now_us)
                except (OSError, duckdb.Error) as error:
                    _log.warning("%s is reduced anew; what was kept could not be used: %s", experiment.id, error)
                    with contextlib.suppress(OSError):
                        shelf.clear()
            with self._events.querying() as connection:
                self._events.define_records(connection, files)
                relations.define(connection, self._events.attribution_window_us)
                return reduce_events(connection, experiment, now_us=now_us)

    def _from_kept(self, shelf: Shelf, experiment: Experiment, files: Files, now_us: int) -> Evidence:
        digest = self._digest(experiment)
        kept = shelf.load(digest, files, now_us)
        if kept is None:
            shelf.clear()
            kept = self._build(shelf, experiment, files, Kept(digest, now_us=now_us))
        elif self._unreduced(kept, files) >= self._folded_rows_min:
            kept = self._fold(shelf, experiment, files, kept, now_us)
        with (
            self._events.querying() as connection,
            self._touched(connection, shelf, experiment, files, kept, now_us=now_us, live=True) as part,
        ):
            connection.execute("CREATE TABLE gaps AS SELECT * FROM all_gaps")
            for table in tables_of(experiment):
                _splice(part.connection, shelf, kept.layers, table)
            return conclude_units(part.connection, experiment, now_us=now_us, analyzed=kept.analyzed + part.more)

    def _build(self, shelf: Shelf, experiment: Experiment, files: Files, empty: Kept) -> Kept:
        """Reduce all that is Parquet."""
        rows = sum(commit.records for commit in files.commits.values())
        crew = self._crew if rows >= self._crew.rows_min else ALONE
        whole = Share(
            log=self._events.reader(threads=crew.threads),
            experiment=experiment,
            parts=files.parts,
            now_us=empty.now_us,
            of=crew.shares,
        )
        reduced = crew.run(reduce_share, [replace(whole, number=number) for number in range(crew.shares)])
        layers, analyzed = tuple(layer for layer, _ in reduced), sum(count for _, count in reduced)
        shelf.check_seen(layers)
        kept = _after(empty, files, now_us=empty.now_us, analyzed=analyzed, layers=layers)
        shelf.save(kept)
        return kept

    def _fold(self, shelf: Shelf, experiment: Experiment, files: Files, kept: Kept, now_us: int) -> Kept:
        """Reduce what has become Parquet since, as a layer; layers of about one size become one."""
        with (
            self._events.querying() as connection,
            self._touched(connection, shelf, experiment, files, kept, now_us=now_us, live=False) as part,
        ):
            part.connection.execute(f"CREATE TEMP VIEW {RIVALS} AS {rivals_of(part.connection)}")
            part.connection.execute(f"CREATE TEMP VIEW {TOUCHED} AS SELECT unit FROM touched_units")
            layers = (*kept.layers, write_tables(part.connection, shelf, experiment))
        while len(layers) > 1 and layers[-2].units <= 2 * layers[-1].units:
            layers = (*layers[:-2], self._merge(shelf, experiment, layers[-2:], first=len(layers) == 2))  # noqa: PLR2004
        folded = _after(kept, files, now_us=now_us, analyzed=kept.analyzed + part.more, layers=layers)
        shelf.save(folded)
        return folded

    def _merge(self, shelf: Shelf, experiment: Experiment, layers: tuple[Layer, ...], *, first: bool) -> Layer:
        """Write two layers as one; the first of all has nothing before it whose rows it makes void."""
        with self._events.querying() as connection:
            for table in tables_of(experiment):
                connection.execute(f"CREATE TEMP VIEW {table} AS {shelf.rows(layers, table)}")
            for table in (TOUCHED, RIVALS):
                both = " UNION ".join(f"SELECT * FROM {shelf.file(layer, table)}" for layer in layers)
                none = " LIMIT 0" if first and table == TOUCHED else ""
                connection.execute(f"CREATE TEMP VIEW {table} AS SELECT * FROM ({both}){none}")
            return write_tables(connection, shelf, experiment)

    @contextlib.contextmanager
    def _touched(
        self,
        connection: duckdb.DuckDBPyConnection,
        shelf: Shelf,
        experiment: Experiment,
        files: Files,
        kept: Kept,
        *,
        now_us: int,
        live: bool,
    ) -> Iterator[_Part]:
        """Give the tables of the units that events touch which are not in what is kept."""
        self._events.define_records(connection, files, live=live)
        self._events.define_records(connection, files, prefix="fresh", live=live, without=kept.parts)
        rivals = " UNION ".join(f"SELECT * FROM {shelf.file(layer, RIVALS)}" for layer in kept.layers)
        connection.execute(f"CREATE TABLE {RIVALS} AS {rivals}")
        touch(connection, experiment, reduced=kept.segments, then_us=kept.now_us, now_us=now_us)
        fetch(connection, experiment)
        before = self._joined(connection, "WHERE segment IN (SELECT segment FROM reduced)")
        with contextlib.closing(before):
            query = "SELECT count(*) FROM joined WHERE model = $model"
            (counted,) = before.execute(query, {"model": experiment.model}).fetchone() or (0,)
        with contextlib.closing(self._joined(connection, "")) as cursor:
            yield _Part(cursor, tabulate(cursor, experiment, now_us=now_us) - int(counted))

    def _joined(self, connection: duckdb.DuckDBPyConnection, condition: str) -> duckdb.DuckDBPyConnection:
        """Return a connection with the relations of what was fetched, or of a part of it."""
        cursor = connection.cursor()
        for kind in ("predictions", "outcomes", "shadows"):
            cursor.execute(f"CREATE TEMP VIEW all_{kind} AS SELECT * FROM fetched_{kind} {condition}")
        relations.define_joined(cursor, self._events.attribution_window_us)
        relations.define_once(cursor, "shadows")
        return cursor

    def _unreduced(self, kept: Kept, files: Files) -> int:
        return sum(commit.records for name, commit in files.commits.items() if name not in kept.segments)

    def _digest(self, experiment: Experiment) -> str:
        """Return the digest of all that the tables are made by."""
        steps = [*asking(experiment), *tables_of(experiment).items()]
        made_by = [duckdb.__version__, relations.joining(self._events.attribution_window_us), steps]
        return hashlib.sha256(msgspec.json.encode(made_by)).hexdigest()


def _splice(connection: duckdb.DuckDBPyConnection, shelf: Shelf, layers: tuple[Layer, ...], table: str) -> None:
    """Put the kept rows of all other units below those of the touched units."""
    connection.execute(f"INSERT INTO {table} {shelf.rows(layers, table, void='touched_units')}")


def _after(kept: Kept, files: Files, *, now_us: int, analyzed: int, layers: tuple[Layer, ...]) -> Kept:
    return Kept(
        digest=kept.digest,
        segments=frozenset(files.commits),
        parts=frozenset(files.parts.present),
        rewrites=max((each.number for each in files.rewrites), default=0),
        now_us=now_us,
        analyzed=analyzed,
        layers=layers,
    )
