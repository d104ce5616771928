"""The plot of the effect: how sure the experiment has become."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turnout.report.effect import Reading
from turnout.report.effect import effect_plot as plot_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.demo.trial import EffectPoint


def effect_plot(effects: Sequence[EffectPoint], *, decided_us: int = 0) -> str:
    """Return the plot of the difference with its interval, over replayed time."""
    readings = [Reading(each.now_us, each.difference, each.lower, each.upper) for each in effects]
    return plot_of(
        [("second", readings)],
        title="The effect on the Brier score with its 95 % interval, over replayed time",
        decided_us=decided_us,
    )
