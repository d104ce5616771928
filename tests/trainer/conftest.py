"""A town of shops whose customers change their minds one day, and trainers that work for a gateway there."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from turnout.admin.v1 import admin_service_pb2
from turnout.cli.policy_file import read_policy
from turnout.control import Control
from turnout.trainer.v1 import run_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

ROOT = Path(__file__).parents[2]
DAY_US = 86_400_000_000
FIRST_US = 1_704_067_200_000_000  # 2024-01-01
TURN_DAY = 40
DAYS, SHOPS, VISITS = 60, 30, 6_000
PATIENCE_S = 280

DEFINITIONS = """
[[source]]
name = "days"
kind = "parquet"
path = "days.parquet"

[[source]]
name = "visits"
kind = "parquet"
path = "visits.parquet"

[[source]]
name = "bills"
kind = "parquet"
path = "bills.parquet"

[[view]]
name = "bill"
join_keys = ["visit"]
sql = "bill.sql"
[[view.features]]
name = "amount"
default = 0.0

[[view]]
name = "shop"
join_keys = ["shop"]
sql = "shop.sql"
ttl = "3d"
[[view.features]]
name = "price"
default = 0.0
[[view.features]]
name = "crowd"
default = 0.0

[[set]]
name = "visit"
features = ["shop.price", "shop.crowd"]

[[set]]
name = "visit-mixed"
features = ["shop.price", "transform.mixed"]
[[set.transform]]
name = "mixed"
expression = "shop.price * 2 - shop.crowd"

[[set]]
name = "visit-and-bill"
features = ["shop.price", "shop.crowd", "bill.amount"]
"""

POLICY = """
policy = "{name}"
model = "{name}"
check = {{ interval = "1d", jitter_us = 0 }}
triggers = [
    {{ kind = "performance", settings = {{ metric = "brier", relative = 0.1, window = "8d" }} }},
    {{ kind = "time", settings = {{ age = "100d" }} }},
]
notifications = {{ on_trigger = true, on_completion = true }}
deployment = {{ mode = "immediate" }}

[data]
feature_set = "visit"
label_sql = "SELECT shop, event_time, label, region FROM visits"
label_delay = "1h"
window = "25d"
validation_share = 0.1
test_share = 0.3

[training]
estimator = {{ path = "sklearn.linear_model.LogisticRegression" }}
transformers = [{{ path = "sklearn.preprocessing.StandardScaler" }}]

[evaluation]
slices = ["region"]
guardrails = [{{ metric = "roc_auc", margin = 0.02 }}]

[budget]
wall_time_s = 100
"""


def write_town(folder):
    """Write definitions over shops whose price drew people until a day, and puts them off from then on."""
    generator = np.random.default_rng(7)
    price, crowd = generator.normal(size=(2, DAYS, SHOPS))
    day, shop = np.meshgrid(np.arange(DAYS), np.arange(SHOPS), indexing="ij")
    moment = pa.array((FIRST_US + day.ravel() * DAY_US).astype(np.int64)).cast(pa.timestamp("us"))
    names = pa.array([f"s{number}" for number in shop.ravel()])
    columns = {"shop": names, "moment": moment, "price": price.ravel(), "crowd": crowd.ravel()}
    pq.write_table(pa.table(columns), folder / "days.parquet")
    when = np.sort(generator.uniform(0, DAYS, VISITS))
    where, today = generator.integers(0, SHOPS, VISITS), when.astype(int)
    turn = np.where(when < TURN_DAY, 1.0, -1.0)
    odds = turn * 1.5 * price[today, where] - crowd[today, where]
    label = (generator.uniform(size=VISITS) < 1 / (1 + np.exp(-odds))).astype(float)
    times = pa.array((FIRST_US + when * DAY_US).astype(np.int64)).cast(pa.timestamp("us"))
    visits = pa.array([f"v{number}" for number in range(VISITS)])
    # Who buys gets a bill, half an hour later.
    later = pa.array((FIRST_US + when * DAY_US + 1.8e9).astype(np.int64)).cast(pa.timestamp("us"))
    pq.write_table(pa.table({"visit": visits, "moment": later, "amount": label * 5}), folder / "bills.parquet")
    columns = {
        "visit": visits,
        "shop": pa.array([f"s{number}" for number in where]),
        "event_time": times,
        "label": label,
        "region": pa.array([f"r{number % 2}" for number in where]),
    }
    pq.write_table(pa.table(columns), folder / "visits.parquet")
    (folder / "town.toml").write_text(DEFINITIONS)
    (folder / "bill.sql").write_text("SELECT visit, moment AS event_time, amount FROM bills")
    (folder / "shop.sql").write_text("SELECT shop, moment AS event_time, price, crowd FROM days")


class Town:
    """A gateway on a replay clock that knows the shops, and trainers for it."""

    def __init__(self, gateway, control, folder):
        self.gateway = gateway
        self.control = control
        self.training = control.training
        self.definitions = folder / "definitions"
        self._folder = folder
        self._started = []

    def go_to(self, day):
        now_us = FIRST_US + int(day * DAY_US)
        self.control.admin.AdvanceClock(admin_service_pb2.AdvanceClockRequest(now_us=now_us))

    def policy(self, name, change=lambda text: text):
        """Create a policy for a model of the same name, its text changed."""
        return self.training.CreatePolicy(read_policy(self.policy_file(name, change))).policy

    def policy_file(self, name, change=lambda text: text):
        """Write a policy for a model of the same name, its text changed."""
        path = self._folder / f"{name}.toml"
        path.write_text(change(POLICY.format(name=name)))
        return path

    def start(self, name, **options):
        return self.training.StartRun(pb.StartRunRequest(parent=f"policies/{name}", reason="to see", **options)).run

    def run(self, name, number=1):
        return self.training.GetRun(pb.GetRunRequest(name=f"policies/{name}/runs/{number}")).run

    def state_of(self, name, number=1):
        return run_pb2.RunState.Name(self.run(name, number).state).removeprefix("RUN_STATE_")

    def trainer(self, place="trainer", *flags):
        """Start a trainer, by a name and with a folder of the place's own."""
        command = [sys.executable, "-m", "trainer", "--state", str(self._folder / place), "--poll", "0.05"]
        with (self._folder / f"{place}.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, "--server", self.gateway.control_address, *flags],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )
        self._started.append(process)
        return process

    def work(self, *flags, place="trainer"):
        """Let a trainer do what there is to do."""
        process = self.trainer(place, "--once", *flags)
        assert process.wait(PATIENCE_S) == 0, (self._folder / f"{place}.log").read_text()[-3_000:]

    def left(self, place="trainer"):
        """Return what runs have left in a trainer's folder."""
        return list((self._folder / place / "runs").iterdir())

    def wait(self, holds):
        until = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < until, "it does not come about"
            time.sleep(0.02)

    def close(self):
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture(scope="module")
def town(launch, tmp_path_factory):
    """Return a town on its 30th day."""
    folder = tmp_path_factory.mktemp("town")
    gateway = launch(folder / "state", "--clock", "replay")
    definitions = folder / "definitions"
    definitions.mkdir()
    write_town(definitions)
    with Control(gateway.control_address, actor="ada", timeout_s=60) as control:
        control.apply_features(definitions)
        found = Town(gateway, control, folder)
        found.go_to(30)
        yield found
        found.close()
    gateway.stop()
