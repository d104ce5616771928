"""An experiment as a page: what is recommended and why, the effects, how they became sure, and whether to trust it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.report import html
from turnout.report.effect import Reading, effect_plot
from turnout.report.forest import Effect, forest_plot, percent
from turnout.report.growth import growth_plot
from turnout.report.pairs import pairs_section
from turnout.report.quality import quality
from turnout.report.style import arm_style
from turnout.report.times import moment_of
from turnout.report.words import enum_words, p_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turnout.report.pairs import Paired

_FINDING_STYLES = {
    pb.FINDING_BETTER: "good",
    pb.FINDING_HOLDS: "good",
    pb.FINDING_WORSE: "bad",
}
_EFFECTS_CAPTION = (
    "The difference from the control as a part of the control's mean, with its interval. Green is better, or a "
    "guardrail that holds within its margin; red is worse; grey is not settled. An interval that reaches beyond the "
    "plot ends in an arrow."
)
_TIME_CAPTION = (
    "The difference from the control with its interval, as it was told at each look that was kept. Intervals of a "
    "confidence sequence hold at all looks together, however often one looks."
)


@dataclass(frozen=True, slots=True)
class ExperimentReport:
    """All that a report is made of.

    Attributes
    ----------
    experiment
        The definition.
    advice
        The recommendation now, with its analysis.
    looks
        Earlier recommendations, oldest first.
    pairs
        What the versions made of the same calls, where one was the other's shadow.
    """

    experiment: pb.Experiment
    advice: pb.GetRecommendationResponse
    looks: Sequence[pb.GetRecommendationResponse]
    pairs: Sequence[Paired] = ()

    @property
    def told(self) -> list[pb.GetRecommendationResponse]:
        """All looks, the one of now at the end, once."""
        now = self.advice.analysis
        return [each for each in self.looks if each.analysis.time_us < now.time_us] + [self.advice]

    @property
    def arms(self) -> dict[str, str]:
        """The CSS class of each variant, the control's first."""
        ordered = sorted(self.experiment.variants, key=lambda each: not each.control)
        return {each.variant: arm_style(position) for position, each in enumerate(ordered)}


def experiment_page(report: ExperimentReport) -> str:
    """Return the report as one HTML file that needs nothing else."""
    experiment, advice = report.experiment, report.advice
    advised = f"{enum_words(pb.Recommendation, advice.recommendation)} {advice.variant}".strip()
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in advice.reasons)
    title = experiment.name.removeprefix("experiments/")
    return html.document(
        f"{title}: {advised}",
        f"""<h1>{escape(title)}: {escape(advised)}</h1>
<p class="soft">{escape(experiment.description)}</p>
<ul>{reasons}</ul>
{html.facts(_facts(report))}
{experiment_sections(report)}
<p class="soft">The verdict is a pure function of what was defined, counted and summed, and was made by
{escape(advice.engine)}; its digest is <code>{escape(advice.digest)}</code>. <code>turnout experiments verify
{escape(title)}</code> computes each kept look again.</p>""",
    )


def experiment_sections(report: ExperimentReport) -> str:
    """Return what the data say as HTML with headings of the second level: for a page that has a head of its own."""
    analysis = report.advice.analysis
    methods = _methods(analysis)  # looks that were kept by an earlier release name none
    return f"""<h2>Effects</h2>{html.figure(_forest(report), _EFFECTS_CAPTION)}
{_comparisons(report)}
{pairs_section(report.pairs)}
<h2>Effects over time</h2>{_over_time(report)}
<h2>Units of each variant</h2>{_growth(report)}
<h2>Whether the data can be trusted</h2>{quality(report.experiment, analysis)}
{f"<h2>Methods</h2>{methods}" if methods else ""}"""


def _facts(report: ExperimentReport) -> list[tuple[str, str]]:
    experiment, advice = report.experiment, report.advice
    arms = ", ".join(
        f"{each.variant} {each.share:.4g} (version {each.version}{', control' if each.control else ''})"
        for each in experiment.variants
    )
    found = [
        ("model", experiment.model.removeprefix("models/")),
        ("state", enum_words(pb.ExperimentState, experiment.state)),
        ("variants", arms),
        ("status", enum_words(pb.RecommendationStatus, advice.status)),
    ]
    if advice.HasField("confidence"):
        found.append(("confidence", f"{advice.confidence:.4%}"))
    if advice.HasField("average_improvement"):
        found.append(("average improvement", percent(advice.average_improvement)))
    if advice.HasField("remaining_units"):
        found.append(("units still needed", f"{advice.remaining_units:,}"))
    looks = max([each.analysis.look for each in report.told])
    found += [
        ("outcomes analyzed", f"{advice.analysis.outcomes_analyzed:,}"),
        ("alpha", f"{experiment.alpha:g}"),
        ("looks kept", f"{looks:,}"),
        ("as of", f"{moment_of(advice.analysis.time_us):%Y-%m-%d %H:%M:%S} UTC"),
    ]
    return found


