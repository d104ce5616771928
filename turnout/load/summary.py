"""What a load showed, as a document and as a plot of characters."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from turnout.load.histogram import Histogram
    from turnout.load.plan import Plan
    from turnout.load.tally import Tally

PERCENTS = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99)
PLOT_ROWS, PLOT_COLUMNS = 14, 48
LATE_SHARE = 0.1
"""The generator is blamed once its own lateness is more than this share of the latency, at the 99th percentile."""
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def document_of(plan: Plan, tally: Tally) -> dict[str, object]:
    """Return the figures; times are milliseconds."""
    elapsed_s = max(plan.seconds, tally.ended_us / 1e6)
    return {
        "loop": "closed" if plan.concurrency else "open",
        "asked": {"concurrency": plan.concurrency} if plan.concurrency else {"rate_per_s": plan.rate_per_s},
        "seconds": plan.seconds,
        "processes": plan.processes,
        "connections": plan.connections,
        "calls": tally.calls,
        "failed": tally.failed,
        "statuses": dict(tally.statuses.most_common()),
        "rate_per_s": tally.calls / elapsed_s,
        "latency_ms": _figures(tally.latency),
        "from_sent_ms": _figures(tally.service),
        "sent_late_ms": _figures(tally.late),
        "generator_was_late": was_late(tally),
    }


def was_late(tally: Tally) -> bool:
    """Return whether the latencies tell much of the generator itself."""
    return tally.late.percentile(99) > LATE_SHARE * tally.latency.percentile(99)


def plot(histogram: Histogram) -> list[str]:
    """Return bars of how many calls took how long; each step of the scale is the same factor."""
    if not histogram.total:
        return []
    low, high = max(1, histogram.percentile(0)), max(2, histogram.greatest)
    edges = np.unique(np.round(np.geomspace(low, high + 1, PLOT_ROWS + 1)).astype(int))
    above = [histogram.total, *(histogram.above(int(edge) - 1) for edge in edges[1:-1]), 0]
    counts = [before - after for before, after in pairwise(above)]
    most = max(counts)
    lines = []
    for edge, count in zip(edges[1:], counts, strict=True):
        eighths = round(8 * PLOT_COLUMNS * count / most)
        least = "▏" if count else ""
        bar = "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
        lines.append(f"{f'< {edge / 1e3:.3g}':>10} ms {bar or least} {count}")
    return lines


def _figures(histogram: Histogram) -> dict[str, float | None]:
    if not histogram.total:
        return {}
    found = {f"p{percent:g}": histogram.percentile(percent) / 1e3 for percent in PERCENTS}
    return {"min": histogram.least / 1e3, "mean": histogram.mean() / 1e3, **found, "max": histogram.greatest / 1e3}
