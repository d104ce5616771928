"""A view's rows as SQL over the offline store, in one shape for all views."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from features.errors import FeatureSqlInvalidError
from features.sql import check_select, quoted

if TYPE_CHECKING:
    from features.definitions import Feature, View
    from features.offline import OfflineStore

# Bounds of what a datetime holds; a year is left on either side, so that SQL may add and subtract.
_FIRST = datetime(2, 1, 1)  # noqa: DTZ001  # DuckDB's TIMESTAMP is UTC without saying so
_LAST = datetime(9998, 12, 31)  # noqa: DTZ001
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001
_TIME_TYPES = frozenset({"TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S"})
_NUMBER_TYPES = frozenset(
    {
        *("DOUBLE", "FLOAT", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
        *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
    }
)


def check_view(store: OfflineStore, view: View) -> None:
    """Raise FeatureSqlInvalidError unless the view's SQL gives its join keys, its times and its features."""
    store.compute(view, bounds_of(None, None))
    try:
        columns = {name.lower(): kind for name, kind in store.columns(view.sql, bounds_of(None, None)).items()}
    except FeatureSqlInvalidError as error:
        raise FeatureSqlInvalidError(f"view {view.name}: {error.message}", view=view.name) from error
    features = [feature.name for feature in view.features]
    for name in (*view.join_keys, "event_time", *features):
        if name.lower() not in columns:
            raise FeatureSqlInvalidError(f"view {view.name}: its SQL gives no column {name!r}", view=view.name)
    for name in ("event_time", "created_time"):
        if columns.get(name, "TIMESTAMP") not in _TIME_TYPES:
            raise FeatureSqlInvalidError(
                f"view {view.name}: {name} is a {columns[name]}, not a TIMESTAMP", view=view.name
            )
    if columns.get("deleted", "BOOLEAN") != "BOOLEAN":
        raise FeatureSqlInvalidError(
            f"view {view.name}: deleted is a {columns['deleted']}, not a BOOLEAN", view=view.name
        )
    for feature in view.features:
        _check_feature(view, feature, columns[feature.name.lower()])


def _check_feature(view: View, feature: Feature, kind: str) -> None:
    """Raise FeatureSqlInvalidError unless a feature's column is a number, and of the type that is declared."""
    if kind not in _NUMBER_TYPES and not kind.startswith("DECIMAL"):
        raise FeatureSqlInvalidError(f"view {view.name}: {feature.name} is a {kind}, not a number", view=view.name)
    if feature.type not in {"", _type_of(kind)}:
        raise FeatureSqlInvalidError(
            f"view {view.name}: {feature.name} is declared as {feature.type} and its SQL gives a {kind}",
            view=view.name,
        )


def _type_of(kind: str) -> str:
    """Return which of the features' types a column of a number's type is."""
    if kind == "BOOLEAN":
        return "bool"
    return "float" if kind in {"DOUBLE", "FLOAT"} or kind.startswith("DECIMAL") else "int"


def view_rows(
    store: OfflineStore, view: View, *, since_us: int | None, until_us: int | None
) -> tuple[str, dict[str, object]]:
    """Return the SQL of a view's rows in one shape for all views, and the parameters to bind.

    The columns are `k0, k1, …` (join keys as text), `event_us`, `created_us` (the event time where the view tells no
    created time), `visible_us` (the later of the two: from then on the row is known), `deleted` (whether it
    says that there is no value from then on; false where the view does not tell), `f0, f1, …` (features as
    doubles). Rows without an event time or a join key are left out, and those not visible in `(since_us, until_us]`.
    """
    bounds = bounds_of(since_us, until_us)
    store.compute(view, bounds)
    used = check_select(view.sql, bounds)
    names = {name.lower() for name in store.columns(view.sql, bounds)}
    created = (
        "coalesce(epoch_us(created_time), epoch_us(event_time))" if "created_time" in names else "epoch_us(event_time)"
    )
    keys = [f"CAST({quoted(name)} AS VARCHAR) AS k{place}" for place, name in enumerate(view.join_keys)]
    values = [f"CAST({quoted(feature.name)} AS DOUBLE) AS f{place}" for place, feature in enumerate(view.features)]
    deleted = "coalesce(deleted, false)" if "deleted" in names else "false"
    known = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in ("event_time", *view.join_keys))
    sql = (
        f"SELECT {', '.join(keys)}, epoch_us(event_time) AS event_us, {created} AS created_us, "
        f"greatest(epoch_us(event_time), {created}) AS visible_us, {deleted} AS deleted, {', '.join(values)} "
        f"FROM (\n{view.sql}\n) WHERE {known}"
    )
    parameters: dict[str, object] = dict(used)
    conditions = []
    if since_us is not None:
        conditions.append("visible_us > $since_us")
        parameters["since_us"] = since_us
    if until_us is not None:
        conditions.append("visible_us <= $until_us")
        parameters["until_us"] = until_us
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT * FROM ({sql}){where}", parameters


def bounds_of(since_us: int | None, until_us: int | None) -> dict[str, datetime]:
    """Return the parameters that a view's SQL may use to limit its scan: `$since` and `$until`, UTC timestamps.

    Only rows that became visible in `(since, until]` are asked for; giving more costs time and changes nothing. A
    window over the last seven days therefore reads its source from `$since - INTERVAL 7 DAY` on.
    """
    return {
        "since": _FIRST if since_us is None else _timestamp(since_us),
        "until": _LAST if until_us is None else _timestamp(until_us),
    }


def _timestamp(time_us: int) -> datetime:
    try:
        return min(max(_EPOCH + timedelta(microseconds=time_us), _FIRST), _LAST)
    except OverflowError:
        return _FIRST if time_us < 0 else _LAST
