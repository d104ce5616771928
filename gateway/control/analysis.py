"""From the event log to the evidence of an experiment: SQL that reduces events to counts and moments.

One observation is a unit's mean over its predictions in one epoch: units are what is assigned, and several predictions
of one unit are not several pieces of evidence. A prediction with several outcomes of the metric's name counts with
their mean. Failed predictions, and those that the control answered in place of a variant, are counted and not compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.analysis.evidence import Evidence, MetricEvidence, VariantCount
from experiments.analysis.moments import Moments
from experiments.definition import MetricKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

    from experiments.analysis.evidence import Cell
    from experiments.definition import Experiment, Metric

# Beyond it a square no longer fits a float64, and the value is as little use as an infinite one.
_VALUE_MAX = 1e150

_OUTPUT = "p.outputs[$output][$element]"

# The value of one prediction and one of its outcomes `value`; NULL where the kind gives none.
_VALUES: Mapping[MetricKind, str] = {
    MetricKind.MEAN: "value",
    MetricKind.SQUARED_ERROR: "(output - value) * (output - value)",
    MetricKind.ABSOLUTE_ERROR: "abs(output - value)",
    MetricKind.LOG_LOSS: (
        # `greatest` skips NULL, so that the range is asked first.
        "CASE WHEN output BETWEEN 0 AND 1 AND value = 1 THEN -ln(least(greatest(output, 1e-15), 1 - 1e-15))"
        " WHEN output BETWEEN 0 AND 1 AND value = 0 THEN -ln(least(greatest(1 - output, 1e-15), 1 - 1e-15)) END"
    ),
    MetricKind.ACCURACY: "CASE WHEN isfinite(output) THEN CAST(round(output) = value AS DOUBLE) END",
}

_OWN = """
CREATE TEMP TABLE own AS
SELECT request_id, time_us, variant, epoch, unit_id, outputs, status <> 0 AS failed, fallback
FROM predictions
WHERE experiment = $experiment AND model = $model AND unit_id <> ''
"""

# Outcomes of the whole model, in the experiment or not.
_MATCHED = "CREATE TEMP TABLE matched AS SELECT request_id, name, value FROM joined WHERE model = $model"

_COMPARED = """
CREATE TEMP TABLE compared AS
SELECT p.request_id, p.variant, p.epoch, p.unit_id, p.outputs, o.name, o.value
FROM own p JOIN matched o USING (request_id)
WHERE NOT p.failed AND NOT p.fallback AND list_contains($names, o.name)
"""

_COUNTS = """
SELECT variant, count(DISTINCT unit_id), count(*), count(*) FILTER (failed), count(*) FILTER (fallback)
FROM own GROUP BY variant
"""

_MATURED = "SELECT variant, count(DISTINCT unit_id) FROM compared GROUP BY variant"

_LOST = """
SELECT entry.key, sum(entry.value) FROM (SELECT unnest(map_entries(lost)) AS entry FROM gaps) GROUP BY entry.key
"""

_FIRST_SEEN = """
SELECT cell.variant, cell.epoch, count(*)
FROM (SELECT arg_min(struct_pack(variant, epoch), (time_us, request_id)) AS cell FROM own GROUP BY unit_id)
GROUP BY ALL
"""

_SCORED = """
CREATE OR REPLACE TEMP TABLE scored AS
WITH pairs AS (
    SELECT p.request_id, p.variant, p.epoch, p.unit_id, p.value, {output} AS output
    FROM compared p WHERE p.name = $outcome
),
scores AS (SELECT request_id, variant, epoch, unit_id, CAST({value} AS DOUBLE) AS score FROM pairs)
SELECT request_id, variant, epoch, unit_id, avg(score) FILTER (usable) AS score, bool_and(usable) AS usable
FROM (SELECT *, coalesce(abs(score) < {value_max}, false) AS usable FROM scores)
GROUP BY request_id, variant, epoch, unit_id
"""

_OBSERVED = """
CREATE OR REPLACE TEMP TABLE observed AS
SELECT variant, epoch, unit_id, avg(score) AS score FROM scored WHERE usable GROUP BY variant, epoch, unit_id
"""

_UNUSABLE = "SELECT variant, count(*) FROM scored WHERE NOT usable GROUP BY variant"

_MOMENTS = (
    "SELECT variant, epoch, count(*), avg(score), var_pop(score) * count(*) FROM observed GROUP BY variant, epoch"
)

_UNITS = "SELECT variant, count(DISTINCT unit_id) FROM observed GROUP BY variant"

_SHARED = """
WITH centred AS (
    SELECT variant, epoch, unit_id, score - avg(score) OVER (PARTITION BY variant, epoch) AS score FROM observed
)
SELECT a.variant, a.epoch, b.variant, b.epoch, sum(a.score * b.score)
FROM centred a JOIN centred b ON a.unit_id = b.unit_id AND a.epoch < b.epoch
GROUP BY ALL
"""


def reduce_events(connection: duckdb.DuckDBPyConnection, experiment: Experiment) -> Evidence:
    """Return what the events say of the experiment.

    Parameters
    ----------
    connection
        A snapshot of the event log, with the relations `predictions`, `joined` and `gaps`; this adds temporary tables.
    experiment
        What was assigned and is measured.
    """
    names = sorted({metric.outcome for metric in experiment.metrics})
    connection.execute(_OWN, {"experiment": experiment.id, "model": experiment.model})
    connection.execute(_MATCHED, {"model": experiment.model})
    connection.execute(_COMPARED, {"names": names})
    (analyzed,) = connection.execute("SELECT count(*) FROM matched").fetchone() or (0,)
    evidence = Evidence(
        counts=_counts(connection, experiment),
        metrics=tuple(_reduce_metric(connection, metric) for metric in experiment.metrics),
        first_seen={(variant, epoch): n for variant, epoch, n in connection.execute(_FIRST_SEEN).fetchall()},
        outcomes_analyzed=analyzed,
    )
    for table in ("own", "matched", "compared", "scored", "observed"):
        connection.execute(f"DROP TABLE {table}")
    return evidence


def _counts(connection: duckdb.DuckDBPyConnection, experiment: Experiment) -> tuple[VariantCount, ...]:
    found = {row[0]: row[1:] for row in connection.execute(_COUNTS).fetchall()}
    matured = dict(connection.execute(_MATURED).fetchall())
    lost = dict(connection.execute(_LOST).fetchall())
    counts: list[VariantCount] = []
    for each in experiment.variants:
        units, predictions, failed, fallback = found.get(each.variant, (0, 0, 0, 0))
        counts.append(
            VariantCount(
                variant=each.variant,
                units=units,
                predictions=predictions,
                matured_units=matured.get(each.variant, 0),
                failed_predictions=failed,
                fallback_predictions=fallback,
                lost_predictions=int(lost.get(f"{experiment.id}/{each.variant}", 0)),
            )
        )
    return tuple(counts)


def _reduce_metric(connection: duckdb.DuckDBPyConnection, metric: Metric) -> MetricEvidence:
    has_output = metric.kind is not MetricKind.MEAN
    parameters: dict[str, object] = {"outcome": metric.outcome}
    if has_output:
        parameters |= {"output": metric.output, "element": metric.output_index + 1}
    scored = _SCORED.format(output=_OUTPUT if has_output else "NULL", value=_VALUES[metric.kind], value_max=_VALUE_MAX)
    connection.execute(scored, parameters)
    connection.execute(_OBSERVED)
    moments: dict[Cell, Moments] = {
        (variant, epoch): Moments(n, mean, m2)
        for variant, epoch, n, mean, m2 in connection.execute(_MOMENTS).fetchall()
    }
    shared: dict[tuple[Cell, Cell], float] = {}
    if len({epoch for _, epoch in moments}) > 1:
        for one, early, other, late, products in connection.execute(_SHARED).fetchall():
            shared[(one, early), (other, late)] = products
    return MetricEvidence(
        moments=moments,
        units=dict(connection.execute(_UNITS).fetchall()),
        unusable=dict(connection.execute(_UNUSABLE).fetchall()),
        shared=shared,
    )
