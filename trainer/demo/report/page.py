"""The report as one HTML file: no script, nothing loaded from elsewhere, readable in light and dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from trainer.demo.report.effect_plot import effect_plot
from trainer.demo.report.latency_plot import latency_plot
from trainer.demo.report.terminal import rows
from trainer.demo.report.traffic_plot import traffic_plot
from turnout.report import html

if TYPE_CHECKING:
    from trainer.demo.result import Result

_KEYS = (
    ("first", "version 1 as champion"),
    ("first faint", "version 1 in the experiment"),
    ("second faint", "version 2 in the experiment"),
    ("second", "version 2 as champion"),
)
_VERSION_COLUMNS = (
    "version",
    "algorithm",
    "features",
    "rows",
    "Brier, held out",
    "AUC, held out",
    "parity",
    "largest difference",
)


def page(result: Result) -> str:
    """Return the report."""
    broken = "".join(f'<p class="bad">Not as promised: {escape(text)}</p>' for text in result.broken_promises())
    reasons = " ".join(result.decision.reasons)
    decision = f"{result.decision.recommendation} {result.decision.variant}".strip()
    effect = html.figure(
        effect_plot(result.effects, decided_us=result.decided_us),
        "Version 2's Brier score minus version 1's, as the outcomes came in; below zero, version 2 is better. The band "
        "is the 95 % confidence sequence: it holds at all these moments together, however often one looks. The first "
        "intervals reach beyond the plot.",
    )
    latency = html.figure(
        latency_plot(result),
        "Each dot is a request, as its caller waited for it; the line is the median of each half second. A shaded "
        "window reaches from the request for a swap to a second after every worker served it.",
    )
    return html.document(
        "Turnout: flights of 2013, from estimator to decision",
        f"""<h1>Which version knows better that a flight will be late?</h1>
<p class="soft">Departures from New York in 2013, replayed in time order as gRPC requests against a running gateway.
Version 2 was trained while version 1 answered; the experiment decided between them; the winner was promoted, rolled
back and promoted again under load.</p>
{broken}{html.facts(rows(result))}
<h2>Decision: {escape(decision)}</h2><p>{escape(reasons)}</p>
<h2>The effect and its interval</h2>{effect}
<h2>Who answered</h2>{html.figure(traffic_plot(result), html.keys(_KEYS))}
<h2>Latency through the swaps</h2>{latency}
<h2>Versions</h2>{html.table(_VERSION_COLUMNS, [_cells(version) for version in result.versions])}""",
    )


def _cells(version: dict[str, object]) -> list[str]:
    """Return what the table says of a version."""
    metrics, parity = version["metrics"], version["parity"]
    if not isinstance(metrics, dict) or not isinstance(parity, dict):
        raise TypeError("a version has metrics and parity")
    return [
        str(version["version"]),
        str(version["algorithm"]),
        str(version["features"]),
        f"{version['rows']:,}",
        f"{metrics['brier']:.4f}",
        f"{metrics['roc_auc']:.3f}",
        str(parity["verdict"]),
        f"{parity['max_delta']:.1e}",
    ]
