"""Each kind of metric as SQL: what one prediction, or one unit, is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.metric import OF_OUTPUT, OF_PREDICTION, OF_UNIT, Covariate, MetricKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from experiments.metric import Metric

# Beyond it the sums of squares no longer fit a float64, and the value is as little use as an infinite one.
VALUE_MAX = 1e140

_OUTPUT = "p.outputs[$output][$element]"
_ATTRIBUTE = (
    "CASE WHEN isfinite(TRY_CAST(p.attributes[$attribute] AS DOUBLE))"
    " THEN TRY_CAST(p.attributes[$attribute] AS DOUBLE) END"
)

# The value of one prediction and one of its outcomes `value`; NULL where the kind gives none.
_VALUES: Mapping[MetricKind, str] = {
    MetricKind.MEAN: "value",
    MetricKind.QUANTILE: "value",
    MetricKind.RATIO: "value",
    MetricKind.PROPORTION: "CASE WHEN isfinite(value) THEN CAST(value > 0 AS DOUBLE) END",
    MetricKind.COUNT: "1.0",
    MetricKind.SQUARED_ERROR: "(output - value) * (output - value)",
    MetricKind.BRIER: (
        "CASE WHEN output BETWEEN 0 AND 1 AND value IN (0, 1) THEN (output - value) * (output - value) END"
    ),
    MetricKind.ABSOLUTE_ERROR: "abs(output - value)",
    MetricKind.LOG_LOSS: (
        # `greatest` skips NULL, so that the range is asked first.
        "CASE WHEN output BETWEEN 0 AND 1 AND value = 1 THEN -ln(least(greatest(output, 1e-15), 1 - 1e-15))"
        " WHEN output BETWEEN 0 AND 1 AND value = 0 THEN -ln(least(greatest(1 - output, 1e-15), 1 - 1e-15)) END"
    ),
    MetricKind.ACCURACY: "CASE WHEN isfinite(output) THEN CAST(round(output) = value AS DOUBLE) END",
}

# The value of one prediction, and which predictions have one. A fallback is the control's work in another's name.
_OWN_VALUES: Mapping[MetricKind, tuple[str, str]] = {
    MetricKind.LATENCY: ("latency_us / 1000.0", "NOT failed"),
    MetricKind.ERROR_RATE: ("CAST(failed AS DOUBLE)", "true"),
    MetricKind.FEATURE_DEFAULT_RATE: ("default_rate", "default_rate IS NOT NULL"),
    MetricKind.FEATURE_AGE: ("feature_age", "feature_age IS NOT NULL"),
}

# One row for each prediction that counts: `score` and `weight`, and whether the score is a finite number.
_SCORED_BY_OUTCOME = """
CREATE OR REPLACE TEMP TABLE scored AS
WITH asked AS (
    SELECT * FROM own
    WHERE NOT failed AND NOT fallback AND ($window_us = 0 OR event_time_us + $window_us <= $now_us)
),
pairs AS (
    SELECT p.prediction, o.value, {output} AS output, o.name = $outcome AS main
    FROM asked p JOIN matched o USING (prediction)
    WHERE o.name IN ($outcome, $denominator)
        AND ($window_us = 0 OR o.event_time_us BETWEEN p.event_time_us AND p.event_time_us + $window_us)
),
valued AS (SELECT prediction, main, CAST({value} AS DOUBLE) AS score FROM pairs),
judged AS (SELECT *, coalesce(abs(score) < {value_max}, false) AS usable FROM valued),
known AS (
    SELECT prediction, {score} AS score, {weight} AS weight, bool_and(usable) AS usable, true AS told
    FROM judged GROUP BY prediction
)
SELECT p.prediction, p.request_id, p.time_us, p.variant, p.epoch, p.unit_id, p.stratum, {attribute} AS attribute,
    coalesce(k.score, 0.0) AS score, coalesce(k.weight, {missing_weight}) AS weight, coalesce(k.usable, true) AS usable,
    coalesce(k.told, false) AS told
