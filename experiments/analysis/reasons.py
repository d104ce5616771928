"""What is said beside the comparisons: what is wrong with the data, why it is over, what to expect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.analysis.estimation import KNOWN_PART_MIN, known_part
from experiments.analysis.findings import NotEnoughData
from experiments.analysis.judgement import Judgement, Verdict
from experiments.analysis.stages import losing_stage, loss_sentence
from experiments.metric import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.analysis.conclusions import Conclusions
    from experiments.analysis.evidence import Evidence, VariantCount
    from experiments.definition import Experiment, Metric


def primary(experiment: Experiment) -> Metric:
    """Return the first success metric: it breaks ties between treatments."""
    return next(each for each in experiment.metrics if each.role is Role.SUCCESS)


def flaws_of(experiment: Experiment, conclusions: Conclusions) -> tuple[str, ...]:
    """Return why the data cannot be trusted, a sentence each."""
    flaws: list[str] = []
    lost = losing_stage(conclusions.stages)
    if lost is not None:
        flaws.append(loss_sentence(lost, [each.variant for each in experiment.variants]))
    for each in conclusions.missingness:
        if each.uneven:
            control, treatment = each.maturity
            flaws.append(
                f"outcomes of {each.metric} are missing unevenly: {treatment.missing} missing and {treatment.pending} "
                f"pending beside {treatment.matured} known in {each.variant}, {control.missing} and {control.pending} "
                f"beside {control.matured} in the control (p = {each.p_value:.2g}): those that are known are no fair "
                "sample; give the metric a window that both arms have behind them"
            )
    flaws.extend(
        f"the arms differ in {each.what}, which the treatment cannot have touched: {each.treatment_mean:.6g} in "
        f"{each.variant} against {each.control_mean:.6g} (p = {each.p_value:.2g})"
        for each in conclusions.balance
        if each.imbalance
    )
    return tuple(flaws)


def end_of(experiment: Experiment, conclusions: Conclusions, deciding: Sequence[Judgement], elapsed_us: int) -> str:
    """Return why nothing more is to be expected; empty when something is."""
    success = [each for each in deciding if each.metric.role is Role.SUCCESS]
    if success and all(each.negligible for each in success):
        return "every effect on a success metric that is left open is smaller than the least that matters"
    if end_has_come(experiment, elapsed_us):
        return "the planned end has come, and nothing is settled: the control stays"
    planned = experiment.plan.planned_units
    if not planned:
        return ""
    first = primary(experiment).metric
    units: dict[str, int] = {}
    for each in conclusions.comparisons:
        if each.metric == first and each.contrast is not None:
            units[each.variant] = each.contrast.treatment_units
            units[experiment.control.variant] = each.contrast.control_units
    if sum(units.values()) < planned:
        return ""
    return f"{sum(units.values())} units have come, {planned} were planned, and nothing is settled: the control stays"


def end_has_come(experiment: Experiment, elapsed_us: int) -> bool:
    """Whether an experiment that has run for so long is past its planned end."""
    end_us = experiment.plan.planned_end_us
    return bool(end_us and experiment.started_us) and experiment.started_us + elapsed_us >= end_us


def shrunk_effects(conclusions: Conclusions, deciding: Sequence[Judgement], variant: str) -> tuple[str, ...]:
    """Return what the effects are likely to be, since they were picked for being large."""
    better = {each.metric.metric for each in deciding if each.variant == variant and each.verdict is Verdict.BETTER}
    return tuple(
        f"{each.metric}: expect {each.result.shrunk:+.4g} rather than {each.result.difference:+.4g}, since what is "
        "shipped was picked for being far out"
        for each in conclusions.comparisons
        if each.variant == variant
        and each.metric in better
        and not isinstance(each.result, NotEnoughData)
        # So far out that being picked changes no digit that is shown.
        and f"{each.result.shrunk:.4g}" != f"{each.result.difference:.4g}"
    )


def unadjusted(experiment: Experiment, evidence: Evidence) -> tuple[str, ...]:
    """Return a sentence for each metric whose covariate is not known of enough units to take noise off."""
    names = [each.variant for each in experiment.variants]
    notes: list[str] = []
    for metric, found in zip(experiment.metrics, evidence.metrics, strict=False):
        part = known_part(metric, found, names)
        if part < KNOWN_PART_MIN and found.units:
            notes.append(
                f"{metric.metric} is not adjusted: what the control's version makes of a call is known of {part:.1%} "
                f"of an arm's units, and {KNOWN_PART_MIN:.0%} are needed; let it be the model's shadow at the share 1"
            )
    return tuple(notes)


def left_out(counts: Sequence[VariantCount]) -> tuple[str, ...]:
    """Return a sentence for each variant whose predictions are not all in the comparison."""
    notes: list[str] = []
    for each in counts:
        apart = {
            "failed": each.failed_predictions,
            "were answered by the control's version": each.fallback_predictions,
            "could not be journalled": each.lost_predictions,
        }
        said = [f"{number} {what}" for what, number in apart.items() if number]
        if said:
            notes.append(f"of the predictions of {each.variant} {', '.join(said)}: those are not compared")
    return tuple(notes)
