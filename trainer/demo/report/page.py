"""The report as one HTML file: no script, nothing loaded from elsewhere, readable in light and dark."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from trainer.demo.report.effect_plot import effect_plot
from trainer.demo.report.latency_plot import latency_plot
from trainer.demo.report.terminal import rows
from trainer.demo.report.traffic_plot import traffic_plot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.demo.result import Result

_STYLE = """
:root { color-scheme: light dark; --ground: #fcfcfa; --ink: #22252a; --soft: #6a7079; --rule: #e3e3de;
        --first: #7a8594; --second: #0b7a75; --swap: #d9822b; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #17191c; --ink: #e6e6e3; --soft: #9aa1ab; --rule: #2c3036;
          --first: #8d99a8; --second: #3cc2b8; --swap: #e39a4b; --bad: #f2766d; } }
body { background: var(--ground); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; margin: 0 auto;
       max-width: 60rem; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .4rem; } h2 { font-size: 1.1rem; margin: 2.4rem 0 .2rem; }
p { margin: .3rem 0 .8rem; max-width: 46rem; } .soft, figcaption { color: var(--soft); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; margin: .8rem 0; }
th, td { border-bottom: 1px solid var(--rule); padding: .35rem .8rem .35rem 0; text-align: left; vertical-align: top; }
th { font-weight: 500; color: var(--soft); } td.number, th.number { text-align: right; padding-right: 0; }
figure { margin: .6rem 0 0; } figcaption { font-size: .88rem; } .scroll { overflow-x: auto; }
svg { width: 100%; min-width: 34rem; height: auto; display: block; }
svg text { font-family: inherit; font-size: 12px; fill: var(--soft); } svg .note { fill: var(--ink); }
.grid { stroke: var(--rule); } .rule { stroke: var(--ink); stroke-dasharray: 4 4; }
.mark { stroke: var(--swap); stroke-width: 1.2; }
.line { fill: none; stroke-width: 2; } .line.second { stroke: var(--second); } .line.first { stroke: var(--first); }
.area { stroke: none; fill-opacity: .85; } .area.first { fill: var(--first); } .area.second { fill: var(--second); }
.area.band { fill-opacity: .18; } .area.solid.faint { fill-opacity: .45; } .area.solid.bad { fill: var(--bad); }
.dots { fill: none; stroke-linecap: round; stroke-width: 2.4; stroke-opacity: .45; }
.dots.first { stroke: var(--first); }
.span.swap { fill: var(--swap); fill-opacity: .13; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 .9em; }
.bad { color: var(--bad); }
"""
_KEYS = (
    ("first", ".85", "version 1 as champion"),
    ("first", ".45", "version 1 in the experiment"),
    ("second", ".45", "version 2 in the experiment"),
    ("second", ".85", "version 2 as champion"),
)


def page(result: Result) -> str:
    """Return the report."""
    facts = "".join(
        f"<tr><th>{escape(name)}</th><td class=number>{escape(value)}</td></tr>" for name, value in rows(result)
    )
    broken = "".join(f'<p class="bad">Not as promised: {escape(text)}</p>' for text in result.broken_promises())
    reasons = " ".join(result.decision.reasons)
    decision = f"{result.decision.recommendation} {result.decision.variant}".strip()
    keys = "".join(
        f'<span class="key" style="background:var(--{colour});opacity:{opacity}"></span>{escape(text)}'
        for colour, opacity, text in _KEYS
    )
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Turnout: flights of 2013, from estimator to decision</title><style>{_STYLE}</style></head><body>
<h1>Which version knows better that a flight will be late?</h1>
<p class="soft">Departures from New York in 2013, replayed in time order as gRPC requests against a running gateway.
Version 2 was trained while version 1 answered; the experiment decided between them; the winner was promoted, rolled
back and promoted again under load.</p>
{broken}<table>{facts}</table>
<h2>Decision: {escape(decision)}</h2><p>{escape(reasons)}</p>
{
        _figure(
            effect_plot(result.effects, decided_us=result.decided_us),
            "Version 2's Brier score minus version 1's, as the outcomes came in; below zero, "
            "version 2 is better. The band is the 95 % confidence sequence: it holds at all these moments "
            "together, however often one looks. The first intervals reach beyond the plot.",
            "The effect and its interval",
        )
    }
{_figure(traffic_plot(result), keys, "Who answered", plain=False)}
{
        _figure(
            latency_plot(result),
            "Each dot is a request, as its caller waited for it; the line is the median of each half "
            "second. A shaded window reaches from the request for a swap to a second after every worker served it.",
            "Latency through the swaps",
        )
    }
<h2>Versions</h2><div class="scroll">{_versions(result.versions)}</div>
</body></html>
"""


def _figure(svg: str, caption: str, title: str, *, plain: bool = True) -> str:
    """Return a plot with its title and caption; a caption that is not plain is HTML already."""
    words = escape(caption) if plain else caption
    return f'<h2>{escape(title)}</h2><figure><div class="scroll">{svg}</div><figcaption>{words}</figcaption></figure>'


def _versions(versions: Sequence[dict[str, object]]) -> str:
    """Return the table of what was trained."""
    head = (
        "version",
        "algorithm",
        "features",
        "rows",
        "Brier, held out",
        "AUC, held out",
        "parity",
        "largest difference",
    )
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _cells(version))}</tr>" for version in versions
    )
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>{body}</table>"


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
