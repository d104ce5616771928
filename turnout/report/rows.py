"""An experiment's looks as CSV: one row for each look, metric and treatment."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.report.words import enum_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turnout.report.experiment import ExperimentReport

COLUMNS = (
    "look", "time_us", "epoch", "recommendation", "metric", "role", "variant", "finding", "control_units",
    "treatment_units", "control_mean", "treatment_mean", "difference", "standard_error", "lower", "upper", "confidence",
    "p_value", "adjusted_p_value", "lift", "lift_lower", "lift_upper", "chance_to_win", "expected_loss",
    "shrunk_difference", "variance_kept", "method", "not_enough_data",
)  # fmt: skip


def experiment_csv(report: ExperimentReport) -> str:
    """Return the looks, oldest first, the one of now at the end; floats so that they are read back bit by bit."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_rows(report))
    return text.getvalue()


def _rows(report: ExperimentReport) -> Iterator[dict[str, object]]:
    roles = {each.metric: enum_words(pb.MetricRole, each.role) for each in report.experiment.metrics}
    for told in report.told:
        for each in told.analysis.comparisons:
            yield {
                "look": told.analysis.look,
                "time_us": told.analysis.time_us,
                "epoch": told.analysis.epoch,
                "recommendation": f"{enum_words(pb.Recommendation, told.recommendation)} {told.variant}".strip(),
                "metric": each.metric,
                "role": roles.get(each.metric, ""),
                "variant": each.variant,
                "finding": enum_words(pb.Finding, each.finding),
                "not_enough_data": each.not_enough_data,
                **_numbers(each),
            }


def _numbers(comparison: pb.Comparison) -> dict[str, object]:
    """Return the numbers of a comparison; none without an estimate."""
    if comparison.WhichOneof("result") != "estimate":
        return {}
    found = comparison.estimate
    plain = (
        "control_units", "treatment_units", "control_mean", "treatment_mean", "difference", "standard_error", "lower",
        "upper", "confidence", "p_value", "shrunk_difference", "variance_kept", "method",
    )  # fmt: skip
    numbers: dict[str, object] = {name: getattr(found, name) for name in plain}
    numbers["adjusted_p_value"] = comparison.adjusted_p_value
    if not found.relative.not_enough_data:
        lift = found.relative
        numbers |= {"lift": lift.lift, "lift_lower": lift.lower, "lift_upper": lift.upper}
    if not found.posterior.not_enough_data:
        posterior = found.posterior
        numbers |= {"chance_to_win": posterior.chance_to_win, "expected_loss": posterior.expected_loss}
    return numbers
