"""The plot of an effect over time: how sure one has become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnout.report.svg import Plot, spread
from turnout.report.times import time_text, time_ticks

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Reading:
    """An effect as it was at one look.

    Attributes
    ----------
    time_us
        When, in microseconds since the Unix epoch.
    value, lower, upper
        The estimate and its interval.
    """

    time_us: int
    value: float
    lower: float
    upper: float


def effect_plot(series: Sequence[tuple[str, Sequence[Reading]]], *, title: str, decided_us: int = 0) -> str:
    """Return the plot of differences with their intervals over time, each series by its CSS class.

    The first intervals are wider than the whole later story: what lies beyond one and a half times the reach of
    the later two thirds is cut at the plot's edge.
    """
    shown = [reading for _, readings in series for reading in readings]
    later = [reading for _, readings in series for reading in readings[len(readings) // 3 :]]
    clip = 1.5 * max((abs(end) for reading in later for end in (reading.lower, reading.upper)), default=0.01)
    plot = Plot.over(
        spread((float(reading.time_us) for reading in shown), margin=0.02),
        spread(
            (max(-clip, min(clip, end)) for reading in shown for end in (reading.lower, reading.upper)), include=(0.0,)
        ),
    )
    plot.grid(x_text=time_text, y_text=signed, x_ticks=time_ticks(plot.x.low, plot.x.high))
    kept = plot.y.kept
    for style, readings in series:
        plot.area(
            [(each.time_us, kept(each.lower)) for each in readings],
            [(each.time_us, kept(each.upper)) for each in readings],
            f"band {style}",
        )
    for style, readings in series:
        points = [(each.time_us, kept(each.value)) for each in readings]
        plot.line(points, style)
        if len(points) == 1:  # no line goes through one point
            plot.dots(points, f"firm {style}")
    plot.rule(0.0, "no difference")
    if plot.x.low <= decided_us <= plot.x.high:
        plot.mark(decided_us, "decided", row=2)
    return plot.to_svg(title)


def signed(value: float) -> str:
    """Return a difference with its sign, in few digits; 0 has none."""
    return f"{value:+.4g}" if value else "0"
