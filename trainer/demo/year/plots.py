"""The plots of the year, over replayed time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trainer.demo.year.evidence import measured, moved
from turnout.report.style import arm_style
from turnout.report.svg import Plot, spread
from turnout.report.times import day_text, time_ticks

if TYPE_CHECKING:
    from trainer.demo.year.result import Result

_BINS = 150
_LOW = 200


def versions_plot(result: Result) -> str:
    """Return the plot of the share that each version answered, stacked, with the promotions."""
    event_us, version = result.column("event_us").astype(np.float64), result.column("version")
    if not len(event_us):
        return Plot.over((0, 1), (0, 1)).to_svg("No traffic")
    edges = np.linspace(event_us.min(), event_us.max() + 1, _BINS + 1)
    plot = _over(edges[0], edges[-1], (0.0, 1.0), percent=True)
    total = np.histogram(event_us, edges)[0]
    held = total > 0
    middles = ((edges[:-1] + edges[1:]) / 2)[held]
    below = np.zeros(int(held.sum()))
    for number in np.unique(version):
        above = below + np.histogram(event_us[version == number], edges)[0][held] / total[held]
        style = f"solid {arm_style(int(number) - 1)}" if number else "bad"
        plot.area(list(zip(middles, below, strict=True)), list(zip(middles, above, strict=True)), style)
        below = above
    for row, (time_us, number, _) in enumerate(result.history.champions):
        if time_us >= edges[0]:
            plot.mark(time_us, f"version {number}", row=row % 3)
    return plot.to_svg("The share of the traffic that each version answered, over the year")


def measured_plot(result: Result, kind: str, title: str) -> str:
    """Return the plot of a metric's interval at each check, with the threshold past which it fires."""
    points = measured(result.history.checks, kind)
    if not points:
        return Plot.over((0, 1), (0, 1)).to_svg("No check could tell")
    plot = _plot(result, spread([end for point in points for end in (point.low, point.high, point.threshold)]))
    band = [(point.time_us, point.low) for point in points], [(point.time_us, point.high) for point in points]
    plot.area(*band, "band second")
    plot.line([(point.time_us, point.threshold) for point in points], "first")
    plot.line([(point.time_us, point.value) for point in points], "second")
    plot.dots([(point.time_us, point.value) for point in points if point.fires], "bad firm")
    _promotions(plot, result)
    return plot.to_svg(title)


def moved_plot(result: Result, column: str) -> str:
    """Return the plot of how far a column had moved from the training table at each check."""
    points = moved(result.history.checks, column)
    plot = _plot(result, spread([0.0, *(point.effect for point in points), *(point.floor for point in points)]))
    plot.line([(point.time_us, point.floor) for point in points], "first")
    plot.line([(point.time_us, point.effect) for point in points], "second")
    plot.dots([(point.time_us, point.effect) for point in points if point.flagged], "bad firm")
    _promotions(plot, result)
    return plot.to_svg(f"How far {column} had moved from what the version in service was trained on")


def _plot(result: Result, y: tuple[float, float]) -> Plot:
    event_us = result.column("event_us").astype(np.float64)
    return _over(event_us.min(), event_us.max(), y, height=_LOW)


def _over(begin: float, end: float, y: tuple[float, float], *, percent: bool = False, height: int = 260) -> Plot:
    plot = Plot.over((begin, end), y, height=height)
    text = (lambda value: f"{value:.0%}") if percent else (lambda value: f"{value:g}")
    plot.grid(x_text=day_text, y_text=text, x_ticks=time_ticks(begin, end))
    return plot


def _promotions(plot: Plot, result: Result) -> None:
    for time_us, _, _ in result.history.champions:
        if plot.x.low <= time_us <= plot.x.high:
            plot.mark(time_us, "")
