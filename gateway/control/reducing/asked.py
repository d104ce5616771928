"""The tables `asked` and `matched`: a model's predictions and the outcomes that belong to them, as narrow as can be.

Texts that only tell things apart become numbers of 128 bits: two hashes of 64. Rows are many, and joins and groups by
numbers take half the time and a third of the memory. The hash is DuckDB's, and the same within one release of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.metric import OF_OUTPUT, Covariate, MetricKind
from experiments.scope import UnitKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.definition import Experiment
    from experiments.metric import Metric

Step = tuple[str, dict[str, object]]
"""A statement and its parameters."""

# What was forced is in no epoch: its variant was not given by chance. What is in none is here for its outcomes' number.
# What came before the experiment is in the epoch -1: only covariates are made of it.
_ASKED = """
CREATE TEMP TABLE asked AS
SELECT {unit} AS unit, {request} AS request, time_us, event_time_us, latency_us - others_us AS latency_us,
    {stratum} AS stratum,
    CASE WHEN {own} THEN variant ELSE '' END AS variant,
    CAST(CASE WHEN {own} THEN epoch WHEN {before} THEN -1 END AS INTEGER) AS epoch,
    -- Missing, stale or unavailable: the declared default was served.
    CASE WHEN len(view_status) > 0
        THEN len(list_filter(view_status, lambda s: s IN (2, 3, 4))) / CAST(len(view_status) AS DOUBLE) END
        AS default_rate,
    CAST(list_max(list_filter(view_age_ms, lambda a: a >= 0)) AS DOUBLE) AS feature_age,
    hash(feature_set) AS feature_set, status <> 0 AS failed, fallback{more}
FROM predictions{foreseen} WHERE model = $model
"""

# What the control's version made of the calls that another one answered: the model's shadow, when it is that version.
_FORESEEN = """
CREATE OR REPLACE TEMP TABLE foreseen AS
SELECT request_id AS seen_request, {outputs} FROM shadows WHERE model = $model AND version = $control AND status = 0
"""

# Outcomes of the whole model, in the experiment or not. For those that name a unit `joined` knows whose they are.
_MATCHED = """
CREATE TEMP TABLE matched AS
SELECT p.rowid AS prediction, o.name, o.value{label}, o.event_time_us, p.event_time_us AS asked_us{outputs}
FROM (
    SELECT {request} AS request, name, value{label}, event_time_us FROM outcomes WHERE request_id <> ''
    UNION ALL
    SELECT {request}, name, value{label}, event_time_us FROM joined WHERE NOT by_request AND model = $model
) o JOIN asked p USING (request)
"""

_FINITE = "CASE WHEN isfinite(TRY_CAST({0} AS DOUBLE)) THEN TRY_CAST({0} AS DOUBLE) END"


def identity(text: str) -> str:
    """Return the SQL of the number that stands for a text."""
    return f"CAST((CAST(hash({text}) AS UHUGEINT) << 64) | hash('~' || {text}) AS UUID)"


def unit_of(experiment: Experiment) -> str:
    """Return the column of predictions that tells the experiment's units apart."""
    return "request_id" if experiment.scope.unit is UnitKind.REQUEST else "unit_id"


def output_of(metric: Metric) -> tuple[str, int, int]:
    """Return the output that a metric is computed from, the first element, and the last one of classes; else 0."""
    last = metric.output_index + len(metric.classes) if metric.classes else 0
    return metric.output, metric.output_index + 1, last


def outputs_of(metrics: Sequence[Metric]) -> list[tuple[str, int, int]]:
    """Return the elements of outputs that metrics are computed from."""
    return sorted({output_of(each) for each in metrics if each.kind in OF_OUTPUT})


def takes_categories(metric: Metric) -> bool:
    """Whether outcomes are categories to a metric."""
    return bool(metric.label or metric.classes)


def foreseen_of(metrics: Sequence[Metric]) -> list[tuple[str, int]]:
    """Return the outputs of the control's version that metrics take as covariates, each with its element."""
    asked = [each for each in metrics if each.covariate is Covariate.CONTROL_PREDICTION]
    return sorted({(each.output, each.output_index + 1) for each in asked})


def attributes_of(metrics: Sequence[Metric]) -> list[str]:
    """Return the attributes of calls that metrics take as covariates."""
    return sorted({each.covariate_attribute for each in metrics if each.covariate is Covariate.ATTRIBUTE})


def asking(experiment: Experiment, *, named: bool = False) -> list[Step]:
    """Return the statements that make `asked` and `matched` from the relations of the events.

    Parameters
    ----------
    named
        Whether units keep their names.
    """
    unit = unit_of(experiment)
    own = f"experiment = $experiment AND {unit} <> '' AND epoch > 0"
    given: dict[str, object] = {"experiment": experiment.id, "model": experiment.model}
    before = "false"
    if unit == "unit_id" and any(each.covariate is Covariate.PRE_EXPERIMENT for each in experiment.metrics):
        before = "experiment <> $experiment AND unit_id <> '' AND event_time_us < $started_us"
        given["started_us"] = experiment.started_us
    more, outputs = "", ""
    for place, (output, first, last) in enumerate(outputs_of(experiment.metrics)):
        more += f", outputs[$output_{place}][{f'{first} : {last}' if last else first}] AS output_{place}"
        outputs += f", p.output_{place}"
        given[f"output_{place}"] = output
    for place, attribute in enumerate(attributes_of(experiment.metrics)):
        more += f", {_FINITE.format(f'attributes[$attribute_{place}]')} AS attribute_{place}"
        given[f"attribute_{place}"] = attribute
    seeing, foreseen, control_more = _foresee(experiment, given)
    stratum = "''"
    if experiment.plan.stratify_by:
        stratum = "coalesce(attributes[$stratify_by], '')"
        given["stratify_by"] = experiment.plan.stratify_by
    request = identity("request_id")
    asked = _ASKED.format(
        unit=unit if named else identity(unit),
        request=request,
        stratum=stratum,
        own=own,
        before=before,
        more=more + control_more,
        foreseen=foreseen,
    )
    label = ", label" if any(takes_categories(each) for each in experiment.metrics) else ""
    matched = _MATCHED.format(request=request, outputs=outputs, label=label)
    return [*seeing, (asked, given), (matched, {"model": experiment.model})]


def _foresee(experiment: Experiment, given: dict[str, object]) -> tuple[list[Step], str, str]:
    """Return what makes the table of what the control's version foresaw where it is asked for, its join and columns."""
    wanted = foreseen_of(experiment.metrics)
    if not wanted:
        return [], "", ""
    names = {f"foreseen_{place}": output for place, (output, _) in enumerate(wanted)}
    elements = [f"outputs[$foreseen_{place}][{element}]" for place, (_, element) in enumerate(wanted)]
    outputs = ", ".join(f"{each} AS seen_{place}" for place, each in enumerate(elements))
    who = {"model": experiment.model, "control": experiment.control.version}
    steps: list[Step] = [(_FORESEEN.format(outputs=outputs), who | names)]
    given |= names | {"control": experiment.control.version}
    more = "".join(
        f", {_FINITE.format(f'CASE WHEN version = $control THEN {own} ELSE seen_{place} END')} AS foreseen_{place}"
        for place, own in enumerate(elements)
    )
    return steps, " LEFT JOIN foreseen ON request_id = seen_request", more


def counts_for_maturity(metric: Metric) -> bool:
    """Whether a unit without an outcome is one that is not known: not where that is a zero, or a count of none."""
    return bool(metric.outcome) and metric.kind is not MetricKind.COUNT and not metric.missing_as_zero
