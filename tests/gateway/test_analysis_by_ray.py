"""An analysis that is asked of a gateway with a Ray cluster: the cluster's shares come to what the gateway comes to."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.outcomes.v1 import outcome_service_pb2 as opb
from turnout.serving.v1 import prediction_service_pb2 as ppb

sys.path.insert(0, str(Path(__file__).parents[1] / "experiments"))
from clusters import Cluster

PIECE = 4_000
PIECES = 28
SHARES = 2
WAIT_S = 60
# What is not Parquet within seconds is not reduced by anybody but the gateway.
SOON = ("--segment-age-max-s", "1", "--compact-interval-s", "1")


@pytest.fixture
def cluster():
    running = Cluster()
    yield running
    running.kill()


def fill(operator, named_tensor, row):
    """Send enough predictions and outcomes that what is reduced of them is kept."""
    rng = np.random.default_rng(5)
    for piece in range(PIECES):
        names = [f"{piece}-{place}" for place in range(PIECE)]
        batch = ppb.BatchPredictRequest(
            model="m",
            rows=PIECE,
            unit_ids=[f"unit-{place % 9000}" for place in range(piece * PIECE, (piece + 1) * PIECE)],
            request_ids=names,
            inputs=[named_tensor("x", np.repeat(row, PIECE, axis=0))],
        )
        assert not operator.predictions.BatchPredict(batch, timeout=WAIT_S).errors
        late = rng.normal(3, 1, PIECE)
        told = [opb.Outcome(request_id=name, name="late", value=value) for name, value in zip(names, late, strict=True)]
        for place in range(0, PIECE, 1000):
            operator.outcomes.RecordOutcomes(opb.RecordOutcomesRequest(outcomes=told[place : place + 1000]))


def analyze(operator, name):
    report = operator.experiments.AnalyzeExperiment(pb.AnalyzeExperimentRequest(name=name), timeout=WAIT_S)
    report.ClearField("time_us")
    report.ClearField("look")
    return report


def shares_kept(folder):
    return sum(each.is_dir() for each in folder.iterdir()) if folder.exists() else 0


@pytest.mark.soak
def test_an_analysis_that_a_gateway_has_done_by_a_cluster_says_what_its_own_says(
    launch, operate, cluster, tmp_path, named_tensor, rows
):
    own = launch(tmp_path / "state", *SOON)
    operator = operate(own)
    operator.publish("m", 1.0, alias="champion")
    operator.publish("m", 2.0)
    name = operator.start_experiment("m").name
    fill(operator, named_tensor, rows[1:2])
    operator.experiments.ConcludeExperiment(pb.ConcludeExperimentRequest(name=name))
    alone = analyze(operator, name)
    own.stop()

    reductions = tmp_path / "state" / "events" / "reductions"
    kept = reductions / name.removeprefix("experiments/")
    for each in kept.iterdir() if kept.exists() else ():
        each.rename(tmp_path / f"before-{each.name}")
    ray = ("--ray", cluster.address, "--ray-shares", str(SHARES), "--ray-rows-min", "0")
    by_cluster = operate(launch(tmp_path / "state", *SOON, *ray))
    until = time.monotonic() + WAIT_S
    while shares_kept(kept) < SHARES:
        shared = analyze(by_cluster, name)
        assert time.monotonic() < until, "nothing was reduced by the cluster"
        time.sleep(1)
    assert sum(each.predictions for each in shared.counts) == PIECE * PIECES
    assert shared.outcomes_analyzed == PIECE * PIECES
    assert_alike(alone, shared)


def assert_alike(one, other):
    """All fields are the same, numbers within the last digits of a sum taken in another order."""
    assert type(one) is type(other)
    for field in one.DESCRIPTOR.fields:
        here, there = getattr(one, field.name), getattr(other, field.name)
        if field.message_type is not None:
            many = field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
            pairs = zip(here, there, strict=True) if many else [(here, there)]
            for left, right in pairs:
                assert_alike(left, right)
        elif isinstance(here, float):
            assert there == pytest.approx(here, rel=1e-9, abs=1e-12, nan_ok=True), field.name
        else:
            assert here == there, field.name
