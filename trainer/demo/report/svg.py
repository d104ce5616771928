"""A small writer of plots as SVG, styled by the page's own CSS classes so that they follow its light or dark scheme."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

WIDTH = 880
HEIGHT = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 16, 36
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Axis:
    """A straight scale from values to pixels.

    Attributes
    ----------
    low, high
        The values at its ends; they differ.
    start, end
        The pixels at its ends.
    """

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, count: int) -> list[float]:
        """Return about so many round values within the axis."""
        step = nice_step((self.high - self.low) / max(count, 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(index * step, 12) for index in range(first, last + 1)]


def nice_step(step: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that is at least the step."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in _STEPS if factor * power >= step * (1 - 1e-9))


def spread(values: Iterable[float], *, margin: float = 0.05, include: Sequence[float] = ()) -> tuple[float, float]:
    """Return the ends of an axis that holds the values, some more, and a margin; never an empty range."""
    known = [value for value in (*values, *include) if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if low == high:
        low, high = low - 0.5, high + 0.5
    return low - margin * (high - low), high + margin * (high - low)


@dataclass(slots=True)
class Plot:
    """A plot in the making.

    Attributes
    ----------
    x, y
        The axes.
    """

    x: Axis
    y: Axis
    _parts: list[str] = field(default_factory=list)

    @classmethod
    def over(cls, x: tuple[float, float], y: tuple[float, float]) -> Plot:
        """Return an empty plot over two ranges of values."""
        return cls(Axis(*x, _LEFT, WIDTH - _RIGHT), Axis(*y, HEIGHT - _BOTTOM, _TOP))

    def grid(self, *, x_text: Callable[[float], str], y_text: Callable[[float], str], x_ticks: Sequence[float]) -> None:
        """Draw the axes' lines and the words at them."""
        for value in self.y.ticks(5):
            pixel = self.y.at(value)
            self._parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{pixel:.1f}" y2="{pixel:.1f}"/>'
                f'<text class="tick" x="{_LEFT - 8}" y="{pixel + 4:.1f}" text-anchor="end">'
                f"{escape(y_text(value))}</text>"
            )
        for value in x_ticks:
            pixel = self.x.at(value)
            self._parts.append(
                f'<line class="grid" x1="{pixel:.1f}" x2="{pixel:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
                f'<text class="tick" x="{pixel:.1f}" y="{HEIGHT - _BOTTOM + 18}" text-anchor="middle">'
                f"{escape(x_text(value))}</text>"
            )

    def line(self, points: Sequence[tuple[float, float]], style: str) -> None:
        """Draw a line through the points."""
        if points:
            self._parts.append(f'<polyline class="line {style}" points="{self._pixels(points)}"/>')

    def area(self, lower: Sequence[tuple[float, float]], upper: Sequence[tuple[float, float]], style: str) -> None:
        """Fill what lies between two lines."""
        if lower:
            self._parts.append(f'<polygon class="area {style}" points="{self._pixels([*lower, *reversed(upper)])}"/>')

    def dots(self, points: Iterable[tuple[float, float]], style: str) -> None:
        """Draw a small dot at each point: one path, since there may be thousands."""
        moves = "".join(f"M{self.x.at(x):.1f} {self.y.at(y):.1f}h0" for x, y in points)
        if moves:
            self._parts.append(f'<path class="dots {style}" d="{moves}"/>')

    def span(self, begin: float, end: float, style: str, title: str) -> None:
        """Shade what lies between two values of x, from top to bottom."""
        left, right = self.x.at(begin), self.x.at(end)
        self._parts.append(
            f'<rect class="span {style}" x="{left:.1f}" y="{_TOP}" width="{max(right - left, 1):.1f}" '
            f'height="{HEIGHT - _BOTTOM - _TOP}"><title>{escape(title)}</title></rect>'
        )

    def rule(self, value: float, text: str) -> None:
        """Draw a line across the plot at a value of y."""
        pixel = self.y.at(value)
        self._parts.append(
            f'<line class="rule" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{pixel:.1f}" y2="{pixel:.1f}"/>'
            f'<text class="note" x="{WIDTH - _RIGHT - 4}" y="{pixel - 5:.1f}" text-anchor="end">{escape(text)}</text>'
        )

    def mark(self, value: float, text: str, *, row: int = 0) -> None:
        """Draw a line from top to bottom at a value of x, with words beside it."""
        pixel = self.x.at(value)
        anchor, shift = ("end", -5) if pixel > WIDTH * 0.8 else ("start", 5)
        self._parts.append(
            f'<line class="mark" x1="{pixel:.1f}" x2="{pixel:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
            f'<text class="note" x="{pixel + shift:.1f}" y="{_TOP + 12 + 14 * row}" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )

    def to_svg(self, title: str) -> str:
        """Return the plot as an SVG element."""
        body = "".join(self._parts)
        return (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
            f"<title>{escape(title)}</title>{body}</svg>"
        )

    def _pixels(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x.at(x):.1f},{self.y.at(y):.1f}" for x, y in points)