def _label(report: ExperimentReport, comparison: pb.Comparison) -> str:
    """Return what a comparison is of; the variant only where there are several."""
    several = len(report.experiment.variants) > 2  # noqa: PLR2004  (a control and one treatment)
    return f"{comparison.metric}, {comparison.variant}" if several else comparison.metric


def _forest(report: ExperimentReport) -> str:
    effects: list[Effect] = []
    for each in report.advice.analysis.comparisons:
        value, words = None, "not enough data"
        if each.WhichOneof("result") == "estimate":
            lift = each.estimate.relative
            words = f"difference {each.estimate.difference:+.3g}, no lift"
            if not lift.not_enough_data:
                value = (lift.lift, lift.lower, lift.upper)
                words = f"{percent(lift.lift)} [{percent(lift.lower)}, {percent(lift.upper)}]"
        effects.append(Effect(_label(report, each), value, words, _FINDING_STYLES.get(each.finding, "open")))
    return forest_plot(effects, title="The lift of each metric with its interval")


def _comparisons(report: ExperimentReport) -> str:
    columns = (
        "metric", "role", "variant", "finding", "control's", "variant's", "difference", "interval", "p", "adjusted p",
        "to win",
    )  # fmt: skip
    roles = {each.metric: enum_words(pb.MetricRole, each.role) for each in report.experiment.metrics}
    rows: list[tuple[str, ...]] = []
    silent: list[str] = []
    for each in report.advice.analysis.comparisons:
        head = (each.metric, roles.get(each.metric, ""), each.variant, enum_words(pb.Finding, each.finding))
        if each.WhichOneof("result") != "estimate":
            rows.append((*head, *("",) * 7))
            silent.append(f"{each.metric} of {each.variant}: not enough data: {each.not_enough_data}")
            continue
        found = each.estimate
        chance = "" if found.posterior.not_enough_data else f"{found.posterior.chance_to_win:.1%}"
        rows.append(
            (
                *head,
                f"{found.control_mean:.5g}",
                f"{found.treatment_mean:.5g}",
                f"{found.difference:+.3g}",
                f"{found.lower:+.3g} to {found.upper:+.3g}",
                p_text(found.p_value),
                p_text(each.adjusted_p_value),
                chance,
            )
        )
    return html.table(columns, rows, numbers=range(4, 11)) + "".join(f"<p>{escape(line)}</p>" for line in silent)


def _over_time(report: ExperimentReport) -> str:
    parts: list[str] = []
    treatments = [each.variant for each in report.experiment.variants if not each.control]
    for metric in report.experiment.metrics:
        series = [(report.arms[variant], _readings(report, metric.metric, variant)) for variant in treatments]
        better = "more is better" if metric.direction == pb.DIRECTION_INCREASE else "less is better"
        parts.append(f"<h3>{escape(metric.metric)}, {better}</h3>")
        if not any(readings for _, readings in series):
            parts.append('<p class="soft">No look has had enough data.</p>')
            continue
        svg = effect_plot(series, title=f"The effect on {metric.metric} over time")
        parts.append(html.figure(svg, html.keys((report.arms[each], each) for each in treatments)))
    return f'<p class="soft">{_TIME_CAPTION}</p>{"".join(parts)}'


def _readings(report: ExperimentReport, metric: str, variant: str) -> list[Reading]:
    return [
        Reading(told.analysis.time_us, each.estimate.difference, each.estimate.lower, each.estimate.upper)
        for told in report.told
        for each in told.analysis.comparisons
        if (each.metric, each.variant) == (metric, variant) and each.WhichOneof("result") == "estimate"
    ]


def _growth(report: ExperimentReport) -> str:
    told = report.told
    series = [
        (
            style,
            [(one.analysis.time_us, each.units) for one in told for each in one.analysis.counts if each.variant == arm],
        )
        for arm, style in report.arms.items()
    ]
    marks = [
        (one.analysis.time_us, f"split {one.analysis.epoch}")
        for before, one in itertools.pairwise(told)
        if one.analysis.epoch > before.analysis.epoch > 0
    ]
    svg = growth_plot(series, title="The units of each variant over time", marks=marks)
    return html.figure(svg, html.keys((style, arm) for arm, style in report.arms.items()))


def _methods(analysis: pb.AnalyzeExperimentResponse) -> str:
    rows = [(each.method, each.formula, each.assumptions, each.reference) for each in analysis.methods]
    return html.table(("method", "formula", "what has to hold", "reference"), rows)
