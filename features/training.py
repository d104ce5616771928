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
from features.joining import Join, double
from features.offline import open_offline
from features.plan import REQUEST
from features.shares import is_shared
from features.sql import check_select, quoted
from features.transformed import Computed
from features.transforms import is_computed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from features.definitions import FeatureSet, Source, View
    from features.joining import Known
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
        count, first_us, last_us = store.one("SELECT count(*), min(turnout_t), max(turnout_t) FROM turnout_labels")
        join = Join(
            feature_set=feature_set,
            views=tuple(views),
            keys=tuple(keys),
            marks=marks,
            first_us=first_us,
            last_us=last_us,
        )
        known = join.shared(store, sources) if views and is_shared(store, count) else join.here(store)
        batches = store.stream(_beside(known, feature_set, columns), {})
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


def _beside(known: Known, feature_set: FeatureSet, columns: list[str]) -> str:
    """Return the query that puts the features beside the labels, in the labels' order."""
    defaults = {request.name: request.default for request in feature_set.requests}
    given = {column.lower() for column in columns}
    features = []
    for name in feature_set.columns:
        view_name, _, column = name.partition(".")
        if is_computed(name):
            features.append(f"{double(None)} AS {quoted(name)}")
            continue
        value = known.columns.get(name, "")
        if view_name == REQUEST:
            value = f"CAST(turnout_labels.{quoted(column)} AS DOUBLE)" if column.lower() in given else "NULL"
            value = f"coalesce({value}, {double(defaults.get(column))})"
        features.append(f"{value} AS {quoted(name)}")
    features += [
        f"{known.columns[name]} AS {quoted(name)}" for name in known.columns if name not in feature_set.columns
    ]
    passed = [f"turnout_labels.{quoted(column)}" for column in columns]
    return f"SELECT {', '.join(passed + features)} FROM turnout_labels{known.joins} ORDER BY turnout_labels.turnout_row"
