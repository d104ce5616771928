"""The plot of the effect: how sure the experiment has become."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.demo.report.dates import day_text, day_ticks
from trainer.demo.report.svg import Plot, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.demo.trial import EffectPoint


def effect_plot(effects: Sequence[EffectPoint], *, decided_us: int = 0) -> str:
    """Return the plot of the difference with its interval, over replayed time."""
    # The first intervals are wider than the whole later story; beyond twice the last ones' reach they are cut.
    reach = max(
        (abs(end) for point in effects[len(effects) // 3 :] for end in (point.lower, point.upper)), default=0.01
    )
    clip = 1.5 * reach
    times = [float(point.now_us) for point in effects]
    plot = Plot.over(
        spread(times, margin=0.02),
        spread((max(-clip, min(clip, end)) for point in effects for end in (point.lower, point.upper)), include=(0.0,)),
    )
    plot.grid(x_text=day_text, y_text=lambda value: f"{value:+.3f}", x_ticks=day_ticks(plot.x.low, plot.x.high))

    def kept(value: float) -> float:
        return max(plot.y.low, min(plot.y.high, value))

    plot.area(
        [(point.now_us, kept(point.lower)) for point in effects],
        [(point.now_us, kept(point.upper)) for point in effects],
        "band second",
    )
    plot.line([(point.now_us, kept(point.difference)) for point in effects], "second")
    plot.rule(0.0, "no difference")
    if plot.x.low <= decided_us <= plot.x.high:
        plot.mark(decided_us, "decided", row=2)
    return plot.to_svg("The effect on the Brier score with its 95 % interval, over replayed time")
