"""The tables of what each unit amounts to: `unit_counts`, and `unit_values_<i>` for each metric.

They have one row for each unit, variant and epoch, and are made of nothing but the events of the units themselves. So
the tables of all units are those of some units and those of the others, one below the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.control.reducing.asked import asking, counts_for_maturity
from gateway.control.reducing.measures import parameters, valuing

if TYPE_CHECKING:
    import duckdb

    from experiments.definition import Experiment
    from gateway.control.reducing.asked import Step

COUNTS = "unit_counts"

# `compared`, `telling`: an outcome that a metric takes came; one by which a unit is known. `first`: the unit's first
# cell, which stands for it where each unit is counted once; `served`, `told`: whether it was so in any cell.
_COUNTS = """
WITH heard AS (
    SELECT prediction, bool_or(list_contains($telling, name)) AS telling FROM matched
    WHERE list_contains($names, name) GROUP BY prediction
),
rows AS (
    SELECT p.unit, p.variant, p.epoch, p.stratum, p.time_us, p.request, p.failed, p.fallback, p.default_rate,
        p.feature_age, p.feature_set, NOT p.failed AND NOT p.fallback AS fine, h.telling
    FROM asked p LEFT JOIN heard h ON h.prediction = p.rowid WHERE p.epoch > 0
),
cells AS (
    SELECT unit, variant, epoch, {stratum} AS stratum, min(time_us) AS since_us, count(*) AS predictions,
        count(*) FILTER (failed) AS failed, count(*) FILTER (fallback) AS fallback, bool_or(fine) AS served,
        coalesce(bool_or(telling IS NOT NULL) FILTER (fine), false) AS compared,
        coalesce(bool_or(telling) FILTER (fine), false) AS told,
        min(feature_set) FILTER (fine) AS feature_set_low, max(feature_set) FILTER (fine) AS feature_set_high,
        sum(default_rate) FILTER (NOT fallback) AS default_sum, count(default_rate) FILTER (NOT fallback) AS default_n,
        sum(feature_age) FILTER (NOT fallback) AS age_sum, count(feature_age) FILTER (NOT fallback) AS age_n
    FROM rows GROUP BY unit, variant, epoch
),
several AS (
    SELECT unit, bool_or(served) AS served, bool_or(told) AS told,
        arg_min(struct_pack(variant, epoch), (since_us, epoch, variant)) AS cell
    FROM cells GROUP BY unit HAVING count(*) > 1
)
SELECT c.* REPLACE (coalesce(s.served, c.served) AS served, coalesce(s.told, c.told) AS told),
    s.unit IS NULL OR (s.cell.variant = c.variant AND s.cell.epoch = c.epoch) AS first
FROM cells c LEFT JOIN several s USING (unit)
"""


def values_of(place: int) -> str:
    """Return the name of the table of a metric's values."""
    return f"unit_values_{place}"


def tables_of(experiment: Experiment, *, now_us: int = 0) -> dict[str, Step]:
    """Return the query of each table of an experiment's units, by its name."""
    names = {name for each in experiment.metrics for name in (each.outcome, each.denominator) if name}
    telling = {each.outcome for each in experiment.metrics if counts_for_maturity(each)}
    stratum = "arg_min(stratum, (time_us, request))" if experiment.plan.stratify_by else "''"
    counts: Step = _COUNTS.format(stratum=stratum), {"names": sorted(names), "telling": sorted(telling)}
    values = {
        values_of(place): (valuing(metric, experiment), parameters(metric, now_us=now_us))
        for place, metric in enumerate(experiment.metrics)
    }
    return {COUNTS: counts, **values}


def tabulate(connection: duckdb.DuckDBPyConnection, experiment: Experiment, *, now_us: int, named: bool = False) -> int:
    """Make the tables from the relations of the events; return how many outcomes belong to the model's predictions.

    Parameters
    ----------
    now_us
        The gateway's time: what windows are over by then.
    named
        Whether units keep their names.
    """
    for statement, given in asking(experiment, named=named):
        connection.execute(statement, given)
    (analyzed,) = connection.execute("SELECT count(*) FROM matched").fetchone() or (0,)
    for table, (query, given) in tables_of(experiment, now_us=now_us).items():
        connection.execute(f"CREATE TEMP TABLE {table} AS {query}", given)
    connection.execute("DROP TABLE IF EXISTS foreseen")
    connection.execute("DROP TABLE matched")
    connection.execute("DROP TABLE asked")
    return int(analyzed)
