"""Draw what analyses cost: `python bench/analysis_plot.py docs/analysis-growth.jsonl docs/analysis-growth.svg`.

The points are the runs that `bench/analysis_scale.py --json` recorded, by CPU time, which other work on the machine
does not change much; the lines go through the least of each size.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 70, 610, 30, 255
MARKS = 6
SERIES = (("first", "first analysis", "#1f5fa8"), ("new", "after 100 000 new events", "#b3541e"))

Points = dict[float, list[float]]


def read_points(lines: str) -> dict[str, Points]:
    """Return the CPU seconds of each analysis, by kind and by millions of predictions."""
    found: dict[str, Points] = defaultdict(lambda: defaultdict(list))
    for line in lines.splitlines():
        run = json.loads(line)
        found[run["analysis"]][run["millions"]].append(run["cpu"])
    return found


def draw(found: dict[str, Points]) -> str:
    """Return the plot as SVG."""
    shown = [found[kind] for kind, _, _ in SERIES]
    sizes = sorted({size for points in shown for size in points})
    step = _step(max(each for points in shown for runs in points.values() for each in runs) / MARKS)
    across = (RIGHT - LEFT) / (sizes[-1] * 1.05)
    up = (BOTTOM - TOP) / (step * MARKS)
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
            'font-size="12" fill="#333">'
        ),
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for mark in range(MARKS + 1):
        y = BOTTOM - mark * step * up
        parts.append(f'<line x1="{LEFT}" x2="{RIGHT}" y1="{y:.0f}" y2="{y:.0f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.0f}" text-anchor="end">{mark * step:g}</text>')
    parts += [f'<text x="{LEFT + x * across:.0f}" y="274" text-anchor="middle">{x:g}</text>' for x in sizes]
    for (_, title, colour), points in zip(SERIES, shown, strict=True):
        parts += _line(points, title, colour, across, up)
    parts.append(f'<text x="{(LEFT + RIGHT) / 2:.0f}" y="292" text-anchor="middle">millions of predictions</text>')
    parts.append('<text x="16" y="142" text-anchor="middle" transform="rotate(-90 16 142)">CPU seconds</text></svg>')
    return "\n".join(parts) + "\n"


def _line(points: Points, title: str, colour: str, across: float, up: float) -> list[str]:
    places = [(LEFT + size * across, BOTTOM - min(runs) * up) for size, runs in sorted(points.items())]
    through = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{through}"/>']
    for size, runs in sorted(points.items()):
        x = LEFT + size * across
        parts += [f'<circle cx="{x:.1f}" cy="{BOTTOM - each * up:.1f}" r="3.5" fill="{colour}"/>' for each in runs]
    x, y = places[-1]
    parts.append(f'<text x="{x - 12:.0f}" y="{y - 12:.0f}" fill="{colour}" text-anchor="end">{title}</text>')
    return parts


def _step(least: float) -> float:
    """Return the next round number: 1, 2 or 5 times a power of ten."""
    scale = 1e-6
    while True:
        for factor in (1, 2, 5):
            if factor * scale >= least:
                return factor * scale
        scale *= 10


def main() -> None:
    """Read the first file, and write the second one."""
    source, target = map(Path, sys.argv[1:3])
    target.write_text(draw(read_points(source.read_text())))


if __name__ == "__main__":
    main()
