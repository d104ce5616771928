"""From the pairs that shadows left to the moments of a metric of two versions on the same calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.analysis.joint import JointMoments
from gateway.control.reducing.worth import VALUE_MAX, scored_columns, worth, worth_parameters

if TYPE_CHECKING:
    import duckdb

    from experiments.metric import Metric

# Either of the two may have answered, and the other been its shadow. The window is that of the metric: a pair counts
# once it is over, with the outcomes that happened within it.
_PAIRED = """
CREATE OR REPLACE TEMP TABLE paired AS
SELECT request_id, event_time_us, coalesce(nullif(unit_id, ''), request_id) AS unit,
    live_status <> 0 OR shadow_status <> 0 AS failed,
    $window_us = 0 OR event_time_us + $window_us <= $now_us AS closed,
    CASE WHEN live_version = $control THEN live_outputs ELSE shadow_outputs END AS control_outputs,
    CASE WHEN live_version = $control THEN shadow_outputs ELSE live_outputs END AS treatment_outputs
FROM pairs
WHERE model = $model AND event_time_us >= $since_us
    AND ((live_version = $control AND shadow_version = $treatment)
        OR (live_version = $treatment AND shadow_version = $control))
"""

_JUDGED = """
CREATE OR REPLACE TEMP TABLE judged AS
WITH told AS (
    SELECT p.request_id, p.unit, o.value, o.label, p.control_outputs, p.treatment_outputs
    FROM (SELECT * FROM paired WHERE NOT failed AND closed) p JOIN joined o USING (request_id)
    WHERE o.name = $outcome
        AND ($window_us = 0 OR o.event_time_us BETWEEN p.event_time_us AND p.event_time_us + $window_us)
),
sides AS (
    SELECT request_id, unit, value, label, 0 AS side, {control} FROM told
    UNION ALL
    SELECT request_id, unit, value, label, 1 AS side, {treatment} FROM told
),
scored AS (SELECT request_id, unit, side, CAST({worth} AS DOUBLE) AS score FROM sides)
SELECT request_id, unit, avg(score) FILTER (side = 0) AS control, avg(score) FILTER (side = 1) AS treatment,
    bool_and(coalesce(abs(score) < {value_max}, false)) AS usable
FROM scored GROUP BY request_id, unit
"""

_COUNTS = """
SELECT count(*), count(*) FILTER (failed),
    count(*) FILTER (NOT failed AND NOT EXISTS (FROM judged j WHERE j.request_id = p.request_id)),
    (SELECT count(*) FROM judged WHERE NOT usable)
FROM paired p
"""

# What the live version could not answer says nothing of its shadow.
_SHADOWED = """
SELECT count(DISTINCT coalesce(nullif(unit_id, ''), request_id)) FILTER (shadow_status = 0), count(*),
    count(*) FILTER (shadow_status <> 0)
FROM pairs WHERE model = $model AND shadow_version = $version AND live_status = 0
"""

_COLUMNS = ("control", "treatment", "number")
_UNITS = (
    "SELECT sum(control) AS control, sum(treatment) AS treatment, count(*) AS number FROM judged WHERE usable"
    " GROUP BY unit"
)
_PRODUCTS = [(one, other) for place, one in enumerate(_COLUMNS) for other in _COLUMNS[place:]]
_MOMENTS = (
    f"SELECT count(*), count(*) FILTER (control > treatment), count(*) FILTER (treatment > control), "
    f"{', '.join(f'avg({each})' for each in _COLUMNS)}, "
    f"{', '.join(f'covar_pop({one}, {other}) * count(*)' for one, other in _PRODUCTS)} FROM ({_UNITS})"
)


@dataclass(frozen=True, slots=True)
class PairQuestion:
    """Which pairs are compared.

    Parameters
    ----------
    model, control, treatment
        The model and two of its versions.
    metric
        Computed from an output and an outcome.
    since_us
        Only calls whose event was not earlier.
    """

    model: str
    control: int
    treatment: int
    metric: Metric
    since_us: int = 0


@dataclass(frozen=True, slots=True)
class PairedEvidence:
    """What the pairs say.

    Parameters
    ----------
    joint
        Of the units' sums of the control's and the treatment's values, and of their numbers of pairs.
    control_more, treatment_more
        The units in which the one had a greater sum than the other.
    pairs, failed, pending, unusable
        All pairs; those of which one side failed; those without an outcome that counts yet; those that have one for
        which the metric has no finite value on both sides.
    """

    joint: JointMoments
    control_more: int
    treatment_more: int
    pairs: int
    failed: int
    pending: int
    unusable: int


def reduce_pairs(connection: duckdb.DuckDBPyConnection, question: PairQuestion, *, now_us: int) -> PairedEvidence:
    """Return what the pairs of a snapshot of the event log say of two versions."""
    metric = question.metric
    window = {"window_us": metric.window_us}
    who = {"model": question.model, "control": question.control, "treatment": question.treatment}
    connection.execute(_PAIRED, who | window | {"since_us": question.since_us, "now_us": now_us})
    judged = _JUDGED.format(
        control=scored_columns(metric, "control_outputs"),
        treatment=scored_columns(metric, "treatment_outputs"),
        worth=worth(metric),
        value_max=VALUE_MAX,
    )
    given = window | worth_parameters(metric) | {"outcome": metric.outcome, "output": metric.output}
    connection.execute(judged, given)
    pairs, failed, pending, unusable = connection.execute(_COUNTS).fetchone() or (0, 0, 0, 0)
    n, control_more, treatment_more, *numbers = connection.execute(_MOMENTS).fetchone() or (0, 0, 0)
    for table in ("judged", "paired"):
        connection.execute(f"DROP TABLE {table}")
    return PairedEvidence(_joint(n, numbers), control_more, treatment_more, pairs, failed, pending, unusable)


def _joint(n: int, numbers: list[float]) -> JointMoments:
    if not n:
        return JointMoments()
    upper = dict(zip(_PRODUCTS, numbers[len(_COLUMNS) :], strict=True))
    products = tuple(
        tuple(upper[one, other] if (one, other) in upper else upper[other, one] for other in _COLUMNS)
        for one in _COLUMNS
    )
    return JointMoments(n, tuple(numbers[: len(_COLUMNS)]), products)


@dataclass(frozen=True, slots=True)
class Shadowed:
    """What a version made, as a shadow, of the calls that the live one answered.

    Attributes
    ----------
    units
        How many units it answered a call of.
    calls, failed
        How many calls there were, and how many of them it failed in.
    """

    units: int
    calls: int
    failed: int


def count_shadowed(connection: duckdb.DuckDBPyConnection, model: str, version: int) -> Shadowed:
    """Return what a version made, as a shadow, of the calls that a snapshot of the log knows."""
    ((units, calls, failed),) = connection.execute(_SHADOWED, {"model": model, "version": version}).fetchall()
    return Shadowed(units, calls, failed)
