"""The plot of the docs is drawn from what was recorded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_plot_of_the_docs_is_what_the_recorded_runs_draw(tmp_path):
    drawn = tmp_path / "drawn.svg"
    runs = ROOT / "docs/analysis-growth.jsonl"
    subprocess.run([sys.executable, ROOT / "bench/analysis_plot.py", runs, drawn], check=True, timeout=60)
    assert drawn.read_text() == (ROOT / "docs/analysis-growth.svg").read_text()