FROM asked p {join} known k USING (prediction)
"""

_SCORED_BY_PREDICTION = """
CREATE OR REPLACE TEMP TABLE scored AS
SELECT prediction, request_id, time_us, variant, epoch, unit_id, stratum, {attribute} AS attribute,
    {value} AS score, 1.0 AS weight,
    coalesce(abs({value}) < {value_max}, false) AS usable, true AS told
FROM own p WHERE NOT fallback AND {where}
"""

# One row for each unit and epoch; what came before the experiment stands in the epoch -1 of no variant.
_OBSERVED = """
CREATE OR REPLACE TEMP TABLE observed AS
SELECT variant, epoch, unit_id, {stratum} AS stratum, {attribute} AS attribute, {numerator} AS num,
    {denominator} AS den
FROM scored WHERE usable GROUP BY variant, epoch, unit_id
"""


def scoring(metric: Metric) -> str:
    """Return the statement that makes the table `scored` of a metric."""
    attribute = _ATTRIBUTE if metric.covariate is Covariate.ATTRIBUTE else "CAST(NULL AS DOUBLE)"
    if metric.kind in OF_PREDICTION:
        value, where = _OWN_VALUES[metric.kind]
        return _SCORED_BY_PREDICTION.format(attribute=attribute, value=value, where=where, value_max=VALUE_MAX)
    score, weight = "avg(score) FILTER (usable)", "1.0"
    if metric.kind is MetricKind.RATIO:
        score, weight = "coalesce(sum(score) FILTER (main), 0.0)", "coalesce(sum(score) FILTER (NOT main), 0.0)"
    if metric.kind is MetricKind.COUNT:
        score = "sum(score)"
    if metric.kind is MetricKind.PROPORTION:
        score = "max(score)"
    zero = metric.missing_as_zero
    return _SCORED_BY_OUTCOME.format(
        attribute=attribute,
        output=_OUTPUT if metric.kind in OF_OUTPUT else "NULL",
        value=_VALUES[metric.kind],
        value_max=VALUE_MAX,
        score=score,
        weight=weight,
        missing_weight="0.0" if metric.kind is MetricKind.RATIO else "1.0",
        join="LEFT JOIN" if zero else "JOIN",
    )


def observing(metric: Metric, *, stratified: bool) -> str:
    """Return the statement that makes the table `observed` of a metric from `scored`.

    Finding a unit's first prediction costs more than all sums, so it is done only where something hangs on it.
    """
    first = "arg_min({0}, (time_us, request_id))"
    covaries = metric.covariate is Covariate.ATTRIBUTE
    if metric.kind in OF_UNIT:
        numerator, denominator = ("max(score)" if metric.kind is MetricKind.PROPORTION else "sum(score)"), "1.0"
    elif metric.kind is MetricKind.QUANTILE:
        numerator, denominator = "avg(score)", "1.0"
    else:
        numerator, denominator = "sum(score)", "sum(weight)"
    return _OBSERVED.format(
        stratum=first.format("stratum") if stratified else "''",
        attribute=first.format("attribute") if covaries else "CAST(NULL AS DOUBLE)",
        numerator=numerator,
        denominator=denominator,
    )


def parameters(metric: Metric, *, now_us: int) -> dict[str, object]:
    """Return what the statement of `scoring` takes."""
    attribute = {"attribute": metric.covariate_attribute} if metric.covariate is Covariate.ATTRIBUTE else {}
    if metric.kind in OF_PREDICTION:
        return dict(attribute)
    given: dict[str, object] = attribute | {
        "outcome": metric.outcome,
        "denominator": metric.denominator or metric.outcome,
        "now_us": now_us,
        "window_us": metric.window_us,
    }
    if metric.kind in OF_OUTPUT:
        given |= {"output": metric.output, "element": metric.output_index + 1}
    return given
