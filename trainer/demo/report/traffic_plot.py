"""The plot of the traffic: which version answered, over replayed time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from turnout.report.svg import Plot
from turnout.report.times import time_text, time_ticks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.demo.result import Result

_BINS = 80


def traffic_plot(result: Result) -> str:
    """Return the plot of the share that each variant answered, stacked."""
    event_us = result.column("event_us").astype(np.float64)
    if not len(event_us):
        return Plot.over((0, 1), (0, 1)).to_svg("No traffic")
    edges = np.linspace(event_us.min(), event_us.max() + 1, _BINS + 1)
    plot = Plot.over((edges[0], edges[-1]), (0.0, 1.0))
    plot.grid(x_text=time_text, y_text=lambda value: f"{value:.0%}", x_ticks=time_ticks(edges[0], edges[-1]))
    total = np.histogram(event_us, edges)[0]
    held = total > 0
    middles = ((edges[:-1] + edges[1:]) / 2)[held]
    below = np.zeros(int(held.sum()))
    for style, chosen in _groups(result):
        above = below + np.histogram(event_us[chosen], edges)[0][held] / total[held]
        plot.area(list(zip(middles, below, strict=True)), list(zip(middles, above, strict=True)), f"solid {style}")
        below = above
    return plot.to_svg("The share of the traffic that each version answered, over replayed time")


def _groups(result: Result) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the styles and the requests of each kind of answer, from the bottom up."""
    version = result.column("version")
    alone = result.column("variant") == ""
    ok = result.column("ok").astype(bool)
    return [
        ("first", ok & (version == 1) & alone),
        ("first faint", ok & (version == 1) & ~alone),
        ("second faint", ok & (version == 2) & ~alone),  # noqa: PLR2004  version 2
        ("second", ok & (version == 2) & alone),  # noqa: PLR2004  version 2
        ("bad", ~ok),
    ]
