"""The whole chain of a version: data, features, parents, children, aliases, experiments, predictions, taints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from gateway.control.clearances import arms_of, views_of
from registry import lineage, search, tables, taints
from registry.alias_history import alias_history
from registry.fingerprints import data_of, parts_of
from registry.versions import get_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

    from experiments.definition import Experiment
    from gateway.journal.log import EventLog
    from registry.lineage import Relation
    from registry.records import AliasMove, Version
    from registry.taints import Taint
    from storage.database import Database

SAME_DATA_MAX = 1000
TOUCHED_MAX = 1000
_MOVES_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Period:
    """A time during which a version held an alias; `end_us` is 0 while it does."""

    alias: str
    start_us: int
    end_us: int
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Predictions:
    """How many predictions a version answered, and when the first and the last; 0 when none."""

    count: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a version comes from, and what came of it."""

    version: Version
    ancestors: Sequence[Version]
    descendants: Sequence[Version]
    relations: Sequence[Relation]
    same_data: Sequence[str]
    feature_views: Sequence[str]
    periods: Sequence[Period]
    arms: Sequence[tuple[Experiment, str, bool]]
    predictions: Predictions
    taints: Sequence[Taint]


class Lineages:
    """Tells lineages.

    Parameters
    ----------
    database, events
        Where the metadata is, and the events.
    """

    def __init__(self, *, database: Database, events: EventLog) -> None:
        self._database = database
        self._events = events

    def get(self, model: str, number: int) -> Lineage:
        """Return the lineage of a version, or raise VersionMissingError."""
        with self._database.read() as tx:
            version = get_version(tx, model, number)
            above, below = lineage.ancestors(tx, version), lineage.descendants(tx, version)
            views = views_of(tx, version)
            told = {
                "version": version,
                "ancestors": above,
                "descendants": below,
                "relations": lineage.relations(tx, [version, *above, *below]),
                "same_data": _same_data(tx, version),
                "feature_views": views,
                "periods": periods(alias_history(tx, model, limit_max=_MOVES_MAX), number),
                "arms": arms_of(tx, version),
                "taints": taints.taints_of(tx, version, views=views),
            }
        return Lineage(**told, predictions=self._predictions(model, number))  # type: ignore[arg-type]

    def touched_by(self, taint: Taint) -> list[str]:
        """Return the names of the versions that a taint touches, in their order, at most `TOUCHED_MAX`."""
        with self._database.read() as tx:
            found = list(_direct(tx, taint))
            below = [each for version in found for each in lineage.descendants(tx, version)]
        names = dict.fromkeys(f"models/{each.model}/versions/{each.number}" for each in [*found, *below])
        return list(names)[:TOUCHED_MAX]

    def _predictions(self, model: str, number: int) -> Predictions:
        with self._events.snapshot() as connection:
            row = connection.execute(
                "SELECT count(*), coalesce(min(time_us), 0), coalesce(max(time_us), 0) FROM predictions "
                "WHERE model = ? AND version = ?",
                [model, number],
            ).fetchone()
        return Predictions(*row) if row is not None else Predictions(0, 0, 0)


def periods(moves: Iterable[AliasMove], number: int) -> list[Period]:
    """Return the times during which a version held an alias, oldest first, from the moves of its model."""
    by_alias: dict[str, list[AliasMove]] = {}
    for move in sorted(moves, key=lambda each: each.generation):
        by_alias.setdefault(move.alias, []).append(move)
    found = []
    for alias, line in by_alias.items():
        for move, following in zip(line, [*line[1:], None], strict=True):
            if move.to_version == number and not move.removed:
                end_us = following.time_us if following is not None else 0
                found.append(Period(alias, move.time_us, end_us, move.actor, move.reason))
    return sorted(found, key=lambda each: (each.start_us, each.alias))


def _same_data(tx: Connection, version: Version) -> list[str]:
    if not version.facts.data_fingerprint:
        return []
    table = tables.versions
    same = table.c.data_fingerprint.contains(data_of(version.facts.data_fingerprint), autoescape=True)
    query = select(table.c.model, table.c.number, table.c.data_fingerprint).where(same)
    rows = tx.execute(query.order_by(table.c.model, table.c.number).limit(SAME_DATA_MAX))
    others = [row for row in rows if (row.model, row.number) != (version.model, version.number)]
    data = data_of(version.facts.data_fingerprint)
    return [f"models/{row.model}/versions/{row.number}" for row in others if data_of(row.data_fingerprint) == data]


def _direct(tx: Connection, taint: Taint) -> Iterable[Version]:
    """Yield the versions that the taint names; what was made from them is touched too."""
    if taint.kind == "version":
        found = search.search_versions(tx, filter_text=_named(taint.subject), limit_max=1)
    elif taint.kind == "data":
        quoted = taint.subject.replace("\\", "\\\\").replace('"', '\\"')
        found = search.search_versions(tx, filter_text=f'data_fingerprint:"{quoted}"', limit_max=TOUCHED_MAX)
        return [version for version in found.versions if taint.subject in parts_of(version.facts.data_fingerprint)]
    else:
        found = search.search_versions(tx, filter_text="feature_set:*", limit_max=TOUCHED_MAX)
        return [version for version in found.versions if taint.subject in views_of(tx, version)]
    return found.versions


def _named(subject: str) -> str:
    """Return the filter that finds a version by its resource name; one that finds nothing when it is none."""
    parts = subject.split("/")
    if len(parts) != 4 or not parts[3].isdigit():  # noqa: PLR2004
        return "version = 0"
    return f'model = "{parts[1]}" AND version = {parts[3][:18]}'
