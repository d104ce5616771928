"""From the event log to the evidence of an experiment: SQL that reduces events to counts and moments.

One observation is a unit in one epoch: its numerator and its denominator, for example the sum of the errors of its
predictions and their number. Units are what is assigned, and several predictions of one unit are not several pieces of
evidence. A prediction with several outcomes of the metric's name counts with their mean. Failed predictions, and those
that the control answered in place of a variant, are counted and not compared, but for the rate of errors.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from experiments.analysis.evidence import Evidence, VariantCount
from experiments.analysis.stages import Stage
from experiments.metric import MetricKind
from gateway.control.reducing.asked import counts_for_maturity
from gateway.control.reducing.moments import KEPT_STRATUM, STRATA, STRATA_MAX, evidence_of, moments_of
from gateway.control.reducing.tables import tables_of, tabulate, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb
    from numpy.typing import NDArray

    from experiments.analysis.evidence import Cell
    from experiments.analysis.joint import JointMoments
    from experiments.definition import Experiment
    from experiments.metric import Metric

REPLAY_UNITS_MAX = 1_000_000

_EPOCHS = "SELECT count(DISTINCT epoch) FROM unit_counts"

_UNITS = """
SELECT variant, {units}, sum(predictions), sum(failed), sum(fallback) FROM unit_counts GROUP BY variant
"""

_MATURED = "SELECT variant, {units} FROM unit_counts WHERE compared GROUP BY variant"

_LOST = """
SELECT entry.key, sum(entry.value) FROM (SELECT unnest(map_entries(lost)) AS entry FROM gaps) GROUP BY entry.key
"""

_STAGES = """
SELECT variant, epoch, count(*), count(*) FILTER (served), count(*) FILTER (told)
FROM unit_counts WHERE first GROUP BY ALL
"""

_CONTROL_UNITS = """
SELECT unit, sum(num) AS num, sum(den) AS den FROM observed WHERE variant = $control
GROUP BY unit ORDER BY unit LIMIT $limit
"""

_FEATURE_SETS = "SELECT min(feature_set_low) = max(feature_set_high) FROM unit_counts"

# What a treatment cannot touch, as long as the arms take the same features.
_BALANCED = {
    "the age of the features in milliseconds": (MetricKind.FEATURE_AGE, "age"),
    "the rate of feature defaults": (MetricKind.FEATURE_DEFAULT_RATE, "default"),
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
    analyzed = tabulate(connection, experiment, now_us=now_us)
    evidence = conclude_units(connection, experiment, now_us=now_us, analyzed=analyzed)
    for table in tables_of(experiment):
        connection.execute(f"DROP TABLE {table}")
    return evidence


def conclude_units(
    connection: duckdb.DuckDBPyConnection, experiment: Experiment, *, now_us: int, analyzed: int
) -> Evidence:
    """Return the evidence from the tables of `gateway.control.reducing.tables`, and `gaps`."""
    stratified = bool(experiment.plan.stratify_by)
    if stratified:
        connection.execute(STRATA, {"strata_max": STRATA_MAX})
    (epochs,) = connection.execute(_EPOCHS).fetchone() or (0,)
    counts = _counts(connection, experiment, epochs)
    return Evidence(
        counts=counts,
        metrics=tuple(
            evidence_of(connection, metric, values_of(place), stratified=stratified, epochs=epochs)
            for place, metric in enumerate(experiment.metrics)
        ),
        stages=_stages(connection, experiment, counts),
        balance=_balance(connection, experiment),
        outcomes_analyzed=analyzed,
        elapsed_us=max(0, (experiment.concluded_us or now_us) - experiment.started_us) if experiment.started_us else 0,
    )


def read_units(
    connection: duckdb.DuckDBPyConnection, experiment: Experiment, metric: Metric, *, now_us: int
) -> tuple[list[str], NDArray[np.float64]]:
    """Return the control's units, and the numerator and denominator of each: at most a million of them."""
    alone = replace(experiment, metrics=(metric,))
    tabulate(connection, alone, now_us=now_us, named=True)
    evidence_of(connection, metric, values_of(0), stratified=False, epochs=0)
    given = {"control": experiment.control.variant, "limit": REPLAY_UNITS_MAX}
    found = connection.execute(_CONTROL_UNITS, given).fetchnumpy()
    rows = np.column_stack([np.asarray(found[name], dtype=np.float64) for name in ("num", "den")])
    return [str(unit) for unit in found["unit"]], rows


def _counts(connection: duckdb.DuckDBPyConnection, experiment: Experiment, epochs: int) -> tuple[VariantCount, ...]:
    each_once = "count(*)" if epochs == 1 else "count(DISTINCT unit)"
    found = {row[0]: map(int, row[1:]) for row in connection.execute(_UNITS.format(units=each_once)).fetchall()}
    matured = dict(connection.execute(_MATURED.format(units=each_once)).fetchall())
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


def _balance(connection: duckdb.DuckDBPyConnection, experiment: Experiment) -> dict[str, Mapping[Cell, JointMoments]]:
    """Return what the arms should be alike in; nothing when they take other features."""
    (same,) = connection.execute(_FEATURE_SETS).fetchone() or (None,)
    if not same:
        return {}
    stratum = KEPT_STRATUM if experiment.plan.stratify_by else "''"
    balance: dict[str, Mapping[Cell, JointMoments]] = {}
    for what, (kind, column) in _BALANCED.items():
        if any(metric.kind is kind for metric in experiment.metrics):
            continue
        relation = f"""(
            SELECT variant, epoch, {stratum} AS stratum, {column}_sum AS num, CAST({column}_n AS DOUBLE) AS den
            FROM unit_counts WHERE {column}_n > 0
        )"""
        found = moments_of(connection, relation, ("num", "den"))
        if found:
            balance[what] = found
    return balance
