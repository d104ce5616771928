"""The console's one stylesheet: that of the reports, and what a console needs beside it."""

from __future__ import annotations

from pathlib import Path

from turnout.report.style import PLOT_STYLE


def stylesheet() -> str:
    """Return the stylesheet."""
    return PLOT_STYLE + Path(__file__).with_suffix(".css").read_text(encoding="utf-8")
