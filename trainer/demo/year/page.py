"""The report of the year as one HTML file: no script, nothing loaded from elsewhere, readable in light and dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from trainer.demo.year.evidence import kind_of, most_flagged, verdict_of
from trainer.demo.year.history import found
from trainer.demo.year.plots import measured_plot, moved_plot, versions_plot
from turnout import plain, resources
from turnout.experiments.v1 import ramp_pb2
from turnout.report import html
from turnout.report.style import arm_style
from turnout.report.times import day_text
from turnout.trainer.v1 import run_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import Console

    from trainer.demo.year.result import Result

_COLUMNS_SHOWN = 4
_RUN_COLUMNS = (
    "run",
    "made",
    "by",
    "table",
    "parity",
    "gain of the candidate",
    "... of new data",
    "verdict",
    "came to",
)
_CHECK_COLUMNS = ("check", "of", "trigger", "says", "because")
_RAMP_COLUMNS = ("ramp", "when", "what", "because")
_VERSION_COLUMNS = ("version", "made by", "champion from", "Brier, held out", "AUC, held out", "learned from rows")
_BAND = "the line is what was found, the band its interval, grey the threshold; red: the trigger fires"


def page(result: Result) -> str:
    """Return the report."""
    history = result.history
    broken = "".join(f'<p class="bad">Not as promised: {escape(text)}</p>' for text in result.broken_promises())
    styles = [(arm_style(version.version - 1), f"version {version.version}") for version in history.versions]
    moved = "".join(
        html.figure(moved_plot(result, column), f"<code>{escape(column)}</code>, in standard deviations")
        for column in most_flagged(history.checks, _COLUMNS_SHOWN)
    )
    performance = measured_plot(result, "performance", "The Brier score of the champion on labels that are known")
    estimated = measured_plot(result, "estimated_performance", "The Brier score as it is estimated without labels")
    return html.document(
        "Turnout: flights of 2013, kept fit by policies",
        f"""<h1>From winter into summer, and who noticed</h1>
<p class="soft">A year's departures from New York in time order, one in four, as gRPC requests to a running gateway.
Two policies watch the model: <code>keep</code> ships what is proved better by a ramp on this traffic;
<code>impossible</code> would promote at once, but asks for a gain that nothing has.</p>
{broken}{html.facts(rows(result))}
<h2>Which version answered</h2>{html.figure(versions_plot(result), html.keys(styles))}
<h2>What the triggers saw</h2>
<h3>Drift: how far the last two weeks are from what the champion was trained on</h3>{moved}
<h3>Performance, by outcomes</h3>{html.figure(performance, _BAND)}
<h3>Performance, estimated without labels</h3>{html.figure(estimated, _BAND)}
<h3>The triggers that fired, and what came of it</h3>{html.table(_CHECK_COLUMNS, _fired(result))}
<h2>Runs</h2>{html.table(_RUN_COLUMNS, _runs(result))}
<h2>Ramps</h2>{html.table(_RAMP_COLUMNS, _ramps(result))}
<h2>Versions</h2>{html.table(_VERSION_COLUMNS, _versions(result), numbers=(3, 4, 5))}""",
    )


def print_report(console: Console, result: Result) -> None:
    """Print what the year came to."""
    for name, value in rows(result):
        console.print(f"[dim]{name:>40}[/dim]  {value}", highlight=False)
    for broken in result.broken_promises():
        console.print(f"[red]not as promised:[/red] {broken}", highlight=False)


def rows(result: Result) -> list[tuple[str, str]]:
    """Return the facts of the year, each with its name."""
    document, history = result.to_json(), result.history
    refused = [run for run in history.runs if run.state == run_pb2.RUN_STATE_REFUSED]
    return [
        ("requests", f"{result.requests:,}"),
        ("failed requests", f"{result.failed_requests:,}"),
        ("outcomes acknowledged", f"{result.outcomes_acknowledged:,}"),
        ("checks", f"{len(history.checks)}"),
        ("checks that made a run", f"{len(history.fired)}"),
        ("runs", f"{len(history.runs)}"),
        ("runs promoted by their ramp", ", ".join(_short(run.name) for run in result.promoted) or "none"),
        ("runs refused by a gate", ", ".join(_short(run.name) for run in refused) or "none"),
        ("versions published", f"{len(history.versions)}"),
        ("latency, median", f"{document['p50_ms']} ms"),
        ("latency, 99th percentile", f"{document['p99_ms']} ms"),
        ("took", f"{result.duration_s:.0f} s"),
    ]


def _day(time_us: int) -> str:
    """Return the day of a moment in one line."""
    return day_text(time_us).replace(" ", "\N{NO-BREAK SPACE}")


def _fired(result: Result) -> Iterable[list[str]]:
    for check in result.history.checks:
        for evidence in check.evidence:
            if evidence.verdict == run_pb2.TRIGGER_VERDICT_FIRE:
                came = (
                    f"{evidence.sentence} — {_short(check.run)}"
                    if check.run
                    else f"{evidence.sentence} — {check.sentence}"
                )
                name = _short(check.name)
                yield [_day(check.create_time_us), name, kind_of(evidence), verdict_of(evidence), came]


def _runs(result: Result) -> Iterable[list[str]]:
    for run in result.history.runs:
        table, trained = found(run, run_pb2.RUN_STEP_TABLE), found(run, run_pb2.RUN_STEP_TRAIN)
        judged = found(run, run_pb2.RUN_STEP_EVALUATE)
        primary = next(iter(judged.get("comparisons", [])), None)
        state = plain.short_name(run_pb2.RunState.DESCRIPTOR, run.state)
        yield [
            _short(run.name),
            _day(run.create_time_us),
            run.reason,
            f"{table.get('rows', 0):,} rows",
            str(trained.get("parity", "")),
            _gain(primary),
            _gain(judged.get("of_data")),
            str(judged.get("verdict", "")),
            f"{state}: {'; '.join(run.findings[:2])}",
        ]


def _gain(compared: dict[str, Any] | None) -> str:
    """Return a difference of a metric with its interval."""
    if not compared:
        return ""
    return f"{compared['gain']:+.4f} ({compared['lower']:+.4f} to {compared['upper']:+.4f})"


def _ramps(result: Result) -> Iterable[list[str]]:
    for name, events in result.history.ramps.items():
        for event in events:
            kind = plain.short_name(ramp_pb2.RampEventKind.DESCRIPTOR, event.kind)
            what, why = f"{kind}, step {event.step}", "; ".join(event.reasons)
            yield [resources.experiment_id(name), _day(event.time_us), what, why]


def _versions(result: Result) -> Iterable[list[str]]:
    since = {version: day_text(time_us) for time_us, version, _ in reversed(result.history.champions)}
    for version in result.history.versions:
        metrics = version.facts.metrics
        yield [
            str(version.version),
            _short(dict(version.facts.tags).get("run", "")),
            since.get(version.version, "never"),
            f"{metrics['brier']:.4f}",
            f"{metrics['roc_auc']:.3f}",
            f"{metrics['training_rows']:,.0f}",
        ]


def _short(name: str) -> str:
    return name.removeprefix("policies/").replace("/runs/", " run ").replace("/checks/", " check ")
