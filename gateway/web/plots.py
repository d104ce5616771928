"""The console's own small plots; larger ones are the reports'."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.web.html import Html, el, join
from turnout.report.style import arm_style
from turnout.report.svg import Plot, spread
from turnout.report.times import time_text, time_ticks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turnout.experiments.v1 import experiment_service_pb2 as experiments_pb
    from turnout.registry.v1 import registry_service_pb2 as registry_pb
    from turnout.report.effect import Reading

_LANE = 34
_LEFT = 130
_WIDE = 400.0
_TALL = 64.0


def split_bar(variants: Sequence[experiments_pb.Variant]) -> Html:
    """Return the shares of an experiment's variants as one bar, with a legend."""
    ordered = sorted(enumerate(variants), key=lambda each: not each[1].control)
    parts, keys = [], []
    at = 0.0
    for place, (_, each) in enumerate(ordered):
        style = arm_style(place)
        parts.append(el("rect", x=f"{at * 100:.3f}%", width=f"{each.share * 100:.3f}%", height="100%", class_=style))
        role = ", control" if each.control else ""
        keys.append(
            el(
                "li",
                el("span", class_=f"key {style}"),
                f"{each.variant} {each.share:.4g} · version {each.version}{role}",
            )
        )
        at += each.share
    words = ", ".join(f"{each.variant} {each.share:.4g}" for _, each in ordered)
    bar = el("svg", *parts, class_="split", role="img", aria_label=f"The split: {words}")
    return join(bar, el("ul", keys, class_="legend"))


def spark(readings: Sequence[Reading], *, style: str, words: str) -> Html:
    """Return an effect over time without axes: its band, its line, and no difference."""
    later = readings[len(readings) // 3 :]
    clip = 1.5 * max((abs(end) for each in later for end in (each.lower, each.upper)), default=0.01)
    kept = [
        (each.time_us, *(max(-clip, min(clip, end)) for end in (each.value, each.lower, each.upper)))
        for each in readings
    ]
    begin, end = spread((float(each[0]) for each in kept), margin=0.0)
    low, high = spread((value for each in kept for value in each[1:]), include=(0.0,))

    def point(time_us: float, value: float) -> str:
        return f"{(time_us - begin) / (end - begin) * _WIDE:.1f},{(high - value) / (high - low) * _TALL:.1f}"

    band = [point(each[0], each[2]) for each in kept] + [point(each[0], each[3]) for each in reversed(kept)]
    zero = point(begin, 0.0).partition(",")[2]
    return el(
        "svg",
        el("polygon", class_=f"area band {style}", points=" ".join(band)),
        el("line", class_="zero", x1=0, x2=_WIDE, y1=zero, y2=zero),
        el("polyline", class_=f"line {style}", points=" ".join(point(each[0], each[1]) for each in kept)),
        class_="spark",
        viewBox=f"0 0 {_WIDE:.0f} {_TALL:.0f}",
        preserveAspectRatio="none",
        role="img",
        aria_label=words,
    )


def alias_lanes(moves: Sequence[registry_pb.AliasMove], now_us: int) -> Html:
    """Return which version had each alias when, a lane for each; the moves are in any order."""
    lanes: dict[str, list[registry_pb.AliasMove]] = {}
    for move in sorted(moves, key=lambda each: (each.time_us, each.generation)):
        lanes.setdefault(move.alias, []).append(move)
    if not lanes:
        return Html("")
    ordered = sorted(lanes, key=lambda alias: (alias != "champion", alias))
    plot = Plot.over(
        spread([float(move.time_us) for move in moves] + [float(now_us)], margin=0.0),
        (len(ordered), 0.0),
        height=_LANE * len(ordered) + 52,
        left=_LEFT,
    )
    plot.columns(x_text=time_text, x_ticks=time_ticks(plot.x.low, plot.x.high))
    parts: list[Html] = []
    for row, alias in enumerate(ordered):
        middle = plot.y.at(row + 0.5)
        plot.text(_LEFT - 12, middle + 4, alias, anchor="end", style="name")
        held = lanes[alias]
        for place, move in enumerate(held):
            if move.removed:
                continue
            left = plot.x.at(move.time_us)
            right = plot.x.at(held[place + 1].time_us if place + 1 < len(held) else now_us)
            parts.append(_held(move.to_version, left, max(right - left, 1.5), middle))
    drawn = plot.to_svg("Which version had each alias, over time")
    # The lanes stand on the grid, within the same element.
    return Html(drawn.removesuffix("</svg>") + join(*parts) + "</svg>")


def _held(version: int, left: float, width: float, middle: float) -> Html:
    top, height = middle - _LANE / 2 + 5, _LANE - 10
    words = f"version {version}"
    label = el("text", f"v{version}", class_="note", x=f"{left + 6:.1f}", y=f"{middle + 4:.1f}") if width > 30 else None  # noqa: PLR2004  (fits there)
    box = el(
        "rect", el("title", words), x=f"{left:.1f}", y=f"{top:.1f}", width=f"{width:.1f}", height=f"{height:.1f}", rx=2
    )
    return el("g", box, label, class_=f"lane {arm_style(1 + version % 5)}")
