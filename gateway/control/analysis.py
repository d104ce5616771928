"""From the event log to the evidence of an experiment: SQL that reduces events to counts and moments.

One observation is a unit in one epoch: its numerator and its denominator, for example the sum of the errors of its
predictions and their number. Units are what is assigned, and several predictions of one unit are not several pieces of
evidence. A prediction with several outcomes of the metric's name counts with their mean. Failed predictions, and those
that the control answered in place of a variant, are counted and not compared, but for the rate of errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from experiments.analysis.evidence import Evidence, VariantCount
from experiments.analysis.stages import Stage
from experiments.metric import OF_OUTPUT, Covariate, Direction, Metric, MetricKind, Role
from experiments.scope import UnitKind
from gateway.control.reduction import counts_for_maturity, reduce_metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb
    from numpy.typing import NDArray

    from experiments.analysis.evidence import Cell
    from experiments.analysis.joint import JointMoments
    from experiments.definition import Experiment

STRATA_MAX = 64
REPLAY_UNITS_MAX = 1_000_000

# What was forced is in no epoch: its variant was not given by chance.
# What came before the experiment stands in the epoch -1 of no variant: only covariates are made of it. What is wide and
# no metric asks for stays where it is, and predictions are told apart by a number: rows are many.
_COLUMNS = """
    {number} AS prediction, request_id, time_us, event_time_us, {unit} AS unit_id, latency_us,
    {outputs} AS outputs, {attributes} AS attributes,
    -- Missing, stale or unavailable: the declared default was served.
    CASE WHEN len(view_status) > 0
        THEN len(list_filter(view_status, lambda s: s IN (2, 3, 4))) / CAST(len(view_status) AS DOUBLE) END
        AS default_rate,
    CAST(list_max(list_filter(view_age_ms, lambda a: a >= 0)) AS DOUBLE) AS feature_age,
    feature_set, status <> 0 AS failed, fallback
"""

_OWN = """
CREATE TEMP TABLE own AS
SELECT {columns}, variant, epoch, {stratum} AS stratum
FROM predictions
WHERE experiment = $experiment AND model = $model AND {unit} <> '' AND epoch > 0
"""

_BEFORE = """
INSERT INTO own BY NAME
SELECT {columns}, '' AS variant, -1 AS epoch, '' AS stratum
FROM predictions
WHERE experiment <> $experiment AND model = $model AND event_time_us < $started_us
    AND unit_id IN (SELECT unit_id FROM own)
"""

_FEW_STRATA = """
UPDATE own SET stratum = '' WHERE stratum NOT IN (
    SELECT stratum FROM own GROUP BY stratum ORDER BY count(DISTINCT unit_id) DESC, stratum LIMIT $strata_max
)
"""

# Outcomes of the whole model, in the experiment or not; those that are not belong to no prediction of it.
_MATCHED = """
CREATE TEMP TABLE matched AS
SELECT p.prediction, o.name, o.value, o.event_time_us
FROM (SELECT request_id, name, value, event_time_us FROM joined WHERE model = $model) o
LEFT JOIN own p USING (request_id)
"""

_COMPARED = """
CREATE TEMP TABLE compared AS
SELECT DISTINCT p.variant, p.unit_id, list_contains($telling, o.name) AS telling
FROM own p JOIN matched o USING (prediction)
WHERE p.epoch >= 0 AND NOT p.failed AND NOT p.fallback AND list_contains($names, o.name)
"""

_COUNTS = """
SELECT variant, count(DISTINCT unit_id), count(*), count(*) FILTER (failed), count(*) FILTER (fallback)
FROM own WHERE epoch >= 0 GROUP BY variant
"""

_MATURED = "SELECT variant, count(DISTINCT unit_id) FROM compared GROUP BY variant"

_LOST = """
SELECT entry.key, sum(entry.value) FROM (SELECT unnest(map_entries(lost)) AS entry FROM gaps) GROUP BY entry.key
"""

_STAGES = """
WITH units AS (
    SELECT unit_id, arg_min(struct_pack(variant, epoch), (time_us, request_id)) AS cell,
        bool_or(NOT failed AND NOT fallback) AS served
    FROM own WHERE epoch >= 0 GROUP BY unit_id
)
SELECT cell.variant, cell.epoch, count(*), count(*) FILTER (served),
    count(*) FILTER (unit_id IN (SELECT unit_id FROM compared WHERE telling))
