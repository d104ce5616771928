"""One share of the units, reduced: all of what is Parquet is read, and of these units alone anything is held.

It may be done by another machine that sees the state folder under the same path, and twice: a layer counts when it is
among those that are saved, and only then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.control.reducing.kept import RIVALS, TOUCHED, Shelf
from gateway.control.reducing.tables import COUNTS, tables_of, tabulate
from gateway.control.reducing.touched import OWNER, rivals_of
from gateway.journal import relations
from gateway.journal.log import EventLog, Files

if TYPE_CHECKING:
    import duckdb

    from experiments.definition import Experiment
    from gateway.control.reducing.kept import Layer
    from gateway.journal.log import Reader
    from gateway.journal.rewrites import Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What is told to whoever reduces a share.

    Attributes
    ----------
    log
        How the events are read.
    experiment
        Whose tables they are.
    parts
        The files that are read; none of them is deleted meanwhile.
    now_us
        The gateway's time.
    of, number
        In how many shares units are, and which one this is, from 0.
    """

    log: Reader
    experiment: Experiment
    parts: Parts
    now_us: int
    of: int
    number: int = 0


def reduce_share(share: Share) -> tuple[Layer, int]:
    """Write the tables of one share of the units, of nothing but the files; return how many outcomes it has."""
    events = EventLog.of(share.log)
    shelf = Shelf(events.folders, share.experiment.id)
    with events.querying() as connection:
        events.define_records(connection, Files({}, (), share.parts, ()), live=False)
        own = f"{OWNER} % {share.of} = {share.number}" if share.of > 1 else "true"
        relations.define_joined(connection, events.attribution_window_us, share=own)
        relations.define_once(connection, "shadows")
        analyzed = tabulate(connection, share.experiment, now_us=share.now_us)
        connection.execute(f"CREATE TEMP VIEW {RIVALS} AS {rivals_of(connection)}")
        connection.execute(f"CREATE TEMP TABLE {TOUCHED} (unit UUID)")
        return write_tables(connection, shelf, share.experiment), analyzed


def write_tables(connection: duckdb.DuckDBPyConnection, shelf: Shelf, experiment: Experiment) -> Layer:
    """Write an experiment's tables, and the relations of what they make void, as a layer."""
    (units,) = connection.execute(f"SELECT count(*) FROM {COUNTS}").fetchone() or (0,)
    return shelf.write(connection, [*tables_of(experiment), TOUCHED, RIVALS], int(units))
