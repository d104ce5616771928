"""Whole runs at a real gateway: from what triggers see to the champion."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression

from trainer.fit import fit
from trainer.table import download, fetch, training_table
from turnout import Client
from turnout.experiments.v1 import experiment_service_pb2 as experiments_pb
from turnout.registry.v1 import registry_service_pb2 as registry_pb
from turnout.trainer.v1 import run_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

sys.path.insert(0, str(Path(__file__).parents[1] / "gateway"))
from ramps import scoring_model

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


def test_a_script_of_ones_own_is_tried_and_published_without_a_policy(town, tmp_path):
    script, left = tmp_path / "own.py", tmp_path / "own.onnx"
    script.write_text(GOOD)
    words = [
        "train",
        str(town.policy_file("own")),
        "--script",
        f"{sys.executable} {script}",
        "--out",
        str(left),
        "--publish",
    ]
    words += ["--as-of", str(FIRST_US + 30 * DAY_US), "--server", town.gateway.control_address]
    done = subprocess.run(
        [Path(sys.executable).with_name("turnout"), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["verdict"], said["version"]) == ("BLESSED", "models/own/versions/1")
    version = town.control.registry.GetVersion(registry_pb.GetVersionRequest(name=said["version"])).version
    assert version.facts.code_fingerprint.startswith("script:")
    assert version.facts.metrics["brier"] == pytest.approx(said["metrics"]["brier"])
    assert version.probe_rows > 0
    assert left.stat().st_size > 0


@pytest.mark.timeout(600)  # of processes that are started one by one, on machines with much else to do
def test_runs_survive_trainers_that_are_killed_at_each_step_and_publish_once(town):
    town.policy("killed", in_batches)
    town.start("killed")
    flags = ("--lease", "1")
    trainers = {place: town.trainer(place, *flags) for place in ("first", "second")}
    for step in ("table", "train", "evaluate"):
        place = working_at(town, "killed", step)
        trainers[place].kill()
        trainers[place].wait()
        trainers[place] = town.trainer(place, *flags)
    town.wait(lambda: any(each.step == run_pb2.RUN_STEP_PUBLISH for each in town.run("killed").steps))
    for place, trainer in trainers.items():
        trainer.kill()
        trainer.wait()
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


KILLS = 50


@pytest.mark.soak
@pytest.mark.timeout(3_000)
def test_fifty_kills_at_random_times_leave_each_run_ended_once_published_once_and_in_one_experiment(town):
    generator = np.random.default_rng(11)
    town.policy("often", lambda text: text.replace('mode = "immediate"', f'mode = "ramp"{MATURE}'))
    town.start("often")
    town.work()
    town.go_to(56)
    flags, kills, number, steps = ("--lease", "1"), 0, 1, Counter()
    while kills < KILLS:
        number = int(town.start("often").name.rpartition("/")[2])
        trainers = {place: town.trainer(place, *flags) for place in ("first", "second")}
        while town.state_of("often", number) in ("QUEUED", "RUNNING"):
            place = ("first", "second")[generator.integers(2)]
            time.sleep(generator.uniform(0.2, 6))
            begun = town.run("often", number).steps
            steps[run_pb2.RunStep.Name(begun[-1].step) if begun else "none"] += 1
            trainers[place].kill()
            trainers[place].wait()
            trainers[place] = town.trainer(place, *flags)
            kills += 1
        for trainer in trainers.values():
            trainer.kill()
            trainer.wait()
        run = town.run("often", number)
        assert town.state_of("often", number) == "DEPLOYING", run
        events = [each.kind for each in events_of(town, run)]
        assert (events.count("step_done"), events.count("deploying")) == (5, 1)
        name = experiments_pb.ConcludeExperimentRequest(name=run.experiment, reason="the next one")
        town.control.experiments.ConcludeExperiment(name)
        town.wait(lambda: not children_of(town))
    listed = town.control.registry.ListVersions(registry_pb.ListVersionsRequest(parent="models/often", page_size=100))
    assert len(listed.versions) == number
    request = experiments_pb.ListExperimentsRequest(page_size=100)
    mine = [each for each in town.control.experiments.ListExperiments(request).experiments if "often" in each.name]
    assert len(mine) == number - 1
    sys.stdout.write(f"\n{kills} kills in {number - 1} runs, by the last step begun: {dict(steps)}\n")


MATURE = ', shares = [0.5, 1.0], outcome = "label", step_units = 20'


def events_of(town, run):
    """Return what has happened to a run so far."""
    found = []
    told = town.training.WatchRun(pb.WatchRunRequest(name=run.name), timeout=60)
    for each in told:
        if not each.HasField("event"):
            break
        found.append(each.event)
        if each.event.kind == "deploying":
            told.cancel()
            break
    return found


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


def in_batches(text):
    """Return a policy that learns in batches."""
    named = 'estimator = { path = "sklearn.linear_model.LogisticRegression" }'
    assert named in text
    learns = 'path = "sklearn.linear_model.SGDClassifier", parameters = { loss = "log_loss", average = true }'
    return text.replace(named, f"estimator = {{ {learns} }}\nbatches = {{ rows = 1_000, judged_rows = 1_000 }}")


def of_numbers(text):
    """Return a policy that learns numbers, of computed features too, walking forward."""
    changes = {
        "label, region": "2 + label * 3 AS label, region",
        '"visit"\n': '"visit-mixed"\nfolds = 2\n',
        "sklearn.linear_model.LogisticRegression": "sklearn.ensemble.HistGradientBoostingRegressor",
        "[training]": '[training]\ntask = "regression"\nearly_stopping_rounds = 5',
        '{ kind = "performance", settings = { metric = "brier", relative = 0.1, window = "8d" } },': "",
        # Customers have just changed their minds: little is known of what they do now.
        'guardrails = [{ metric = "roc_auc", margin = 0.02 }]': 'guardrails = [{ metric = "r2", at_least = -1.0 }]',
    }
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    return text


@pytest.mark.timeout(600)  # of processes that are started one by one, on machines with much else to do
def test_what_is_hostile_or_broken_is_stopped_within_its_budget_and_says_why(town, tmp_path):
    scripts = {"endless": ENDLESS, "hungry": HUNGRY, "garbled": GARBLED, "good": GOOD}
    flags = []
    for name, text in scripts.items():
        (tmp_path / f"{name}.py").write_text(text)
        flags += ["--script", f"{name}={sys.executable} {tmp_path / name}.py"]
        town.policy(name, by_script(name))
    town.policy("path", lambda text: text.replace("sklearn.linear_model.LogisticRegression", "os.system"))
    town.policy("numbers", of_numbers)
    names = [*scripts, "path", "numbers"]
    for name in names:
        town.start(name)
    town.work(*flags)
    ended = {name: (town.state_of(name), "; ".join(town.run(name).findings)) for name in names}
    assert {name: state for name, (state, _) in ended.items()} == dict.fromkeys(names, "FAILED") | {
        "good": "DEPLOYED",
        "numbers": "DEPLOYED",
    }
    assert "took longer than 8 s" in ended["endless"][1]
    assert "MemoryError" in ended["hungry"][1] or "bytes of memory" in ended["hungry"][1]
    assert "the graph does not answer" in ended["garbled"][1]
    assert "os.system is not of what the operator of this trainer allows: sklearn" in ended["path"][1]
    assert champion(town, "good") == 1
    trained = result(town.run("numbers"), run_pb2.RUN_STEP_TRAIN)
    assert len(trained["folds"]) == 2
    assert "r2" in result(town.run("numbers"), run_pb2.RUN_STEP_EVALUATE)["metrics"]
    assert town.left() == []
    assert children_of(town) == []


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_serving_is_undisturbed_while_a_run_eats_memory(town, tmp_path):
    graph = tmp_path / "served.onnx"
    graph.write_bytes(scoring_model())
    made = town.control.publish_version("served", graph, alias="champion")
    town.control.wait_for_revision(made.revision)
    (tmp_path / "greedy.py").write_text(HUNGRY)
    town.policy("greedy", by_script("hungry"))
    took = {"quiet": [], "training": []}
    with Client(town.gateway.data_address) as client:

        def ask(when):
            began = time.perf_counter()
            client.predict("served", inputs={"x": np.zeros((1, 4), np.float32)})  # raises what fails
            took[when].append(time.perf_counter() - began)
            time.sleep(0.002)

        for _ in range(2_000):
            ask("quiet")
        town.start("greedy")
        trainer = town.trainer("greedy", "--once", "--script", f"hungry={sys.executable} {tmp_path}/greedy.py")
        while trainer.poll() is None:
            ask("training")
    assert town.state_of("greedy") == "FAILED"
    quiet, training = (np.quantile(each, 0.99) * 1e3 for each in took.values())
    said = f"{len(took['training'])} calls during the run, 0 failed; p99 {training:.1f} ms against {quiet:.1f} ms"
    sys.stdout.write(f"\n{said}, {training / quiet:.1f} times; {town.run('greedy').findings}\n")
