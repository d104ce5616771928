"""The units that new events touch, and all events of those units.

Theory of operation
-------------------
What a unit amounts to depends on its own predictions, on the outcomes of their requests and on those that name it. So
when events are new, the units that change are those

- whose predictions are new, or have the request id of a new prediction, outcome or, where it is asked for, shadow;
- that a new outcome names;
- of whose predictions a metric's window was over only since then;
- that share a request id with one of these: which of the two predictions counts is decided between them.

All records of these units are fetched, whatever their age, and reduced as all events are; no other unit's row changes.
Units are looked for by 64-bit hashes: one that is fetched and need not be is reduced to what it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from gateway.control.reducing.asked import attributes_of, foreseen_of, identity, outputs_of, unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import duckdb

    from experiments.definition import Experiment

OWNER = "hash(CASE WHEN unit_id <> '' THEN unit_id ELSE request_id END)"
"""Whose a prediction is; one without a unit is its own."""

_FRESH = """
CREATE TABLE fresh AS
SELECT request_id, unit_id, true AS asks FROM fresh_predictions WHERE segment NOT IN (SELECT segment FROM reduced)
UNION ALL
SELECT request_id, unit_id, false FROM fresh_outcomes WHERE segment NOT IN (SELECT segment FROM reduced)
"""

_FRESH_SHADOWS = """
INSERT INTO fresh
SELECT request_id, unit_id, false FROM fresh_shadows WHERE segment NOT IN (SELECT segment FROM reduced)
"""

_TOUCHED = f"""
CREATE TABLE touched_owners AS
SELECT {OWNER} AS owner FROM fresh WHERE asks
UNION
SELECT hash(unit_id) FROM fresh WHERE NOT asks AND request_id = ''
UNION
SELECT {OWNER} FROM all_predictions
WHERE hash(request_id) IN (SELECT hash(request_id) FROM fresh WHERE request_id <> '')
"""

_MATURED = f"""
UNION
SELECT {OWNER} FROM all_predictions
WHERE model = $model AND event_time_us > $then_us - {{window_us}} AND event_time_us <= $now_us - {{window_us}}
"""

_RIVALS = """
INSERT INTO touched_owners
SELECT DISTINCT other.owner FROM touched_owners t JOIN rivals r USING (owner) JOIN rivals other USING (met)
WHERE other.owner NOT IN (SELECT owner FROM touched_owners)
"""

_PREDICTIONS = f"""
CREATE TABLE fetched_predictions AS
SELECT {{columns}} FROM all_predictions WHERE {OWNER} IN (SELECT owner FROM touched_owners)
"""

_OUTCOMES = """
CREATE TABLE fetched_outcomes AS
SELECT * FROM all_outcomes WHERE CASE WHEN request_id <> '' THEN hash(request_id) ELSE hash(unit_id) END IN (
    SELECT hash(request_id) FROM fetched_predictions UNION ALL SELECT owner FROM touched_owners
)
"""

_SHADOWS = """
CREATE TABLE fetched_shadows AS
SELECT * FROM all_shadows WHERE {wanted} AND hash(request_id) IN (SELECT hash(request_id) FROM fetched_predictions)
"""

_UNITS = """
CREATE TABLE touched_units AS
SELECT DISTINCT {identity} AS unit FROM fetched_predictions WHERE experiment = $experiment AND model = $model
"""

# Predictions that share a request id and not their unit.
_FOUND_RIVALS = f"""
SELECT met, owner FROM (
    SELECT DISTINCT hash(request_id) AS met, {OWNER} AS owner FROM all_predictions
    WHERE hash(request_id) IN (SELECT met FROM predictions_met)
) QUALIFY count(*) OVER (PARTITION BY met) > 1
"""

_COLUMNS = (
    "request_id, unit_id, model, version, time_us, event_time_us, experiment, variant, epoch, latency_us, others_us, "
    "view_status, view_age_ms, feature_set, status, fallback, segment, position"
)


def touch(
    connection: duckdb.DuckDBPyConnection,
    experiment: Experiment,
    *,
    reduced: Iterable[str],
    then_us: int,
    now_us: int,
) -> int:
    """Make the tables `touched_owners` and `fresh`; return how many owners are touched.

    Parameters
    ----------
    connection
        Has all records as `all_<kind>`, those among which the new ones are as `fresh_<kind>`, and the table `rivals`.
    reduced
        The segments whose records are not new.
    then_us, now_us
        The gateway's time then and now.
    """
    connection.register("reduced_segments", pa.table({"segment": pa.array(list(reduced), pa.string())}))
    connection.execute("CREATE TABLE reduced AS SELECT segment FROM reduced_segments")
    connection.execute(_FRESH)
    if foreseen_of(experiment.metrics):
        connection.execute(_FRESH_SHADOWS)
    windows = {each.window_us for each in experiment.metrics if each.window_us} if then_us < now_us else set()
    query = _TOUCHED + "".join(_MATURED.format(window_us=int(window_us)) for window_us in sorted(windows))
    given = {"model": experiment.model, "then_us": then_us, "now_us": now_us} if windows else {}
    connection.execute(query, given)
    while connection.execute(_RIVALS).fetchall() != [(0,)]:
        continue
    (owners,) = connection.execute("SELECT count(*) FROM touched_owners").fetchone() or (0,)
    return int(owners)


def fetch(connection: duckdb.DuckDBPyConnection, experiment: Experiment) -> None:
    """Make the tables `fetched_<kind>` and `touched_units` of what `touch` found."""
    columns = _COLUMNS
    foreseen = bool(foreseen_of(experiment.metrics))
    columns += ", outputs" if foreseen or outputs_of(experiment.metrics) else ""
    columns += ", attributes" if attributes_of(experiment.metrics) or experiment.plan.stratify_by else ""
    connection.execute(_PREDICTIONS.format(columns=columns))
    connection.execute(_OUTCOMES)
    connection.execute(_SHADOWS.format(wanted="true" if foreseen else "false"))
    given = {"experiment": experiment.id, "model": experiment.model}
    connection.execute(_UNITS.format(identity=identity(unit_of(experiment))), given)


def rivals_of(connection: duckdb.DuckDBPyConnection) -> str:
    """Return the query of the predictions that share a request id and not their unit."""
    (met,) = connection.execute("SELECT count(*) FROM predictions_met").fetchone() or (0,)
    return _FOUND_RIVALS if met else f"SELECT * FROM ({_FOUND_RIVALS}) LIMIT 0"
