"""One metric from the predictions and outcomes of an experiment down to its moments."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from experiments.analysis.evidence import Maturity, MetricEvidence
from experiments.analysis.histogram import GAMMA, SMALLEST, Histogram
from experiments.analysis.joint import JointMoments
from experiments.metric import OF_PREDICTION, Covariate, MetricKind
from gateway.control.measures import observing, parameters, scoring

if TYPE_CHECKING:
    import duckdb

    from experiments.analysis.evidence import Cell
    from experiments.metric import Metric

_UNUSABLE = "SELECT variant, count(*) FROM scored WHERE NOT usable AND epoch >= 0 GROUP BY variant"

_UNITS = "SELECT variant, count(DISTINCT unit_id) FROM observed WHERE epoch >= 0 GROUP BY variant"

# A unit's own value before the experiment, and whether it has one.
_BEFORE = """
CREATE OR REPLACE TEMP TABLE observed AS
SELECT o.*, coalesce(b.num / b.den, 0.0) AS x, CAST(b.num IS NOT NULL AS DOUBLE) AS has
FROM (SELECT * FROM observed WHERE epoch >= 0) o
LEFT JOIN (SELECT unit_id, num, den FROM observed WHERE epoch < 0 AND den <> 0) b USING (unit_id)
"""

_ATTRIBUTE = """
CREATE OR REPLACE TEMP TABLE observed AS
SELECT *, coalesce(attribute, 0.0) AS x, CAST(attribute IS NOT NULL AS DOUBLE) AS has FROM observed WHERE epoch >= 0
"""

_HIGHEST = "SELECT quantile_cont({value}, $part) FROM observed WHERE epoch >= 0"

_CAPPED = "UPDATE observed SET num = greatest(least({value}, $upper), $lower) * {scale} WHERE {scale} <> 0"

_MOMENTS = "SELECT variant, epoch, stratum, count(*), {sums} FROM observed WHERE epoch >= 0 GROUP BY ALL"

_SHARED = """
WITH centred AS (
    SELECT variant, epoch, stratum, unit_id, {centred} FROM observed WHERE epoch >= 0
)
SELECT a.variant, a.epoch, a.stratum, b.variant, b.epoch, b.stratum, {products}
FROM centred a JOIN centred b ON a.unit_id = b.unit_id AND a.epoch < b.epoch
GROUP BY ALL
"""

# Each unit once, in the epoch that it was first seen in, so that epochs are independent.
_HISTOGRAMS = """
SELECT variant, epoch, stratum, place, count(*) FROM (
    SELECT variant, epoch, stratum,
        CASE WHEN abs(num) < {smallest} THEN 0
        ELSE CAST(sign(num) * (ceil(ln(abs(num) / {smallest}) / {log_gamma}) + 1) AS BIGINT) END AS place
    FROM observed WHERE epoch >= 0 QUALIFY row_number() OVER (PARTITION BY unit_id ORDER BY epoch) = 1
) GROUP BY ALL
"""

_MATURITY = """
WITH units AS (
    SELECT p.variant, p.unit_id, bool_or(coalesce(s.told, false)) AS told,
        bool_or($window_us = 0 OR p.event_time_us + $window_us > $now_us) AS open
    FROM own p LEFT JOIN scored s USING (prediction)
    WHERE p.epoch >= 0 AND NOT p.failed AND NOT p.fallback GROUP BY p.variant, p.unit_id
)
SELECT variant, count(*) FILTER (told), count(*) FILTER (NOT told AND open), count(*) FILTER (NOT told AND NOT open)
FROM units GROUP BY variant
"""


def counts_for_maturity(metric: Metric) -> bool:
    """Whether a unit without an outcome is one that is not known: not where that is a zero, or a count of none."""
    return metric.kind not in OF_PREDICTION and metric.kind is not MetricKind.COUNT and not metric.missing_as_zero


def reduce_metric(
    connection: duckdb.DuckDBPyConnection, metric: Metric, *, now_us: int, stratified: bool
) -> MetricEvidence:
    """Return the evidence of one metric from the tables `own` and `matched`; makes `scored` and `observed`."""
    connection.execute(scoring(metric), parameters(metric, now_us=now_us))
    connection.execute(observing(metric, stratified=stratified))
    maturity = _maturity(connection, metric, now_us) if counts_for_maturity(metric) else {}
    _cap(connection, metric)
    if metric.covariate is Covariate.PRE_EXPERIMENT:
        connection.execute(_BEFORE)
    elif metric.covariate is Covariate.ATTRIBUTE:
        connection.execute(_ATTRIBUTE)
    of_quantile = metric.kind is MetricKind.QUANTILE
    columns = ("num", "den") if metric.covariate is Covariate.NONE else ("num", "den", "x", "has")
    moments = {} if of_quantile else _moments(connection, columns)
    return MetricEvidence(
        moments=moments,
        histograms=_histograms(connection) if of_quantile else {},
        units=dict(connection.execute(_UNITS).fetchall()),
        unusable=dict(connection.execute(_UNUSABLE).fetchall()),
        shared=_shared(connection, columns) if len({epoch for _, epoch, _ in moments}) > 1 else {},
        maturity=maturity,
    )


def _maturity(connection: duckdb.DuckDBPyConnection, metric: Metric, now_us: int) -> dict[str, Maturity]:
    given = {"now_us": now_us, "window_us": metric.window_us}
    return {
        variant: Maturity(matured, pending, missing)
        for variant, matured, pending, missing in connection.execute(_MATURITY, given).fetchall()
    }


def _cap(connection: duckdb.DuckDBPyConnection, metric: Metric) -> None:
    """Move values beyond the caps, or beyond the quantile of all arms together, to them.

    A unit's value is its mean where its predictions are what is counted, and its own sum where they are not.
    """
    whole = metric.kind is MetricKind.RATIO
    value, scale = ("num", "1.0") if whole else ("num / den", "den")
    upper = math.inf if metric.upper_cap is None else metric.upper_cap
    lower = -math.inf if metric.lower_cap is None else metric.lower_cap
    if metric.winsorize:
        (found,) = connection.execute(_HIGHEST.format(value=value), {"part": metric.winsorize}).fetchone() or (None,)
        upper = upper if found is None else min(upper, found)
    if math.isfinite(upper) or math.isfinite(lower):
        connection.execute(_CAPPED.format(value=value, scale=scale), {"upper": upper, "lower": lower})


def _moments(connection: duckdb.DuckDBPyConnection, columns: tuple[str, ...]) -> dict[Cell, JointMoments]:
    pairs = [(one, other) for i, one in enumerate(columns) for other in columns[i:]]
    sums = [f"avg({each})" for each in columns] + [f"covar_pop({one}, {other}) * count(*)" for one, other in pairs]
    result: dict[Cell, JointMoments] = {}
    for variant, epoch, stratum, n, *numbers in connection.execute(_MOMENTS.format(sums=", ".join(sums))).fetchall():
        means, upper = tuple(numbers[: len(columns)]), dict(zip(pairs, numbers[len(columns) :], strict=True))
        products = tuple(
            tuple(upper[one, other] if (one, other) in upper else upper[other, one] for other in columns)
            for one in columns
        )
        result[variant, epoch, stratum] = JointMoments(n, means, products)
    return result


def _shared(
    connection: duckdb.DuckDBPyConnection, columns: tuple[str, ...]
) -> dict[tuple[Cell, Cell], tuple[tuple[float, ...], ...]]:
    centred = ", ".join(
        f"{each} - avg({each}) OVER (PARTITION BY variant, epoch, stratum) AS {each}" for each in columns
    )
    products = ", ".join(f"sum(a.{one} * b.{other})" for one in columns for other in columns)
    size = len(columns)
    result: dict[tuple[Cell, Cell], tuple[tuple[float, ...], ...]] = {}
    for row in connection.execute(_SHARED.format(centred=centred, products=products)).fetchall():
        numbers = row[6:]
        matrix = tuple(tuple(numbers[start : start + size]) for start in range(0, size * size, size))
        result[(row[0], row[1], row[2]), (row[3], row[4], row[5])] = matrix
    return result


def _histograms(connection: duckdb.DuckDBPyConnection) -> dict[Cell, Histogram]:
    counts: dict[Cell, dict[int, int]] = {}
    query = _HISTOGRAMS.format(smallest=SMALLEST, log_gamma=repr(math.log(GAMMA)))
    for variant, epoch, stratum, place, n in connection.execute(query).fetchall():
        counts.setdefault((variant, epoch, stratum), {})[place] = n
    return {cell: Histogram(found) for cell, found in counts.items()}
