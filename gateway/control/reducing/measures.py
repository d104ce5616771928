"""Each kind of metric as SQL: what one prediction, and one unit, is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.metric import OF_CALL, OF_OUTPUT, OF_PREDICTION, OF_UNIT, Covariate, MetricKind
from gateway.control.reducing.asked import attributes_of, foreseen_of, output_of, outputs_of, takes_categories
from gateway.control.reducing.worth import VALUE_MAX, worth, worth_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping

    from experiments.definition import Experiment
    from experiments.metric import Metric

# The value of one prediction, and which predictions have one. A fallback is the control's work in another's name.
_OWN_VALUES: Mapping[MetricKind, tuple[str, str]] = {
    MetricKind.LATENCY: ("latency_us / 1000.0", "NOT failed"),
    MetricKind.ERROR_RATE: ("CAST(failed AS DOUBLE)", "true"),
    MetricKind.FEATURE_DEFAULT_RATE: ("default_rate", "default_rate IS NOT NULL"),
    MetricKind.FEATURE_AGE: ("feature_age", "feature_age IS NOT NULL"),
}

# One row for each prediction: `score` and `weight`; whether its window is `closed`, an outcome has `told` of it, the
# score is a finite number.
_SCORED_BY_OUTCOME = """
WITH valued AS (
    SELECT prediction, name = $outcome AS main, CAST({value} AS DOUBLE) AS score
    FROM (
        SELECT prediction, name, value, {label} AS label, event_time_us, asked_us, {output} AS output,
            {scores} AS scores
        FROM matched
    )
    WHERE name IN ($outcome, $denominator) AND {within}
),
judged AS (SELECT *, coalesce(abs(score) < {value_max}, false) AS usable FROM valued),
known AS (
    SELECT prediction, {score} AS score, {weight} AS weight, bool_and(usable) AS usable
    FROM judged GROUP BY prediction
),
scored AS (
    SELECT p.unit, p.variant, p.epoch, p.stratum, p.time_us, p.request, {attribute} AS attribute, {closed} AS closed,
        coalesce(k.score, 0e0) AS score, coalesce(k.weight, {missing_weight}) AS weight,
        coalesce(k.usable, true) AS usable, k.prediction IS NOT NULL AS told
    FROM asked p LEFT JOIN known k ON k.prediction = p.rowid
    WHERE p.epoch IS NOT NULL AND NOT p.failed AND NOT p.fallback
)
"""

_SCORED_BY_PREDICTION = """
WITH scored AS (
    SELECT unit, variant, epoch, stratum, time_us, request, {attribute} AS attribute, true AS closed,
        {value} AS score, 1e0 AS weight, coalesce(abs({value}) < {value_max}, false) AS usable, true AS told
    FROM asked WHERE epoch IS NOT NULL AND NOT fallback AND {where}
)
"""

# One row for each unit, variant and epoch. `num` is NULL where no prediction counts; `missing` is of those that have a
# window of no end, or one that is still open. Finding a unit's first prediction costs more than all sums, so it is done
# only where something hangs on it.
_VALUED = """
, valued_units AS (
    SELECT unit, variant, epoch, {stratum} AS stratum, {attribute} AS attribute,
        {numerator} FILTER (counts) AS num, {denominator} AS den,
        count(*) FILTER (closed AND NOT usable) AS unusable,
        bool_or(closed AND told) AS told, bool_or({open}) AS pending
    FROM (SELECT *, closed AND usable AND {asked_for} AS counts FROM scored) GROUP BY unit, variant, epoch
)
SELECT u.*, {before} FROM valued_units u {join} WHERE u.epoch > 0
"""

_BEFORE = "LEFT JOIN (SELECT unit, num, den FROM valued_units WHERE epoch < 0 AND den <> 0) b USING (unit)"


def valuing(metric: Metric, experiment: Experiment) -> str:
    """Return the query of what each unit amounts to by a metric, from the tables `asked` and `matched`."""
    return _scoring(metric, experiment) + _observing(metric, stratified=bool(experiment.plan.stratify_by))


def parameters(metric: Metric, *, now_us: int) -> dict[str, object]:
    """Return what the query of `valuing` takes."""
    if metric.kind in OF_PREDICTION:
        return {}
    given = worth_parameters(metric)
    given |= {"outcome": metric.outcome, "denominator": metric.denominator or metric.outcome}
    return given | ({"now_us": now_us, "window_us": metric.window_us} if metric.window_us else {})


def _scoring(metric: Metric, experiment: Experiment) -> str:
    attribute = "CAST(NULL AS DOUBLE)"
    if metric.covariate is Covariate.ATTRIBUTE:
        attribute = f"attribute_{attributes_of(experiment.metrics).index(metric.covariate_attribute)}"
    elif metric.covariate is Covariate.CONTROL_PREDICTION:
        place = foreseen_of(experiment.metrics).index((metric.output, metric.output_index + 1))
        attribute = f"foreseen_{place}"
    if metric.kind in OF_PREDICTION:
        value, where = _OWN_VALUES[metric.kind]
        return _SCORED_BY_PREDICTION.format(attribute=attribute, value=value, where=where, value_max=VALUE_MAX)
    score, weight = "avg(score) FILTER (usable)", "1e0"
    if metric.kind is MetricKind.RATIO:
        score, weight = "coalesce(sum(score) FILTER (main), 0.0)", "coalesce(sum(score) FILTER (NOT main), 0.0)"
    if metric.kind is MetricKind.COUNT:
        score = "sum(score)"
    if metric.kind is MetricKind.PROPORTION:
        score = "max(score)"
    output = "NULL"
    if metric.kind in OF_OUTPUT:
        output = f"output_{outputs_of(experiment.metrics).index(output_of(metric))}"
    window = bool(metric.window_us)
    return _SCORED_BY_OUTCOME.format(
        attribute=attribute,
        output="NULL" if metric.classes else output,
        scores=output if metric.classes else "NULL",
        label="label" if takes_categories(metric) else "''",
        value=worth(metric),
        value_max=VALUE_MAX,
        score=score,
        weight=weight,
        within="event_time_us BETWEEN asked_us AND asked_us + $window_us" if window else "true",
        closed="p.event_time_us + $window_us <= $now_us" if window else "true",
        missing_weight="0e0" if metric.kind is MetricKind.RATIO else "1e0",
    )


def _observing(metric: Metric, *, stratified: bool) -> str:
    first = "arg_min({0}, (time_us, request)) FILTER (counts)"
    if metric.kind in OF_UNIT:
        numerator, denominator = ("max(score)" if metric.kind is MetricKind.PROPORTION else "sum(score)"), "1e0"
    elif metric.kind is MetricKind.QUANTILE:
        numerator, denominator = "avg(score)", "1e0"
    else:
        numerator, denominator = "sum(score)", "sum(weight) FILTER (counts)"
    before = metric.covariate is Covariate.PRE_EXPERIMENT
    return _VALUED.format(
        stratum=first.format("stratum") if stratified else "''",
        attribute=first.format("attribute") if metric.covariate in OF_CALL else "CAST(NULL AS DOUBLE)",
        numerator=numerator,
        denominator=denominator,
        open="NOT closed" if metric.window_us else "true",
        asked_for="true" if metric.missing_as_zero else "told",
        before=f"{'b.num' if before else 'CAST(NULL AS DOUBLE)'} AS before_num,"
        f" {'b.den' if before else 'CAST(NULL AS DOUBLE)'} AS before_den",
        join=_BEFORE if before else "",
    )
