"""The forest plot: each effect of an experiment with its interval, one below the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from turnout.report.svg import Plot, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROW = 30
_LEFT, _RIGHT = 250, 230
_LABEL_CHARS_MAX = 40


@dataclass(frozen=True, slots=True)
class Effect:
    """One row.

    Attributes
    ----------
    label
        What it is of.
    value, lower, upper
        The lift and its interval, 0.02 being two percent; None: it cannot be said, and only words stand there.
    words
        What stands to the right: the numbers, or why there are none.
    style
        `good`, `bad` or `open`.
    """

    label: str
    value: tuple[float, float, float] | None
    words: str
    style: str


def forest_plot(effects: Sequence[Effect], *, title: str) -> str:
    """Return the plot of lifts, the first row at the top. An interval that would dwarf the others is cut."""
    known = [each.value for each in effects if each.value is not None]
    reach = 3 * sorted(max(abs(end) for end in value) for value in known)[len(known) // 2] if known else 1.0
    plot = Plot.over(
        spread((max(-reach, min(reach, end)) for value in known for end in value), include=(0.0,)),
        (len(effects), 0.0),
        height=_ROW * max(len(effects), 1) + 52,
        left=_LEFT,
        right=_RIGHT,
    )
    plot.columns(x_text=percent, x_ticks=plot.x.ticks(6) if known else ())
    plot.mark(0.0, "", style="rule")
    for row, effect in enumerate(effects):
        middle = plot.y.at(row + 0.5) + 4
        plot.text(_LEFT - 10, middle, shortened(effect.label), anchor="end", style="note")
        plot.text(plot.x.end + 10, middle, effect.words)
        if effect.value is not None:
            value, lower, upper = effect.value
            plot.whisker(lower, upper, row + 0.5, effect.style)
            plot.square(value, row + 0.5, effect.style)
    return plot.to_svg(title)


def percent(value: float) -> str:
    """Return a part as a signed percentage; 0 has no sign."""
    return f"{100 * value:+.3g} %" if value else "0"


def shortened(label: str) -> str:
    """Return a label that fits beside a plot."""
    return label if len(label) <= _LABEL_CHARS_MAX else f"{label[: _LABEL_CHARS_MAX - 1]}…"
