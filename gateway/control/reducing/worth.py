"""What one answer is worth beside one of its outcomes, as SQL: each kind of metric over numbers and over categories.

The expressions read the columns `value` and `label` of an outcome, `output`, the element of the answer that the metric
names, and `scores`, the elements of its classes. NULL is no value, which stops a metric's claim: leaving out what a
version cannot answer would flatter it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.metric import MetricKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from experiments.metric import Metric

# Beyond it the sums of squares no longer fit a float64, and the value is as little use as an infinite one.
VALUE_MAX = 1e140

_CLIPPED = "-ln(least(greatest({0}, 1e-15), 1 - 1e-15))"

_OF_NUMBERS: Mapping[MetricKind, str] = {
    MetricKind.MEAN: "{value}",
    MetricKind.QUANTILE: "{value}",
    MetricKind.RATIO: "{value}",
    MetricKind.PROPORTION: "CASE WHEN isfinite({value}) THEN CAST({value} > 0 AS DOUBLE) END",
    MetricKind.COUNT: "1.0",
    MetricKind.SQUARED_ERROR: "(output - {value}) * (output - {value})",
    MetricKind.BRIER: (
        "CASE WHEN output BETWEEN 0 AND 1 AND {value} IN (0, 1) THEN (output - {value}) * (output - {value}) END"
    ),
    MetricKind.ABSOLUTE_ERROR: "abs(output - {value})",
    MetricKind.LOG_LOSS: (
        # `greatest` skips NULL, so that the range is asked first.
        f"CASE WHEN output BETWEEN 0 AND 1 AND {{value}} = 1 THEN {_CLIPPED.format('output')}"
        f" WHEN output BETWEEN 0 AND 1 AND {{value}} = 0 THEN {_CLIPPED.format('1 - output')} END"
    ),
    MetricKind.ACCURACY: "CASE WHEN isfinite(output) THEN CAST(round(output) = {value} AS DOUBLE) END",
}

# A category that is none of the classes has no score: whatever was answered is wrong.
_ALL_WITHIN = "len(scores) = len($classes) AND list_bool_and(list_transform(scores, lambda s: {0}))"
_PROBABLE = _ALL_WITHIN.format("coalesce(s BETWEEN 0 AND 1, false)")
_FINITE = _ALL_WITHIN.format("coalesce(isfinite(s), false)")
_OF_IT = "coalesce(list_extract(scores, nullif(list_position($classes, label), 0)), 0.0)"
_OF_CLASSES: Mapping[MetricKind, str] = {
    MetricKind.ACCURACY: (
        # Of equal scores the first, as argmax has it. One element is the number of the class.
        f"CASE WHEN label = '' THEN NULL WHEN {_FINITE}"
        " THEN CAST(list_extract($classes, list_position(scores, list_max(scores))) = label AS DOUBLE)"
        " WHEN len(scores) = 1 AND list_contains(range(len($classes)), scores[1])"
        " THEN CAST(list_extract($classes, CAST(scores[1] AS BIGINT) + 1) = label AS DOUBLE) END"
    ),
    MetricKind.LOG_LOSS: f"CASE WHEN label <> '' AND {_PROBABLE} THEN {_CLIPPED.format(_OF_IT)} END",
    MetricKind.BRIER: (
        f"CASE WHEN label <> '' AND {_PROBABLE}"
        f" THEN list_sum(list_transform(scores, lambda s: s * s)) - 2 * {_OF_IT} + 1 END"
    ),
}


def worth(metric: Metric) -> str:
    """Return the expression of a metric that takes an outcome."""
    if metric.classes:
        return _OF_CLASSES[metric.kind]
    value = "CAST(CASE WHEN label <> '' THEN label = $label END AS DOUBLE)" if metric.label else "value"
    if metric.kind is MetricKind.COUNT and metric.label:
        return value
    return _OF_NUMBERS[metric.kind].format(value=value)


def worth_parameters(metric: Metric) -> dict[str, object]:
    """Return what the expression takes."""
    if metric.classes:
        return {"classes": list(metric.classes)}
    return {"label": metric.label} if metric.label else {}


def scored_columns(metric: Metric, outputs: str) -> str:
    """Return the columns `output` and `scores` of a metric of an output, from the column of an answer's outputs."""
    if metric.classes:
        last = metric.output_index + len(metric.classes)
        return f"NULL AS output, {outputs}[$output][{metric.output_index + 1} : {last}] AS scores"
    return f"{outputs}[$output][{metric.output_index + 1}] AS output, NULL AS scores"
