"""The evidence of one metric, from what each unit amounts to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from experiments.analysis.evidence import Maturity, MetricEvidence
from experiments.analysis.histogram import GAMMA, SMALLEST, Histogram
from experiments.analysis.joint import JointMoments
from experiments.metric import Covariate, MetricKind
from gateway.control.reducing.asked import counts_for_maturity

if TYPE_CHECKING:
    import duckdb

    from experiments.analysis.evidence import Cell
    from experiments.metric import Metric

STRATA_MAX = 64

# The strata that most units came in first; all others are one, without a name.
STRATA = """
CREATE OR REPLACE TEMP TABLE strata AS
SELECT stratum FROM unit_counts GROUP BY stratum ORDER BY count(DISTINCT unit) DESC, stratum LIMIT $strata_max
"""
KEPT_STRATUM = "CASE WHEN stratum IN (SELECT stratum FROM strata) THEN stratum ELSE '' END"

_OBSERVED = """
CREATE OR REPLACE TEMP VIEW observed AS
SELECT variant, epoch, unit, {stratum} AS stratum, {num} AS num, den, {x} AS x, CAST({beside} AS DOUBLE) AS beside
FROM {table} WHERE num IS NOT NULL
"""

_HIGHEST = "SELECT quantile_cont({value}, $part) FROM {table} WHERE num IS NOT NULL"

_KNOWN = "SELECT variant, {units} FROM {table} WHERE num IS NOT NULL AND attribute IS NOT NULL GROUP BY variant"

_UNUSABLE = "SELECT variant, sum(unusable) FROM {table} GROUP BY variant HAVING sum(unusable) > 0"

_MOMENTS = "SELECT variant, epoch, stratum, count(*), {sums} FROM {relation} GROUP BY ALL"

_SHARED = """
WITH means AS (SELECT variant, epoch, stratum, {means} FROM observed GROUP BY ALL),
centred AS (
    SELECT o.variant, o.epoch, o.stratum, o.unit, {centred} FROM observed o JOIN means m USING (variant, epoch, stratum)
)
SELECT a.variant, a.epoch, a.stratum, b.variant, b.epoch, b.stratum, {products}
FROM centred a JOIN centred b ON a.unit = b.unit AND a.epoch < b.epoch
GROUP BY ALL
"""

# Each unit once, in the epoch that it was first seen in, so that epochs are independent.
_HISTOGRAMS = """
SELECT variant, epoch, stratum, place, count(*) FROM (
    SELECT variant, epoch, stratum,
        CASE WHEN abs(num) < {smallest} THEN 0
        ELSE CAST(sign(num) * (ceil(ln(abs(num) / {smallest}) / {log_gamma}) + 1) AS BIGINT) END AS place
    FROM observed QUALIFY row_number() OVER (PARTITION BY unit ORDER BY epoch, variant) = 1
) GROUP BY ALL
"""

_MATURITY = """
SELECT variant, count(*) FILTER (told), count(*) FILTER (NOT told AND pending),
    count(*) FILTER (NOT told AND NOT pending)
