"""What was known of a view's entities at the times of the labels; see `features.training` for how it is found.

It is found by one query, or by one for each share of the entities where labels are many. The shares are of the keys
that all views have; where there are none, of the first view's, and each share reads the other views whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.definitions import Source
from features.offline import open_offline
from features.plan import REQUEST
from features.shares import Share, shared
from features.transforms import is_computed
from features.view_rows import view_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.definitions import FeatureSet, View
    from features.offline import OfflineLimits, OfflineStore

_TOLD = "turnout_told"


@dataclass(frozen=True, slots=True)
class Known:
    """The SQL of each feature and mark by name, and of the joins that put them beside `turnout_labels`."""

    columns: dict[str, str]
    joins: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """A join of the views of a set to labels.

    Attributes
    ----------
    feature_set, views
        The set, and the definitions of its views.
    keys
        The join keys, whose texts the labels have as `turnout_k0`, `turnout_k1` and so on.
    marks
        Whether it gives the marks as well.
    first_us, last_us
        The times of the first and the last label.
    """

    feature_set: FeatureSet
    views: tuple[View, ...]
    keys: tuple[str, ...]
    marks: bool
    first_us: int | None
    last_us: int | None

    def here(self, store: OfflineStore, share: Share | None = None) -> Known:
        """Keep the rows of the views that are ever the answer, of one share of the entities where it is given."""
        for place, view in enumerate(self.views):
            own = self._own(view, share)
            since_us = None
            if view.ttl_us and self.first_us is not None and not self.marks:
                since_us = self.first_us - view.ttl_us - 1
            _keep_records(store, view, f"turnout_view_{place}", since_us=since_us, until_us=self.last_us, own=own)
        return Known(self._columns(), "".join(self._asof(place, view) for place, view in enumerate(self.views)))

    def shared(self, store: OfflineStore, sources: Sequence[Source]) -> Known:
        """Have each share joined by the crew, and take what it found."""
        labels = Source(name=_TOLD, kind="parquet", path=str(store.folder / "labels.parquet"))
        texts = "".join(f", turnout_k{place}" for place in range(len(self.keys)))
        store.copy(f"SELECT turnout_row, turnout_t{texts} FROM turnout_labels", store.folder / "labels.parquet")
        limits = store.limits.elsewhere()
        found = shared(
            store,
            "joined",
            join_share,
            lambda share: _ShareTask(join=self, sources=[*sources, labels], limits=limits, share=share),
        )
        columns = {name: f"turnout_shares.c{place}" for place, name in enumerate(self._columns())}
        return Known(columns, f" JOIN ({found}) turnout_shares USING (turnout_row)")

    def share_keys(self) -> list[str]:
        """Return the join keys by which entities are shared out."""
        first, *others = self.views
        common = [key for key in first.join_keys if all(key in view.join_keys for view in others)]
        return common or list(first.join_keys)

    def _own(self, view: View, share: Share | None) -> str:
        if share is None or not set(self.share_keys()) <= set(view.join_keys):
            return "true"
        return share.holds([f"k{view.join_keys.index(key)}" for key in self.share_keys()])

    def _asof(self, place: int, view: View) -> str:
        matches = [
            f"turnout_labels.turnout_k{self.keys.index(key)} = turnout_view_{place}.k{at}"
            for at, key in enumerate(view.join_keys)
        ]
        matches.append(f"turnout_labels.turnout_t >= turnout_view_{place}.visible_us")
        return f" ASOF LEFT JOIN turnout_view_{place} ON {' AND '.join(matches)}"

    def _columns(self) -> dict[str, str]:
        places = {view.name: place for place, view in enumerate(self.views)}
        columns: dict[str, str] = {}
        for name in self.feature_set.columns:
            view_name, _, column = name.partition(".")
            if view_name != REQUEST and not is_computed(name):
                value, default = _view_value(self.views[places[view_name]], places[view_name], column)
                columns[name] = f"coalesce({value}, {double(default)})"
        if self.marks:
            for place, view in enumerate(self.views):
                columns |= _marks(view, place, self.feature_set)
        return columns


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShareTask:
    """What is told to whoever joins a share."""

    join: Join
    sources: Sequence[Source]
    limits: OfflineLimits
    share: Share


def join_share(task: _ShareTask) -> int:
    """Write what was known at the labels of a share of the entities; return how many labels they are."""
    join = task.join
    own = task.share.holds([f"turnout_k{join.keys.index(key)}" for key in join.share_keys()])
    with open_offline(task.sources, task.limits) as store:
        store.keep("turnout_labels", f"SELECT * FROM {_TOLD} WHERE {own}", {})
        known = join.here(store, task.share)
        columns = "".join(f", {value} AS c{place}" for place, value in enumerate(known.columns.values()))
        query = f"SELECT turnout_labels.turnout_row{columns} FROM turnout_labels{known.joins}"
        return task.share.write(store.stream(query, {}))


def _keep_records(
    store: OfflineStore, view: View, table: str, *, since_us: int | None, until_us: int | None, own: str
) -> None:
    """Keep those rows of a view, of its own entities, that are ever the answer."""
    rows, parameters = view_rows(store, view, since_us=since_us, until_us=until_us)
    keys = ", ".join(f"k{place}" for place in range(len(view.join_keys)))
    values = ", ".join(f"f{place}" for place in range(len(view.features)))
    order = f"event_us, created_us, deleted, {values}"
    store.keep(
        table,
        f"SELECT {keys}, visible_us, event_us, deleted, {values} FROM ("
        f" SELECT *, max(turnout_rank) OVER (PARTITION BY {keys} ORDER BY visible_us) AS turnout_best FROM ("
        f"  SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY {order}) AS turnout_rank"
        f"  FROM ({rows}) WHERE {own}))"
        " WHERE turnout_rank = turnout_best",
        parameters,
    )


def _view_value(view: View, place: int, column: str) -> tuple[str, float | None]:
    """Return the SQL of a stored feature, NULL once it is deleted or past its time to live, and its default."""
    at = [feature.name for feature in view.features].index(column)
    value = f"turnout_view_{place}.f{at}"
    alive = f"NOT turnout_view_{place}.deleted"
    if view.ttl_us:
        alive += f" AND turnout_labels.turnout_t - turnout_view_{place}.event_us <= {view.ttl_us:d}"
    value = f"CASE WHEN {alive} THEN {value} END"
    return value, view.features[at].default


def _marks(view: View, place: int, feature_set: FeatureSet) -> dict[str, str]:
    """Return the SQL of how a view's row was found, and of how old it was."""
    taken = [at for at, feature in enumerate(view.features) if f"{view.name}.{feature.name}" in feature_set.columns]
    null = " OR ".join([f"turnout_view_{place}.f{at} IS NULL" for at in taken])
    age = f"turnout_labels.turnout_t - turnout_view_{place}.event_us"
    none = f"turnout_view_{place}.event_us IS NULL OR turnout_view_{place}.deleted"
    stale = f"WHEN {age} > {view.ttl_us:d} THEN 'STALE' " if view.ttl_us else ""
    found = f"CASE WHEN {none} THEN 'MISSING' {stale}WHEN {null} THEN 'NULL' ELSE 'PRESENT' END"
    return {f"{view.name}@status": found, f"{view.name}@age_us": f"CASE WHEN NOT ({none}) THEN {age} END"}


def double(value: float | None) -> str:
    """Return a number as SQL has it; None is not a number."""
    return "CAST('NaN' AS DOUBLE)" if value is None else f"CAST('{value!r}' AS DOUBLE)"
