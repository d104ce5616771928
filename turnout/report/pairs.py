"""What two versions made of the same calls: one answered, the other was its shadow."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.report import html
from turnout.report.forest import Effect, forest_plot, percent
from turnout.report.words import enum_words, p_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

OF_OUTPUT = (
    pb.METRIC_KIND_ABSOLUTE_ERROR,
    pb.METRIC_KIND_SQUARED_ERROR,
    pb.METRIC_KIND_LOG_LOSS,
    pb.METRIC_KIND_BRIER,
    pb.METRIC_KIND_ACCURACY,
)
"""The kinds of metrics that are of an output, so that two outputs for one call are two values."""

_STYLES = {pb.FINDING_BETTER: "good", pb.FINDING_WORSE: "bad"}
_CAPTION = (
    "The same calls seen by both versions: one answered, the other was its shadow. What differs between calls is in "
    "both and falls away, so that far fewer units show the same difference. Not part of the recommendation: a shadow's "
    "answer changed nothing for anybody."
)


@dataclass(frozen=True, slots=True)
class Paired:
    """What the pairs of the control's version and a variant's say of a metric."""

    metric: str
    variant: str
    answer: pb.ComparePairsResponse


def paired(
    experiment: pb.Experiment, compare: Callable[[pb.ComparePairsRequest], pb.ComparePairsResponse]
) -> Iterator[Paired]:
    """Yield what the calls since the start say, asking `compare`, for each metric of an output and each treatment.

    Treatments that no call was seen by beside the control's version are left out.
    """
    [control] = [each for each in experiment.variants if each.control]
    for variant in experiment.variants:
        for metric in experiment.metrics:
            if variant.control or variant.version == control.version or metric.kind not in OF_OUTPUT:
                continue
            asked = pb.Metric()
            asked.CopyFrom(metric)
            answer = compare(
                pb.ComparePairsRequest(
                    model=experiment.model,
                    control_version=control.version,
                    treatment_version=variant.version,
                    metric=asked,
                    since_us=experiment.start_time_us,
                    alpha=experiment.alpha,
                    minimum_units=experiment.minimum_units,
                )
            )
            if answer.pairs:
                yield Paired(metric.metric, variant.variant, answer)


def pairs_section(found: Sequence[Paired]) -> str:
    """Return the pairs as a plot, a table and words; '' when there are none."""
    if not found:
        return ""
    said = [line for each in found for line in _said(each)]
    return (
        f"<h2>On the same calls</h2>{html.figure(_forest(found), escape(_CAPTION))}{_table(found)}"
        f"{''.join(f'<p>{escape(line)}</p>' for line in said)}"
    )


def _forest(found: Sequence[Paired]) -> str:
    effects = []
    for each in found:
        value, words = None, "not enough data"
        if each.answer.WhichOneof("result") == "estimate":
            estimate = each.answer.estimate
            words = f"difference {estimate.difference:+.3g}, no lift"
            if not estimate.relative.not_enough_data:
                lift = estimate.relative
                value = (lift.lift, lift.lower, lift.upper)
                words = f"{percent(lift.lift)} [{percent(lift.lower)}, {percent(lift.upper)}]"
        label = f"{each.metric}, {each.variant}"
        effects.append(Effect(label, value, words, _STYLES.get(each.answer.finding, "open")))
    return forest_plot(effects, title="The lift of each metric on the same calls with its interval")


def _table(found: Sequence[Paired]) -> str:
    columns = (
        "metric", "variant", "finding", "control's", "variant's", "difference", "interval", "p", "units", "pairs",
        "failed", "pending",
    )  # fmt: skip
    rows = []
    for each in found:
        answer, numbers = each.answer, ("",) * 6
        if answer.WhichOneof("result") == "estimate":
            one = answer.estimate
            numbers = (
                f"{one.control_mean:.5g}",
                f"{one.treatment_mean:.5g}",
                f"{one.difference:+.3g}",
                f"{one.lower:+.3g} to {one.upper:+.3g}",
                p_text(one.p_value),
                f"{one.treatment_units:,}",
            )
        counts = (answer.pairs, answer.failed_pairs, answer.pending_pairs)
        rows.append(
            (each.metric, each.variant, enum_words(pb.Finding, answer.finding), *numbers, *(f"{n:,}" for n in counts))
        )
    return html.table(columns, rows, numbers=range(3, len(columns)))


def _said(each: Paired) -> Iterator[str]:
    """Yield why there is no estimate, and what McNemar's test says of labels."""
    answer, what = each.answer, f"{each.metric} of {each.variant}"
    if answer.WhichOneof("result") != "estimate":
        yield f"{what}: not enough data: {answer.not_enough_data}"
    if not answer.HasField("labels"):
        return
    labels = answer.labels
    if labels.not_enough_data:
        yield f"{what}, right more often: not enough data: {labels.not_enough_data}"
    else:
        yield (
            f"{what}, right more often: the control in {labels.control_only:,} units, {each.variant} in "
            f"{labels.treatment_only:,} (p = {p_text(labels.p_value)} by McNemar's exact test, for one look)."
        )
