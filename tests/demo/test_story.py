from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from trainer.demo.report.page import page
from trainer.demo.scale import SCALES, Scale
from trainer.demo.screen import Screen
from trainer.demo.server import Server
from trainer.demo.story import tell

PAGE = Path(__file__).parents[2] / "docs/registry.md"
COMMAND_S = 60

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


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Return the state folder of a demo of a few days, what was found, and what was said."""
    state = tmp_path_factory.mktemp("demo")
    console = Console(file=io.StringIO(), width=160)
    with Screen(console) as screen:
        result = tell(FEW_DAYS, state, screen)
    return state, result, console.file.getvalue()


@pytest.mark.timeout(400)
def test_the_whole_loop_holds_its_promises_on_a_few_days(told):
    _, result, said = told
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
    assert "version 1 is the champion on every worker" in said


@pytest.fixture
def asked(told):
    """Return what the commands of the page about the demo's registry print, asked of what the demo left behind."""
    state, _, _ = told
    section = PAGE.read_text().partition("## The demo's registry\n")[2].partition("\n## ")[0]
    demo, serve, *commands = re.findall(r"^\$ (.*)$", section, re.MULTILINE)
    assert demo == "turnout demo --state demo"
    assert serve == "turnout serve --state demo/gateway --clock replay &"  # the very same, but for ports and workers
    with Server(state / "gateway", workers=1, log=state / "again.log") as server:
        path = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"
        found = {"PATH": path, "TURNOUT_SERVER": server.control, "TURNOUT_DATA_SERVER": server.data}
        printed = {}
        for command in commands:
            done = subprocess.run(
                ["bash", "-c", command],
                env=os.environ | found,
                capture_output=True,
                text=True,
                check=False,
                timeout=COMMAND_S,
            )
            assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
            printed[command] = json.loads(done.stdout) if command.endswith("--json") else done.stdout
    assert server.exit_code == 0
    return printed


@pytest.mark.timeout(400)
def test_every_command_of_the_page_about_the_demos_registry_runs_on_it(told, asked):
    _, result, _ = told
    printed = {" ".join(command.split()[2:]): told for command, told in asked.items()}
    found = printed["search 'metrics.brier < 0.25 AND feature_set:*' --order-by metrics.brier --json"]["versions"]
    briers = [each["facts"]["metrics"]["brier"] for each in found]
    assert sorted(each["version"] for each in found) == [1, 2]
    assert briers == sorted(briers)
    compared = printed["compare flight-delay/1 flight-delay/2 --json"]
    assert (compared["data_changed"], compared["code_changed"]) == (True, False)
    better = {each["name"]: each["better"] for each in compared["metrics"] if each["direction"] != "UNSPECIFIED"}
    assert better.keys() == {"accuracy", "brier", "f1", "log_loss", "roc_auc"}
    assert compared["features_added"]
    assert "other inputs" in compared["predictions_reason"]
    lineage = printed["lineage flight-delay 2 --json"]
    assert [each["name"] for each in lineage["ancestors"]] == ["models/flight-delay/versions/1"]
    assert [each["experiment"] for each in lineage["experiments"]] == ["experiments/v1-against-v2"]
    assert 0 < lineage["predictions"]["count"] < result.requests
    moves = printed["history flight-delay --json"]["moves"]
    assert [each["generation"] for each in moves] == list(range(1 + len(result.swaps), 0, -1))
    gates = printed["gates flight-delay --version 2 --json"]
    assert [(each["gate"], each["passed"]) for each in gates["now"]] == [("parity", True), ("metric", False)]
    ratios = {each["name"]: each["ratio"] for each in printed["--governance --json"]["ratios"]}
    assert (ratios["versions_with_full_lineage"], ratios["changes_with_an_audit_event"]) == (1.0, 1.0)