FROM units GROUP BY ALL
"""

_CONTROL_UNITS = """
SELECT unit_id, sum(num) AS num, sum(den) AS den FROM observed WHERE epoch >= 0 AND variant = $control
GROUP BY unit_id ORDER BY unit_id LIMIT $limit
"""

_SAME_FEATURES = "SELECT count(DISTINCT feature_set) FROM own WHERE epoch >= 0 AND NOT failed AND NOT fallback"

# What a treatment cannot touch, as long as the arms take the same features.
_BALANCED = {
    "the age of the features in milliseconds": MetricKind.FEATURE_AGE,
    "the rate of feature defaults": MetricKind.FEATURE_DEFAULT_RATE,
}


def reduce_events(connection: duckdb.DuckDBPyConnection, experiment: Experiment, *, now_us: int = 0) -> Evidence:
    """Return what the events say of the experiment.

    Parameters
    ----------
    connection
        A snapshot of the event log, with the relations `predictions`, `joined` and `gaps`; this adds temporary tables.
    experiment
        What was assigned and is measured.
    now_us
        The gateway's time: what attribution windows are over by then.
    """
    _prepare(connection, experiment)
    (analyzed,) = connection.execute("SELECT count(*) FROM matched").fetchone() or (0,)
    counts = _counts(connection, experiment)
    evidence = Evidence(
        counts=counts,
        metrics=tuple(
            reduce_metric(connection, metric, now_us=now_us, stratified=bool(experiment.plan.stratify_by))
            for metric in experiment.metrics
        ),
        stages=_stages(connection, experiment, counts),
        balance=_balance(connection, experiment, now_us),
        outcomes_analyzed=analyzed,
        elapsed_us=max(0, (experiment.concluded_us or now_us) - experiment.started_us) if experiment.started_us else 0,
    )
    for table in ("own", "matched", "compared", "scored", "observed"):
        connection.execute(f"DROP TABLE IF EXISTS {table}")
    return evidence


def read_units(
    connection: duckdb.DuckDBPyConnection, experiment: Experiment, metric: Metric, *, now_us: int
) -> tuple[list[str], NDArray[np.float64]]:
    """Return the control's units, and the numerator and denominator of each: at most a million of them."""
    _prepare(connection, experiment)
    reduce_metric(connection, metric, now_us=now_us, stratified=bool(experiment.plan.stratify_by))
    given = {"control": experiment.control.variant, "limit": REPLAY_UNITS_MAX}
    found = connection.execute(_CONTROL_UNITS, given).fetchnumpy()
    rows = np.column_stack([np.asarray(found[name], dtype=np.float64) for name in ("num", "den")])
    return [str(unit) for unit in found["unit_id"]], rows


def _prepare(connection: duckdb.DuckDBPyConnection, experiment: Experiment) -> None:
    """Make the tables of predictions, outcomes and units that all metrics share."""
    who: dict[str, object] = {"experiment": experiment.id, "model": experiment.model}
    unit = "request_id" if experiment.scope.unit is UnitKind.REQUEST else "unit_id"
    columns = _columns(experiment)
    forth = columns.format(number="row_number() OVER ()", unit=unit)
    if experiment.plan.stratify_by:
        own = _OWN.format(columns=forth, stratum="coalesce(attributes[$stratify_by], '')", unit=unit)
        connection.execute(own, who | {"stratify_by": experiment.plan.stratify_by})
        connection.execute(_FEW_STRATA, {"strata_max": STRATA_MAX})
    else:
        connection.execute(_OWN.format(columns=forth, stratum="''", unit=unit), who)
    if any(metric.covariate is Covariate.PRE_EXPERIMENT for metric in experiment.metrics):
        before = _BEFORE.format(columns=columns.format(number="-row_number() OVER ()", unit="unit_id"))
        connection.execute(before, who | {"started_us": experiment.started_us})
    connection.execute(_MATCHED, {"model": experiment.model})
    names = {name for metric in experiment.metrics for name in (metric.outcome, metric.denominator) if name}
    telling = {metric.outcome for metric in experiment.metrics if counts_for_maturity(metric)}
    connection.execute(_COMPARED, {"names": sorted(names), "telling": sorted(telling)})


def _columns(experiment: Experiment) -> str:
    """Return what is kept of a prediction, for its `number` and its `unit` to be put in."""
    outputs = any(metric.kind in OF_OUTPUT for metric in experiment.metrics)
    attributes = any(metric.covariate is Covariate.ATTRIBUTE for metric in experiment.metrics)
    return _COLUMNS.format(
        number="{number}",
        unit="{unit}",
        outputs="outputs" if outputs else "NULL",
        attributes="attributes" if attributes else "NULL",
    )


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


def _stages(
    connection: duckdb.DuckDBPyConnection, experiment: Experiment, counts: tuple[VariantCount, ...]
) -> dict[Stage, Mapping[tuple[str, int], int]]:
    """Return the units of each stage by the cell that they were first seen in."""
    rows = connection.execute(_STAGES).fetchall()
    stages: dict[Stage, Mapping[tuple[str, int], int]] = {
        Stage.JOURNALLED: {(variant, epoch): journalled for variant, epoch, journalled, _, _ in rows},
        Stage.SERVED: {(variant, epoch): served for variant, epoch, _, served, _ in rows},
    }
    if any(counts_for_maturity(metric) for metric in experiment.metrics):
        stages[Stage.MATURED] = {(variant, epoch): matured for variant, epoch, _, _, matured in rows}
    epochs = {epoch for _, epoch in stages[Stage.JOURNALLED]}
    if len(epochs) == 1:
        # Gaps tell the variant and not the epoch.
        (epoch,) = epochs
        journalled = stages[Stage.JOURNALLED]
        stages[Stage.ASSIGNED] = {
            (each.variant, epoch): journalled.get((each.variant, epoch), 0) + each.lost_predictions for each in counts
        }
    return stages


def _balance(
    connection: duckdb.DuckDBPyConnection, experiment: Experiment, now_us: int
) -> dict[str, Mapping[Cell, JointMoments]]:
    """Return what the arms should be alike in; nothing when they take other features."""
    (sets,) = connection.execute(_SAME_FEATURES).fetchone() or (0,)
    if sets != 1:
        return {}
    balance: dict[str, Mapping[Cell, JointMoments]] = {}
    for what, kind in _BALANCED.items():
        if any(metric.kind is kind for metric in experiment.metrics):
            continue
        metric = Metric(what, kind, "", Direction.DECREASE, Role.MONITORING)
        stratified = bool(experiment.plan.stratify_by)
        found = reduce_metric(connection, metric, now_us=now_us, stratified=stratified).moments
        if found:
            balance[what] = found
    return balance
