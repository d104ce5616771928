from __future__ import annotations

import re
from pathlib import Path


def test_every_promise_on_the_page_names_a_test_that_exists():
    here = Path(__file__).parent
    page = (here.parents[1] / "docs/statistics.md").read_text()
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", page))
    there = {
        name
        for file in here.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert len(named) > 20
    assert named - there == set()
