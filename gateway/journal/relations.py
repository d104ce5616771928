"""The SQL of the event relations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import duckdb

_IDENTITIES = {
    "predictions": "request_id",
    "outcomes": "request_id, unit_id, model, name, outcome_id",
}

_REPEATED = """
CREATE TEMP TABLE {kind}_repeated AS
WITH identities AS (
    SELECT {identity} FROM all_{kind} GROUP BY ALL HAVING count(*) > 1
)
SELECT segment, position
FROM all_{kind} SEMI JOIN identities USING ({identity})
QUALIFY row_number() OVER (PARTITION BY {identity} ORDER BY time_us, segment, position) > 1
"""

# Outcomes that name a request belong to its prediction. The others go to their unit's latest prediction that is not
# later than they are; of several at one instant to the one recorded last. An ASOF join takes any of equal keys,
# hence the grouping before it.
_JOINED = """
CREATE TEMP VIEW joined AS
WITH by_unit AS (
    SELECT unit_id, event_time_us, max_by(struct_pack(request_id, model), (time_us, request_id)) AS prediction
    FROM predictions WHERE unit_id <> '' GROUP BY unit_id, event_time_us
),
by_unit_and_model AS (
    SELECT unit_id, model, event_time_us, max_by(request_id, (time_us, request_id)) AS request_id
    FROM predictions WHERE unit_id <> '' GROUP BY unit_id, model, event_time_us
)
SELECT p.request_id, p.unit_id, p.model,
    o.name, o.value, o.event_time_us, o.outcome_id, o.time_us, o.segment, o.position
FROM outcomes o JOIN predictions p ON o.request_id = p.request_id
WHERE o.request_id <> ''
UNION ALL
SELECT p.request_id, p.unit_id, p.model,
    o.name, o.value, o.event_time_us, o.outcome_id, o.time_us, o.segment, o.position
FROM (SELECT * FROM outcomes WHERE request_id = '' AND model <> '') o
ASOF JOIN by_unit_and_model p
    ON o.unit_id = p.unit_id AND o.model = p.model AND o.event_time_us >= p.event_time_us
WHERE o.event_time_us - p.event_time_us <= {window_us}
UNION ALL
SELECT p.prediction.request_id, p.unit_id, p.prediction.model,
    o.name, o.value, o.event_time_us, o.outcome_id, o.time_us, o.segment, o.position
FROM (SELECT * FROM outcomes WHERE request_id = '' AND model = '') o
ASOF JOIN by_unit p ON o.unit_id = p.unit_id AND o.event_time_us >= p.event_time_us
WHERE o.event_time_us - p.event_time_us <= {window_us}
"""

# An outcome is a model's when it names the model or is joined to a prediction of it.
COUNTS = """
WITH own_joined AS (SELECT * FROM joined WHERE $model = '' OR model = $model)
SELECT
    (SELECT count(*) FROM predictions WHERE $model = '' OR model = $model),
    (SELECT count(*) FROM predictions WHERE status <> 0 AND ($model = '' OR model = $model)),
    (SELECT count(*) FROM outcomes WHERE $model = '' OR model = $model
        OR (segment, position) IN (SELECT (segment, position) FROM own_joined)),
    (SELECT count(*) FROM own_joined),
    (SELECT coalesce(sum(list_sum(map_values(lost))), 0) FROM gaps),
    (SELECT count(*) FROM all_predictions WHERE $model = '' OR model = $model)
        + (SELECT count(*) FROM all_outcomes WHERE $model = '' OR model = $model)
        + (SELECT count(*) FROM all_gaps WHERE $model = '')
"""


def everything(kind: str, columns: Sequence[str], paths: Sequence[Path]) -> str:
    """Return the statement that defines ``all_<kind>``: every record, repeated ones too."""
    names = ", ".join(columns)
    query = f"SELECT {names} FROM live_{kind}"
    if paths:
        files = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
        query += f" UNION ALL SELECT {names} FROM read_parquet([{files}], hive_partitioning = false)"
    return f"CREATE TEMP VIEW all_{kind} AS {query}"


def define(connection: duckdb.DuckDBPyConnection, window_us: int) -> None:
    """Define predictions, outcomes, gaps and joined over the relations of all records."""
    for kind, identity in _IDENTITIES.items():
        connection.execute(_REPEATED.format(kind=kind, identity=identity))
        (repeated,) = connection.execute(f"SELECT count(*) FROM {kind}_repeated").fetchone() or (0,)
        without = f" ANTI JOIN {kind}_repeated USING (segment, position)" if repeated else ""
        connection.execute(f"CREATE TEMP VIEW {kind} AS SELECT * FROM all_{kind}{without}")
    connection.execute("CREATE TEMP VIEW gaps AS SELECT * FROM all_gaps")
    connection.execute(_JOINED.format(window_us=int(window_us)))
