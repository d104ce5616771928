"""The SQL of the event relations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.journal.columns import ADDED, SCHEMA_NUMBER, SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import duckdb

_IDENTITIES = {
    "predictions": "request_id",
    "outcomes": "request_id, unit_id, model, name, outcome_id",
    "shadows": "request_id, version",
}

# The first counts; of outcomes the first of those with the highest sequence.
_ORDERS = {
    "predictions": "time_us, segment, position",
    "outcomes": "sequence DESC, time_us, segment, position",
    "shadows": "time_us, segment, position",
}

# Whole identities are compared only where their hashes meet: hashes of all fit the memory where identities would not.
_MET = """
CREATE TEMP TABLE {kind}_met AS
SELECT met FROM (SELECT hash({identity}) AS met FROM all_{kind}) GROUP BY met HAVING count(*) > 1
"""
_REPEATED = """
CREATE TEMP TABLE {kind}_repeated AS
SELECT segment, position
FROM (SELECT {identity}, {order_columns}, hash({identity}) AS met FROM all_{kind}) SEMI JOIN {kind}_met USING (met)
QUALIFY row_number() OVER (PARTITION BY {identity} ORDER BY {order}) > 1
"""

# Outcomes that name a request belong to its prediction. The others go to their unit's latest prediction that is not
# later than they are; of several at one instant to the one recorded last. An ASOF join takes any of equal keys,
# hence the grouping before it, of those units alone that outcomes name.
_ATTRIBUTED = """
CREATE TEMP VIEW attributed AS
WITH named AS (SELECT DISTINCT unit_id FROM outcomes WHERE request_id = '' AND unit_id <> ''),
by_unit AS (
    SELECT unit_id, event_time_us,
        max_by(struct_pack(request_id, model, time_us), (time_us, request_id)) AS prediction
    FROM predictions SEMI JOIN named USING (unit_id) GROUP BY unit_id, event_time_us
),
by_unit_and_model AS (
    SELECT unit_id, model, event_time_us,
        max_by(struct_pack(request_id, time_us), (time_us, request_id)) AS prediction
    FROM predictions SEMI JOIN named USING (unit_id) GROUP BY unit_id, model, event_time_us
)
SELECT p.request_id, p.unit_id, p.model, p.event_time_us AS asked_us, p.time_us AS predicted_us, true AS by_request,
    o.name, o.value, o.label, o.event_time_us, o.outcome_id, o.time_us, o.segment, o.position
FROM outcomes o JOIN predictions p ON o.request_id = p.request_id
WHERE o.request_id <> ''
UNION ALL
SELECT p.prediction.request_id, p.unit_id, p.model, p.event_time_us, p.prediction.time_us, false,
    o.name, o.value, o.label, o.event_time_us, o.outcome_id, o.time_us, o.segment, o.position
FROM (SELECT * FROM outcomes WHERE request_id = '' AND model <> '') o
ASOF JOIN by_unit_and_model p
    ON o.unit_id = p.unit_id AND o.model = p.model AND o.event_time_us >= p.event_time_us
UNION ALL
SELECT p.prediction.request_id, p.unit_id, p.prediction.model, p.event_time_us, p.prediction.time_us, false,
    o.name, o.value, o.label, o.event_time_us, o.outcome_id, o.time_us, o.segment, o.position
FROM (SELECT * FROM outcomes WHERE request_id = '' AND model = '') o
ASOF JOIN by_unit p ON o.unit_id = p.unit_id AND o.event_time_us >= p.event_time_us
"""

_JOINED = """
CREATE TEMP VIEW joined AS
SELECT * FROM attributed WHERE by_request OR event_time_us - asked_us <= {window_us}
"""

# What a shadow made of a call, beside what was answered. A prediction whose record was lost has no pair.
_PAIRS = """
CREATE TEMP VIEW pairs AS
SELECT s.request_id, s.model, s.version AS shadow_version, p.version AS live_version, p.experiment, p.variant, p.epoch,
    p.unit_id, p.event_time_us, p.time_us, p.attributes, s.share, p.status AS live_status, s.status AS shadow_status,
    s.reason AS shadow_reason, p.outputs AS live_outputs, s.outputs AS shadow_outputs, p.features AS live_features,
    s.features AS shadow_features, p.feature_set AS live_feature_set, s.feature_set AS shadow_feature_set,
    p.latency_us AS live_latency_us, p.run_us AS live_run_us, p.run_rows AS live_run_rows, s.run_us AS shadow_run_us
