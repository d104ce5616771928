from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from trainer.demo.report.page import page
from trainer.demo.scale import SCALES, Scale
from trainer.demo.screen import Screen
from trainer.demo.story import tell

FEW_DAYS = Scale(
    name="few-days",
    start_us=SCALES["small"].start_us,
    alone_days=1,
    experiment_days=2,
    after_days=1,
    rate_per_s=600.0,
    train_every=12,
    between_swaps_s=0.3,
)


@pytest.mark.timeout(400)
def test_the_whole_loop_holds_its_promises_on_a_few_days(tmp_path):
    console = Console(file=io.StringIO(), width=160)
    with Screen(console) as screen:
        result = tell(FEW_DAYS, tmp_path, screen)
    assert result.broken_promises() == []
    assert result.requests > 3_000
    assert result.outcomes_acknowledged > 0.9 * result.requests
    assert [version["version"] for version in result.versions] == [1, 2]
    assert {1, 2} == set(result.column("version"))
    assert {"", "control", "treatment"} == set(result.column("variant"))
    assert sum(variant["matured_units"] for variant in result.experiment["variants"]) > 1_000
    assert len(result.swaps) == (3 if result.decision.recommendation == "ship" else 0)
    assert json.dumps(result.to_json(), allow_nan=False)
    assert "<svg" in page(result)
    assert "version 1 is the champion on every worker" in console.file.getvalue()
