"""The plot of the latency through the swaps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from turnout.report.svg import Plot

if TYPE_CHECKING:
    from trainer.demo.result import Result

_AROUND_S = 4.0
_BIN_S = 0.5
_DOTS_MAX = 6_000


def latency_plot(result: Result) -> str:
    """Return the plot of each request's latency around the swaps, with the median and the swaps' windows."""
    sent_s, latency_ms = result.column("sent_s"), result.column("latency_ms")
    if not len(sent_s):
        return Plot.over((0, 1), (0, 1)).to_svg("No traffic")
    begin_s, end_s = sent_s.min(), sent_s.max()
    if result.swaps:
        begin_s = max(begin_s, min(window.begin_s for window in result.swaps) - _AROUND_S)
        end_s = min(end_s, max(window.end_s for window in result.swaps) + _AROUND_S)
    near = (sent_s >= begin_s) & (sent_s <= end_s)
    sent_s, latency_ms = sent_s[near] - begin_s, latency_ms[near]
    top_ms = max(float(latency_ms.max(initial=0.0)), 1.0) * 1.08
    plot = Plot.over((0.0, max(end_s - begin_s, _BIN_S)), (0.0, top_ms))
    for window in result.swaps:
        plot.span(window.begin_s - begin_s, window.end_s - begin_s, "swap", window.what)
    plot.grid(x_text=lambda value: f"{value:g} s", y_text=lambda value: f"{value:g} ms", x_ticks=plot.x.ticks(10))
    every = max(1, -(-len(sent_s) // _DOTS_MAX))
    slow = latency_ms > np.quantile(latency_ms, 0.99) if len(latency_ms) else latency_ms > 0
    shown = slow | (np.arange(len(sent_s)) % every == 0)
    plot.dots(zip(sent_s[shown], latency_ms[shown], strict=True), "first")
    bins = (sent_s // _BIN_S).astype(int)
    plot.line(
        [((index + 0.5) * _BIN_S, float(np.median(latency_ms[bins == index]))) for index in np.unique(bins)], "second"
    )
    for row, window in enumerate(result.swaps):
        plot.mark(window.begin_s - begin_s, window.what, row=row % 2)
    return plot.to_svg("The latency of each request around the swaps, with the median of each half second")
