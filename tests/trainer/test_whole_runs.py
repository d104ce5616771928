"""Whole runs at a real gateway: from what triggers see to the champion."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression

from trainer.fit import fit
from trainer.table import download, fetch, training_table
from turnout.registry.v1 import registry_service_pb2 as registry_pb
from turnout.trainer.v1 import run_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

ROOT = Path(__file__).parents[2]
DAY_US = 86_400_000_000
FIRST_US = 1_704_067_200_000_000  # 2024-01-01
TURN_DAY = 40


def champion(town, model):
    aliases = town.control.registry.GetModel(registry_pb.GetModelRequest(name=f"models/{model}")).model.aliases
    return {alias.alias: alias.version for alias in aliases}.get("champion", 0)


def result(run, step):
    return json.loads(next(each.result_json for each in run.steps if each.step == step))


def checks(town, name):
    return town.training.ListChecks(pb.ListChecksRequest(parent=f"policies/{name}")).checks


def example(_):
    """Return the example's policy for the town, which becomes the champion without a ramp."""
    text = (ROOT / "examples" / "retraining.toml").read_text()
    changes = {
        '"petals"\nmodel = "iris"': '"mind"\nmodel = "mind"',
        'mode = "ramp", outcome = "wrong"': 'mode = "immediate"',
        'feature_set = "petals"': 'feature_set = "visit"',
        "SELECT flower, event_time, label FROM flowers": "SELECT shop, event_time, label FROM visits",
    }
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    return text


@pytest.mark.timeout(600)  # of processes that are started one by one, on machines with much else to do
def test_the_loop_of_the_example_closes_when_customers_change_their_minds(town):
    town.policy("mind", example)
    town.start("mind")
    town.work()
    run = town.run("mind")
    assert town.state_of("mind") == "DEPLOYED", run
    assert champion(town, "mind") == 1
    assert result(run, run_pb2.RUN_STEP_TRAIN)["parity"] in ("AGREES", "AGREES_WITH_STEPS")
    assert result(run, run_pb2.RUN_STEP_EVALUATE)["verdict"] == "BLESSED"

    town.go_to(56)
    town.work()
    fired = checks(town, "mind")[0]
    assert fired.verdict == run_pb2.TRIGGER_VERDICT_FIRE, [each.sentence for each in fired.evidence]
    assert fired.run == "policies/mind/runs/2"
    run = town.run("mind", 2)
    assert town.state_of("mind", 2) == "DEPLOYED", run
    assert run.reason.startswith("performance: brier is ")
    judged = result(run, run_pb2.RUN_STEP_EVALUATE)
    assert judged["comparisons"][0]["lower"] > 0.05
    # What new data are worth is most of it: the recipe is the same.
    assert judged["of_data"]["lower"] > 0.05
    assert judged["of_model"]["gain"] == 0
    assert champion(town, "mind") == 2
    version = town.control.registry.GetVersion(registry_pb.GetVersionRequest(name=run.version)).version
    assert dict(version.facts.tags)["run"] == run.name
    assert list(version.facts.parents) == [1]
    assert version.facts.metrics["blessed"] == 1.0

    town.start("mind")
    town.work()
    assert town.state_of("mind", 3) == "REFUSED", town.run("mind", 3)
    (finding,) = town.run("mind", 3).findings
    assert finding.startswith("brier is not shown to be better by more than 0: the gain is 0")
    assert champion(town, "mind") == 2
    assert town.left() == []


def test_what_is_only_known_after_the_label_is_no_help_through_the_trainer(town):
    town.go_to(56)
    sql = "SELECT visit, shop, event_time, label FROM visits"
    honest = fetch(town.control, "visit-and-bill", label_sql=sql, end_us=FIRST_US + TURN_DAY * DAY_US)
    # The naive join takes what each visit's bill came to in the end, whenever that was.
    bills = pq.read_table(town.definitions / "bills.parquet")
    amounts = dict(zip(bills.column("visit").to_pylist(), bills.column("amount").to_pylist(), strict=True))
    content, _, _ = download(town.control, "visit-and-bill", label_sql=sql, end_us=FIRST_US + TURN_DAY * DAY_US)
    came_to = np.array([amounts[visit] for visit in content.column("visit").to_pylist()])
    leaking = training_table(
        content.set_column(content.column_names.index("bill.amount"), "bill.amount", [came_to]),
        feature_set="visit-and-bill",
        feature_names=honest.feature_names,
        fingerprint="",
    )
    fair, unfair = (fit(LogisticRegression(), table).metrics["roc_auc"] for table in (honest, leaking))
    without = replace(honest, rows=honest.rows[:, :2])
    assert unfair > 0.999
    assert fair == pytest.approx(fit(LogisticRegression(), without).metrics["roc_auc"], abs=1e-3)
    assert 0.7 < fair < 0.95


