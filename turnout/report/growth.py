"""The plot of what has gathered over time, for example units per variant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnout.report.svg import Plot, spread
from turnout.report.times import time_text, time_ticks

if TYPE_CHECKING:
    from collections.abc import Sequence


def growth_plot(
    series: Sequence[tuple[str, Sequence[tuple[int, float]]]], *, title: str, marks: Sequence[tuple[int, str]] = ()
) -> str:
    """Return the plot of counts by time in microseconds, each series by its CSS class, with marks at some moments."""
    shown = [point for _, points in series for point in points]
    plot = Plot.over(
        spread((float(time_us) for time_us, _ in shown), margin=0.02),
        (0.0, 1.08 * max((count for _, count in shown), default=1.0) or 1.0),
    )
    plot.grid(x_text=time_text, y_text=lambda value: f"{value:,.6g}", x_ticks=time_ticks(plot.x.low, plot.x.high))
    for style, points in series:
        plot.line(points, style)
        if len(points) == 1:  # no line goes through one point
            plot.dots(points, f"firm {style}")
    for row, (time_us, words) in enumerate(marks):
        if plot.x.low <= time_us <= plot.x.high:
            plot.mark(time_us, words, row=row % 4)
    return plot.to_svg(title)
