"""A small writer of plots as SVG, styled by the page's own CSS classes so that they follow its light or dark scheme.

It never writes a style into an element: a page that may only use its stylesheet shows plots too.
"""

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
_CHARACTER = 6.8
"""About so wide is a character of the words at an axis, in pixels."""
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

    def kept(self, value: float) -> float:
        """Return the value, moved to the nearer end where it lies beyond the axis."""
        return max(self.low, min(self.high, value))

    def ticks(self, count: int) -> list[float]:
        """Return about so many round values within the axis."""
        step = nice_step((self.high - self.low) / max(count, 1))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def nice_step(step: float) -> float:
    """Return the smallest of 1, 2, 2.5, 5 times a power of ten that is at least the step."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in _STEPS if factor * power >= step * (1 - 1e-9))


def spread(values: Iterable[float], *, margin: float = 0.05, include: Sequence[float] = ()) -> tuple[float, float]:
    """Return the ends of an axis that holds the values, some more, and a margin; never an empty range."""
    known = [value for value in (*values, *include) if math.isfinite(value)]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        half = max(0.5, abs(low) * 1e-3)
        low, high = low - half, high + half
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
    def over(
        cls,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        height: int = HEIGHT,
        left: int = _LEFT,
        right: int = _RIGHT,
    ) -> Plot:
        """Return an empty plot over two ranges of values, with so many pixels for what stands beside it."""
        return cls(Axis(*x, left, WIDTH - right), Axis(*y, height - _BOTTOM, _TOP))

    def grid(self, *, x_text: Callable[[float], str], y_text: Callable[[float], str], x_ticks: Sequence[float]) -> None:
        """Draw the axes' lines and the words at them."""
        for value in self.y.ticks(5):
            pixel = self.y.at(value)
            self._parts.append(
                f'<line class="grid" x1="{self.x.start}" x2="{self.x.end}" y1="{pixel:.1f}" y2="{pixel:.1f}"/>'
            )
            self.text(self.x.start - 8, pixel + 4, y_text(value), anchor="end")
        self.columns(x_text=x_text, x_ticks=x_ticks)

    def columns(self, *, x_text: Callable[[float], str], x_ticks: Sequence[float]) -> None:
        """Draw the lines of the x axis alone, and the words below them."""
        for value in x_ticks:
            pixel = self.x.at(value)
            self._parts.append(
                f'<line class="grid" x1="{pixel:.1f}" x2="{pixel:.1f}" y1="{self.y.end}" y2="{self.y.start}"/>'
            )
            words = x_text(value)
            half = len(words) * _CHARACTER / 2
            self.text(min(max(pixel, half), WIDTH - half), self.y.start + 18, words, anchor="middle")

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

    def whisker(self, low: float, high: float, y: float, style: str) -> None:
        """Draw an interval at a value of y; an end beyond the axis is an arrow's head."""
        left, right, at = self.x.at(self.x.kept(low)), self.x.at(self.x.kept(high)), self.y.at(y)
        ends = f"M{left:.1f} {at - 5:.1f}v10" if low >= self.x.low else f"M{left + 6:.1f} {at - 5:.1f}l-6 5l6 5"
        ends += f"M{right:.1f} {at - 5:.1f}v10" if high <= self.x.high else f"M{right - 6:.1f} {at - 5:.1f}l6 5l-6 5"
        self._parts.append(f'<path class="whisker {style}" d="M{left:.1f} {at:.1f}H{right:.1f}{ends}"/>')

    def square(self, x: float, y: float, style: str) -> None:
        """Draw a small square in the middle of a point, unless it lies beyond the axis."""
        if self.x.low <= x <= self.x.high:
            self._parts.append(
                f'<rect class="square {style}" x="{self.x.at(x) - 4:.1f}" y="{self.y.at(y) - 4:.1f}" '
                'width="8" height="8"/>'
            )

    def span(self, begin: float, end: float, style: str, title: str) -> None:
        """Shade what lies between two values of x, from top to bottom."""
        left, right = self.x.at(begin), self.x.at(end)
        self._parts.append(
            f'<rect class="span {style}" x="{left:.1f}" y="{self.y.end}" width="{max(right - left, 1):.1f}" '
            f'height="{self.y.start - self.y.end}"><title>{escape(title)}</title></rect>'
        )

    def rule(self, value: float, text: str) -> None:
        """Draw a line across the plot at a value of y."""
        pixel = self.y.at(value)
        self._parts.append(
            f'<line class="rule" x1="{self.x.start}" x2="{self.x.end}" y1="{pixel:.1f}" y2="{pixel:.1f}"/>'
        )
        self.text(self.x.end - 4, pixel - 5, text, anchor="end", style="note")

    def mark(self, value: float, text: str, *, row: int = 0, style: str = "mark") -> None:
        """Draw a line from top to bottom at a value of x, with words beside it."""
        pixel = self.x.at(value)
        anchor, shift = ("end", -5) if pixel > WIDTH * 0.8 else ("start", 5)
        self._parts.append(
            f'<line class="{style}" x1="{pixel:.1f}" x2="{pixel:.1f}" y1="{self.y.end}" y2="{self.y.start}"/>'
        )
        if text:
            self.text(pixel + shift, self.y.end + 12 + 14 * row, text, anchor=anchor, style="note")

    def text(self, x: float, y: float, words: str, *, anchor: str = "start", style: str = "tick") -> None:
        """Write words at a pixel."""
        self._parts.append(
            f'<text class="{style}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def to_svg(self, title: str) -> str:
        """Return the plot as an SVG element."""
        body = "".join(self._parts)
        return (
            f'<svg viewBox="0 0 {WIDTH} {self.y.start + _BOTTOM:.0f}" role="img" aria-label="{escape(title)}">'
            f"<title>{escape(title)}</title>{body}</svg>"
        )

    def _pixels(self, points: Sequence[tuple[float, float]]) -> str:
        return " ".join(f"{self.x.at(x):.1f},{self.y.at(y):.1f}" for x, y in points)
