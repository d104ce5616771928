"""The training table: for each label row the features as they were known then.

For a label at time `t`, of the rows of its entity with `event_time <= t` and `created_time <= t` the one with the
latest event time counts, among those the one created last; it is used while `t - event_time` is within the view's time
to live, both ends included. No label row is dropped or multiplied. Where nothing is known, and where a feature is NULL,
stands the declared default, exactly as when serving; marks tell the one from the other.

How it is computed: a row can only ever be the answer from the moment it is visible, max(event, created), and only if no
row visible by then has a later (event, created). Such rows are kept, by a running maximum over row numbers; among them
event times rise with visibility, so that an ASOF join on visibility finds the answer.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from features.definitions import trimmed_sql
from features.errors import FeatureSqlInvalidError
from features.offline import open_offline
from features.plan import REQUEST
from features.sql import check_select, quoted
from features.transformed import Computed
from features.transforms import is_computed
from features.view_rows import view_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from features.definitions import FeatureSet, Source, View
    from features.offline import Batches, OfflineLimits, OfflineStore


@contextlib.contextmanager
def training_table(
    feature_set: FeatureSet,
    views: Sequence[View],
    *,
    sources: Sequence[Source],
    label_sql: str,
    start_us: int | None,
    end_us: int | None,
    limits: OfflineLimits,
    marks: bool = False,
) -> Iterator[Batches]:
    """Give the training table's batches, made as they are read: the label query's columns, then one a feature.

    The features that only transforms take stand behind the model's.

    Parameters
    ----------
    feature_set, views
        The set, and the definitions of its views.
    sources
        What the SQL sees as tables.
    label_sql
        One SELECT that gives the join keys, `event_time`, `label`, a column for each request feature, and more.
    start_us, end_us
        Only label rows in `[start_us, end_us)`; None is no bound.
    limits
        What the query may use.
    marks
        Whether two columns a view follow: `view@status`, PRESENT, NULL, MISSING or STALE, and `view@age_us`, how old
        the newest row was, NULL where there was none. The statuses are those of a prediction.

    Raises
    ------
    FeatureSqlInvalidError
        The label SQL is not one SELECT, or lacks a column.
    """
    label_sql = trimmed_sql(label_sql)
    with open_offline(sources, limits) as store:
        columns = _label_columns(store, feature_set, views, label_sql)
        keys = list(dict.fromkeys(key for view in views for key in view.join_keys))
        _keep_labels(store, label_sql, keys, start_us=start_us, end_us=end_us)
        first_us, last_us = store.one("SELECT min(turnout_t), max(turnout_t) FROM turnout_labels")
        for place, view in enumerate(views):
            since_us = first_us - view.ttl_us - 1 if view.ttl_us and first_us is not None and not marks else None
            _keep_records(store, view, f"turnout_view_{place}", since_us=since_us, until_us=last_us)
        batches = store.stream(_joined(feature_set, views, columns, keys, marks=marks), {})
        yield Computed(batches, feature_set) if feature_set.transforms else batches


def _label_columns(store: OfflineStore, feature_set: FeatureSet, views: Sequence[View], label_sql: str) -> list[str]:
    """Return the label query's columns, or raise FeatureSqlInvalidError when one is lacking."""
    columns = store.columns(label_sql, {})
    known = {name.lower() for name in columns}
    declared = {request.name for request in feature_set.requests}
    requests = [name.partition(".")[2] for name in feature_set.columns if name.startswith(REQUEST + ".")]
    needed = [
        *("event_time", "label"),
        *(key for view in views for key in view.join_keys),
        *(name for name in requests if name not in declared),
    ]
    lacking = [name for name in dict.fromkeys(needed) if name.lower() not in known]
    if lacking:
        raise FeatureSqlInvalidError(f"the label SQL gives no column {', '.join(lacking)}", columns=",".join(lacking))
    if not columns[next(name for name in columns if name.lower() == "event_time")].startswith("TIMESTAMP"):
        raise FeatureSqlInvalidError("the label SQL's event_time is not a TIMESTAMP")
    taken = {name.lower() for name in feature_set.columns} & known
    taken |= {name for name in known if name.startswith("turnout_") or "@" in name}
    if taken:
        raise FeatureSqlInvalidError(f"the label SQL gives columns of reserved names: {', '.join(sorted(taken))}")
    return list(columns)


