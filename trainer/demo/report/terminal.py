"""The report on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from trainer.demo.result import Result


def print_report(console: Console, result: Result) -> None:
    """Print what the run found."""
    table = Table(title="From a trained estimator to a decided experiment", title_style="bold", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, value in rows(result):
        table.add_row(name, value)
    console.print(table)
    for broken in result.broken_promises():
        console.print(f"[red]not as promised:[/red] {broken}", highlight=False)


def rows(result: Result) -> list[tuple[str, str]]:
    """Return the facts of a run, each with its name."""
    document = result.to_json()
    effect = document["experiment"].get("effect")
    found = "not enough data"
    if effect is not None:
        found = (
            f"{effect['difference']:+.4f} (95 % interval {effect['lower']:+.4f} to {effect['upper']:+.4f}, "
            f"p = {effect['p_value']:.1g})"
        )
    return [
        ("requests", f"{result.requests:,}"),
        ("failed requests", f"{result.failed_requests:,}"),
        ("outcomes acknowledged", f"{result.outcomes_acknowledged:,}"),
        ("outcomes in the analysis", f"{result.outcomes_analyzed:,}"),
        ("effect on the Brier score", found),
        ("decision", f"{result.decision.recommendation} {result.decision.variant}".strip()),
        ("swaps under load", f"{len(result.swaps)}"),
        ("latency, median", f"{document['p50_ms']} ms"),
        ("latency, 99th percentile", f"{document['p99_ms']} ms"),
        ("... of requests during swaps", f"{document['p99_during_swap_ms']} ms"),
        ("took", f"{result.duration_s:.0f} s"),
    ]