FROM shadows s JOIN predictions p ON s.request_id = p.request_id AND s.model = p.model
"""

# An outcome is a model's when it names the model or belongs to a prediction of it.
COUNTS = """
WITH own AS (
    SELECT by_request OR event_time_us - asked_us <= $window_us AS kept, time_us < predicted_us AS early,
        event_time_us - asked_us > $window_us AS late, segment, position
    FROM attributed WHERE $model = '' OR model = $model
)
SELECT
    (SELECT count(*) FROM predictions WHERE $model = '' OR model = $model),
    (SELECT count(*) FROM predictions WHERE status <> 0 AND ($model = '' OR model = $model)),
    (SELECT count(*) FROM outcomes WHERE $model = '' OR model = $model
        OR (segment, position) IN (SELECT (segment, position) FROM own)),
    (SELECT count(*) FROM own WHERE kept),
    (SELECT coalesce(sum(CASE WHEN $model = '' THEN list_sum(map_values(lost)) ELSE models[$model] END), 0) FROM gaps),
    (SELECT count(*) FROM all_predictions WHERE $model = '' OR model = $model)
        + (SELECT count(*) FROM all_outcomes WHERE $model = '' OR model = $model)
        + (SELECT count(*) FROM all_gaps WHERE $model = '' OR map_contains(models, $model)),
    (SELECT count(*) FROM own WHERE kept AND early),
    (SELECT count(*) FROM own WHERE late),
    (SELECT count(*) FROM outcomes o WHERE ($model = '' OR model = $model)
        AND NOT EXISTS (FROM attributed a WHERE a.segment = o.segment AND a.position = o.position)),
    (SELECT coalesce(sum(corrected), 0) FROM (
        SELECT count(DISTINCT sequence) - 1 AS corrected FROM all_outcomes WHERE $model = '' OR model = $model
        GROUP BY request_id, unit_id, model, name, outcome_id))
"""


def everything(kind: str, parts: Mapping[int, Iterable[Path]], *, prefix: str = "all") -> str:
    """Return the statement that defines ``<prefix>_<kind>``: every record, repeated ones too.

    Parameters
    ----------
    kind
        A key of `SCHEMAS`.
    parts
        The files, by the number of their schema.
    prefix
        The records that are no files are in the relation ``<prefix>_live_<kind>``.
    """
    names = SCHEMAS[kind].names
    queries = [f"SELECT {', '.join(names)} FROM {prefix}_live_{kind}"]
    for schema, paths in parts.items():
        files = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
        if files:
            columns = ", ".join(_column(kind, name, schema) for name in names)
            queries.append(f"SELECT {columns} FROM read_parquet([{files}], hive_partitioning = false)")
    return f"CREATE TEMP VIEW {prefix}_{kind} AS {' UNION ALL '.join(queries)}"


def schema_read(number: int) -> int:
    """Return as which schema a part is read: one that a newer release wrote has all that this one knows."""
    return min(number, SCHEMA_NUMBER)


def define(connection: duckdb.DuckDBPyConnection, window_us: int) -> None:
    """Define predictions, outcomes, gaps, shadows, pairs and joined over the relations of all records."""
    define_joined(connection, window_us)
    define_once(connection, "shadows")
    connection.execute("CREATE TEMP VIEW gaps AS SELECT * FROM all_gaps")
    connection.execute(_PAIRS)


def define_joined(connection: duckdb.DuckDBPyConnection, window_us: int, *, share: str = "true") -> None:
    """Define predictions, outcomes, attributed and joined over `all_predictions` and `all_outcomes`.

    Parameters
    ----------
    share
        Which predictions, once each counts once; then only outcomes of these are attributed and joined.
    """
    define_once(connection, "predictions", share)
    define_once(connection, "outcomes")
    connection.execute(_ATTRIBUTED)
    connection.execute(_JOINED.format(window_us=int(window_us)))


def joining(window_us: int) -> str:
    """Return all that decides which records count and what belongs to what."""
    return f"{_IDENTITIES} {_ORDERS} {_ATTRIBUTED} {_JOINED.format(window_us=int(window_us))}"


def define_once(connection: duckdb.DuckDBPyConnection, kind: str, share: str = "true") -> None:
    """Define the relation of a kind that has each identity once."""
    repeated = _repeated(connection, kind, _IDENTITIES[kind])
    without = f" ANTI JOIN {kind}_repeated USING (segment, position)" if repeated else ""
    connection.execute(f"CREATE TEMP VIEW {kind} AS SELECT * FROM all_{kind}{without} WHERE {share}")


def _repeated(connection: duckdb.DuckDBPyConnection, kind: str, identity: str) -> bool:
    """Find the records that repeat an identity and do not count, and return whether there are any."""
    connection.execute(_MET.format(kind=kind, identity=identity))
    (met,) = connection.execute(f"SELECT count(*) FROM {kind}_met").fetchone() or (0,)
    if not met:
        return False
    order = _ORDERS[kind]
    connection.execute(
        _REPEATED.format(kind=kind, identity=identity, order=order, order_columns=order.replace(" DESC", ""))
    )
    (repeated,) = connection.execute(f"SELECT count(*) FROM {kind}_repeated").fetchone() or (0,)
    return bool(repeated)


def _column(kind: str, name: str, schema: int) -> str:
    since, default = ADDED.get(kind, {}).get(name, (1, ""))
    return name if schema >= since else f"{default} AS {name}"