@pytest.mark.timeout(600)  # of processes that are started one by one, on machines with much else to do
def test_runs_survive_trainers_that_are_killed_at_each_step_and_publish_once(town):
    town.policy("killed")
    town.start("killed")
    flags = ("--lease", "1")
    trainers = {place: town.trainer(place, *flags) for place in ("first", "second")}
    for step in ("table", "train", "evaluate"):
        place = working_at(town, "killed", step)
        trainers[place].kill()
        trainers[place].wait()
        trainers[place] = town.trainer(place, *flags)
    town.wait(lambda: town.run("killed").end_time_us)
    for trainer in trainers.values():
        trainer.kill()
        trainer.wait()
    run = town.run("killed")
    assert town.state_of("killed") == "DEPLOYED", run
    listed = town.control.registry.ListVersions(registry_pb.ListVersionsRequest(parent="models/killed"))
    assert [version.version for version in listed.versions] == [1]
    events = [each.event.kind for each in town.training.WatchRun(pb.WatchRunRequest(name=run.name))]
    assert events.count("step_done") == 5, "each step is done once"
    assert events.count("deployed") == 1
    assert sum(each.attempts for each in run.steps) > 5
    town.wait(lambda: not children_of(town))


def working_at(town, name, step):
    """Wait until a child does a step, and return the place of its trainer."""
    found = []

    def looks():
        found[:] = [words for words in children_of(town) if words[3] == step and name in words[4]]
        return found

    town.wait(looks)
    return found[0][4].split("/")[-3]


def children_of(town):
    """Return the command lines of all children that do steps in the town's folder."""
    words = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            said = entry.read_bytes().decode(errors="replace").split("\0")
            if said[1:3] == ["-m", "trainer.runner.work"] and str(town.gateway.state.parent) in said[4]:
                words.append(said)
    return words


ENDLESS = "import time\nwhile True: time.sleep(1)"
HUNGRY = "kept = []\nwhile True: kept.append(bytearray(64 << 20))"
GARBLED = "import sys; open(sys.argv[2], 'wb').write(b'this is no graph' * 99)"
GOOD = """
import sys
import numpy as np
import pyarrow.parquet as pq
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

table = pq.read_table(sys.argv[1])
rows = np.column_stack([table.column(name) for name in table.column_names[:-3]]).astype(np.float32)
fitted = LogisticRegression().fit(rows, np.asarray(table.column("label")).astype(int))
graph = to_onnx(fitted, rows[:1], options={"zipmap": False}, target_opset=21)
open(sys.argv[2], "wb").write(graph.SerializeToString())
"""


def by_script(name):
    """Return what makes of a policy's text one that learns by a script; the endless one gets little time."""
    seconds = 8 if name == "endless" else 110

    def change(text):
        budget = f"[evaluation]\n[budget]\nwall_time_s = {seconds}\nmemory_bytes = 1_200_000_000\n"
        return f'{text.partition("[training]")[0]}[training]\nscript = "{name}"\n{budget}'

    return change


@pytest.mark.timeout(600)  # of processes that are started one by one, on machines with much else to do
def test_what_is_hostile_or_broken_is_stopped_within_its_budget_and_says_why(town, tmp_path):
    scripts = {"endless": ENDLESS, "hungry": HUNGRY, "garbled": GARBLED, "good": GOOD}
    flags = []
    for name, text in scripts.items():
        (tmp_path / f"{name}.py").write_text(text)
        flags += ["--script", f"{name}={sys.executable} {tmp_path / name}.py"]
        town.policy(name, by_script(name))
    town.policy("path", lambda text: text.replace("sklearn.linear_model.LogisticRegression", "os.system"))
    names = [*scripts, "path"]
    for name in names:
        town.start(name)
    town.work(*flags)
    ended = {name: (town.state_of(name), "; ".join(town.run(name).findings)) for name in names}
    assert {name: state for name, (state, _) in ended.items()} == dict.fromkeys(names, "FAILED") | {"good": "DEPLOYED"}
    assert "took longer than 8 s" in ended["endless"][1]
    assert "MemoryError" in ended["hungry"][1] or "bytes of memory" in ended["hungry"][1]
    assert "the graph does not answer" in ended["garbled"][1]
    assert "os.system is not of what the operator of this trainer allows: sklearn" in ended["path"][1]
    assert champion(town, "good") == 1
    assert town.left() == []
    assert children_of(town) == []