def _keep_labels(
    store: OfflineStore, label_sql: str, keys: list[str], *, start_us: int | None, end_us: int | None
) -> None:
    check_select(label_sql, {})
    texts = "".join(f", CAST({quoted(key)} AS VARCHAR) AS turnout_k{place}" for place, key in enumerate(keys))
    parameters: dict[str, object] = {}
    conditions = []
    if start_us is not None:
        conditions.append("turnout_t >= $start_us")
        parameters["start_us"] = start_us
    if end_us is not None:
        conditions.append("turnout_t < $end_us")
        parameters["end_us"] = end_us
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    store.keep(
        "turnout_labels",
        f"SELECT *, row_number() OVER () AS turnout_row FROM (SELECT *, epoch_us(event_time) AS turnout_t{texts} "
        f"FROM (\n{label_sql}\n)){where}",
        parameters,
    )


def _keep_records(store: OfflineStore, view: View, table: str, *, since_us: int | None, until_us: int | None) -> None:
    """Keep those rows of a view that are ever the answer: see the module's theory."""
    rows, parameters = view_rows(store, view, since_us=since_us, until_us=until_us)
    keys = ", ".join(f"k{place}" for place in range(len(view.join_keys)))
    values = ", ".join(f"f{place}" for place in range(len(view.features)))
    order = f"event_us, created_us, deleted, {values}"
    store.keep(
        table,
        f"SELECT {keys}, visible_us, event_us, deleted, {values} FROM ("
        f" SELECT *, max(turnout_rank) OVER (PARTITION BY {keys} ORDER BY visible_us) AS turnout_best FROM ("
        f"  SELECT *, row_number() OVER (PARTITION BY {keys} ORDER BY {order}) AS turnout_rank"
        f"  FROM ({rows})))"
        " WHERE turnout_rank = turnout_best",
        parameters,
    )


def _joined(feature_set: FeatureSet, views: Sequence[View], columns: list[str], keys: list[str], *, marks: bool) -> str:
    """Return the query that puts the features beside the labels."""
    joins = []
    for place, view in enumerate(views):
        matches = [
            f"turnout_labels.turnout_k{keys.index(key)} = turnout_view_{place}.k{at}"
            for at, key in enumerate(view.join_keys)
        ]
        matches.append(f"turnout_labels.turnout_t >= turnout_view_{place}.visible_us")
        joins.append(f" ASOF LEFT JOIN turnout_view_{place} ON {' AND '.join(matches)}")
    places = {view.name: place for place, view in enumerate(views)}
    defaults = {request.name: request.default for request in feature_set.requests}
    known = {column.lower() for column in columns}
    features = []
    for name in feature_set.columns:
        view_name, _, column = name.partition(".")
        if is_computed(name):
            features.append(f"{_double(None)} AS {quoted(name)}")
            continue
        if view_name == REQUEST:
            value = f"CAST(turnout_labels.{quoted(column)} AS DOUBLE)" if column.lower() in known else "NULL"
            default = defaults.get(column)
        else:
            value, default = _view_value(views[places[view_name]], places[view_name], column)
        features.append(f"coalesce({value}, {_double(default)}) AS {quoted(name)}")
    if marks:
        features += [mark for place, view in enumerate(views) for mark in _marks(view, place, feature_set)]
    passed = [f"turnout_labels.{quoted(column)}" for column in columns]
    return (
        f"SELECT {', '.join(passed + features)} FROM turnout_labels{''.join(joins)} ORDER BY turnout_labels.turnout_row"
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


def _marks(view: View, place: int, feature_set: FeatureSet) -> tuple[str, str]:
    """Return the SQL of how a view's row was found, and of how old it was."""
    taken = [at for at, feature in enumerate(view.features) if f"{view.name}.{feature.name}" in feature_set.columns]
    null = " OR ".join([f"turnout_view_{place}.f{at} IS NULL" for at in taken])
    age = f"turnout_labels.turnout_t - turnout_view_{place}.event_us"
    none = f"turnout_view_{place}.event_us IS NULL OR turnout_view_{place}.deleted"
    stale = f"WHEN {age} > {view.ttl_us:d} THEN 'STALE' " if view.ttl_us else ""
    found = f"CASE WHEN {none} THEN 'MISSING' {stale}WHEN {null} THEN 'NULL' ELSE 'PRESENT' END"
    return (
        f"{found} AS {quoted(view.name + '@status')}",
        f"CASE WHEN NOT ({none}) THEN {age} END AS {quoted(view.name + '@age_us')}",
    )


def _double(value: float | None) -> str:
    return "CAST('NaN' AS DOUBLE)" if value is None else f"CAST('{value!r}' AS DOUBLE)"
