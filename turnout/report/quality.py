"""Whether the data of an experiment can be trusted, as tables."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from turnout.report import html
from turnout.report.words import p_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turnout.experiments.v1 import experiment_service_pb2 as pb


def quality(experiment: pb.Experiment, analysis: pb.AnalyzeExperimentResponse) -> str:
    """Return the checks of the split at each stage, of balance, of missing outcomes, and what was left out."""
    alarms = list(_alarms(analysis))
    said = "".join(f'<p class="bad">{escape(alarm)}</p>' for alarm in alarms) or "<p>No check found a flaw.</p>"
    return said + _stages(experiment, analysis) + _maturity(analysis) + _balance(analysis) + _counts(analysis)


def _alarms(analysis: pb.AnalyzeExperimentResponse) -> Iterator[str]:
    for stage in analysis.stages:
        if stage.sample_ratio.check.mismatch:
            yield f"The units are not split as the shares say at the stage {stage.stage}."
    for balance in analysis.balance:
        if balance.imbalance:
            yield f"{balance.what} of {balance.variant} differs from the control's."
    for maturity in analysis.maturity:
        if maturity.uneven:
            yield f"Outcomes of {maturity.metric} are missing unevenly in {maturity.variant}."


def _stages(experiment: pb.Experiment, analysis: pb.AnalyzeExperimentResponse) -> str:
    names = [each.variant for each in experiment.variants]
    rows: list[tuple[str, ...]] = []
    for each in analysis.stages:
        units = tuple(f"{count:,}" for count in each.units)
        if each.sample_ratio.WhichOneof("result") != "check":
            rows.append((each.stage, *units, "", "", each.sample_ratio.not_enough_data))
            continue
        check = each.sample_ratio.check
        verdict = "MISMATCH" if check.mismatch else "as the shares say"
        rows.append((each.stage, *units, p_text(check.p_value), p_text(check.sequential_p_value), verdict))
    columns = ("units", *names, "p, one look", "p, any number of looks", "split")
    return html.table(columns, rows, numbers=range(1, len(names) + 3))


def _maturity(analysis: pb.AnalyzeExperimentResponse) -> str:
    rows = [
        (
            each.metric,
            each.variant,
            *(
                f"{count:,} ({count / total:.1%})"
                for total in [max(1, each.matured_units + each.pending_units + each.missing_units)]
                for count in (each.matured_units, each.pending_units, each.missing_units)
            ),
            "UNEVEN" if each.uneven else "",
        )
        for each in analysis.maturity
    ]
    return html.table(("outcomes", "variant", "known", "pending", "missing", "flaw"), rows, numbers=(2, 3, 4))


def _balance(analysis: pb.AnalyzeExperimentResponse) -> str:
    rows = [
        (each.what, each.variant, "", "", "", each.not_enough_data)
        if each.not_enough_data
        else (
            each.what,
            each.variant,
            f"{each.control_mean:.5g}",
            f"{each.treatment_mean:.5g}",
            p_text(each.p_value),
            "IMBALANCE" if each.imbalance else "alike",
        )
        for each in analysis.balance
    ]
    return html.table(("balance", "variant", "control's", "variant's", "p", "flaw"), rows, numbers=(2, 3, 4))


def _counts(analysis: pb.AnalyzeExperimentResponse) -> str:
    rows = [
        (
            each.variant,
            *(
                f"{count:,}"
                for count in (
                    each.units,
                    each.predictions,
                    each.matured_units,
                    each.failed_predictions,
                    each.fallback_predictions,
                    each.lost_predictions,
                )
            ),
        )
        for each in analysis.counts
    ]
    columns = ("counts", "units", "predictions", "with outcomes", "failed", "fallback", "lost")
    return html.table(columns, rows, numbers=range(1, 7))