FROM {units} GROUP BY variant
"""
_UNITS_OF_EPOCHS = """
(SELECT variant, unit, bool_or(told) AS told, bool_or(pending) AS pending FROM {table} GROUP BY variant, unit)
"""


def evidence_of(
    connection: duckdb.DuckDBPyConnection, metric: Metric, table: str, *, stratified: bool, epochs: int
) -> MetricEvidence:
    """Return the evidence of one metric from the table of its units' values.

    Parameters
    ----------
    stratified
        Whether the strata that are kept are in the table `strata`.
    epochs
        In how many epochs units were seen; where it is one, a unit has one row.
    """
    _observe(connection, metric, table, stratified=stratified)
    of_quantile = metric.kind is MetricKind.QUANTILE
    columns = ("num", "den") if metric.covariate is Covariate.NONE else ("num", "den", "x", "beside")
    units = "count(*)" if epochs == 1 else "count(DISTINCT unit)"
    return MetricEvidence(
        moments={} if of_quantile else moments_of(connection, "observed", columns),
        histograms=_histograms(connection) if of_quantile else {},
        units=dict(connection.execute(f"SELECT variant, {units} FROM observed GROUP BY variant").fetchall()),
        unusable={name: int(n) for name, n in connection.execute(_UNUSABLE.format(table=table)).fetchall()},
        shared=_shared(connection, columns) if epochs > 1 and not of_quantile else {},
        covariate_units=dict(connection.execute(_KNOWN.format(units=units, table=table)).fetchall())
        if metric.covariate is Covariate.CONTROL_PREDICTION
        else {},
        maturity=_maturity(connection, table, epochs) if counts_for_maturity(metric) else {},
    )


def moments_of(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: tuple[str, ...]
) -> dict[Cell, JointMoments]:
    """Return the moments of some columns of a relation, by variant, epoch and stratum."""
    pairs = [(one, other) for i, one in enumerate(columns) for other in columns[i:]]
    sums = [f"avg({each})" for each in columns] + [f"covar_pop({one}, {other}) * count(*)" for one, other in pairs]
    result: dict[Cell, JointMoments] = {}
    query = _MOMENTS.format(sums=", ".join(sums), relation=relation)
    for variant, epoch, stratum, n, *numbers in connection.execute(query).fetchall():
        means, upper = tuple(numbers[: len(columns)]), dict(zip(pairs, numbers[len(columns) :], strict=True))
        products = tuple(
            tuple(upper[one, other] if (one, other) in upper else upper[other, one] for other in columns)
            for one in columns
        )
        result[variant, epoch, stratum] = JointMoments(n, means, products)
    return result


def _observe(connection: duckdb.DuckDBPyConnection, metric: Metric, table: str, *, stratified: bool) -> None:
    """Make the view of what is compared: values beyond the caps, or the quantile of all arms, are moved to them.

    A unit's value is its mean where its predictions are what is counted, and its own sum where they are not.
    """
    whole = metric.kind is MetricKind.RATIO
    upper = math.inf if metric.upper_cap is None else metric.upper_cap
    lower = -math.inf if metric.lower_cap is None else metric.lower_cap
    if metric.winsorize:
        highest = _HIGHEST.format(value="num" if whole else "num / den", table=table)
        (found,) = connection.execute(highest, {"part": metric.winsorize}).fetchone() or (None,)
        upper = upper if found is None else min(upper, found)
    num, before = (
        _capped("num", "den", lower, upper, whole=whole),
        _capped("before_num", "before_den", lower, upper, whole=whole),
    )
    # Beside a covariate that some units do not have stands whether one has it; beside what the control's version
    # foresaw its square, since errors are largest in the middle. That one is known in one arm more often than in
    # another, so that whether it is known is no covariate: where it is not, the mean of all stands for it.
    x, beside = "0.0", "false"
    if metric.covariate is Covariate.PRE_EXPERIMENT:
        x, beside = f"coalesce({before} / before_den, 0.0)", "before_num IS NOT NULL"
    elif metric.covariate is Covariate.ATTRIBUTE:
        x, beside = "coalesce(attribute, 0.0)", "attribute IS NOT NULL"
    elif metric.covariate is Covariate.CONTROL_PREDICTION:
        means = f"FROM {table} WHERE num IS NOT NULL"
        x = f"coalesce(attribute, (SELECT avg(attribute) {means}), 0.0)"
        beside = f"coalesce(attribute * attribute, (SELECT avg(attribute * attribute) {means}), 0.0)"
    connection.execute(
        _OBSERVED.format(stratum=KEPT_STRATUM if stratified else "''", num=num, x=x, beside=beside, table=table)
    )


def _capped(num: str, den: str, lower: float, upper: float, *, whole: bool) -> str:
    """Return the SQL of a numerator whose value is moved between the caps."""
    if not (math.isfinite(upper) or math.isfinite(lower)):
        return num
    limits = [f"'{limit!r}'::DOUBLE" for limit in (lower, upper)]
    value, scale = (num, "1.0") if whole else (f"{num} / {den}", den)
    moved = f"greatest(least({value}, {limits[1]}), {limits[0]}) * {scale}"
    return f"CASE WHEN {scale} <> 0 THEN {moved} ELSE {num} END"


def _maturity(connection: duckdb.DuckDBPyConnection, table: str, epochs: int) -> dict[str, Maturity]:
    units = table if epochs == 1 else _UNITS_OF_EPOCHS.format(table=table)
    return {
        variant: Maturity(matured, pending, missing)
        for variant, matured, pending, missing in connection.execute(_MATURITY.format(units=units)).fetchall()
    }


def _shared(
    connection: duckdb.DuckDBPyConnection, columns: tuple[str, ...]
) -> dict[tuple[Cell, Cell], tuple[tuple[float, ...], ...]]:
    means = ", ".join(f"avg({each}) AS {each}" for each in columns)
    centred = ", ".join(f"o.{each} - m.{each} AS {each}" for each in columns)
    products = ", ".join(f"sum(a.{one} * b.{other})" for one in columns for other in columns)
    size = len(columns)
    result: dict[tuple[Cell, Cell], tuple[tuple[float, ...], ...]] = {}
    query = _SHARED.format(means=means, centred=centred, products=products)
    for row in connection.execute(query).fetchall():
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
