"""The split is changed again and again under load by two administrators: nothing is lost, nothing is made up."""

from __future__ import annotations

import itertools
import math
import threading
from collections import Counter, defaultdict

import grpc
import pytest

from experiments import records
from experiments.assignment import bucket_of
from gateway.journal.log import EventLog
from storage.database import open_database
from turnout.experiments.v1 import experiment_service_pb2 as pb

NAME = "experiments/v1-against-v2"
SPLITS = 100
FEWEST = 2000


class Administrator(threading.Thread):
    """Changes the split until all are done, each time on the etag it has just seen."""

    def __init__(self, operator, turns, number):
        super().__init__()
        self.operator, self.turns, self.number = operator, turns, number
        self.done, self.refused = [], []

    def run(self):
        for turn in self.turns:
            self.split(turn)

    def split(self, turn):
        share = (1 + (turn * 37) % 98) / 100
        while True:
            seen = self.operator.experiments.GetExperiment(pb.GetExperimentRequest(name=NAME)).experiment
            ask = pb.SetTrafficSplitRequest(
                name=NAME, shares={"control": 1 - share, "treatment": share}, etag=seen.etag
            )
            try:
                answer = self.operator.experiments.SetTrafficSplit(ask)
            except grpc.RpcError as error:
                self.refused.append(error.code())
                if error.code() is not grpc.StatusCode.ABORTED:
                    return
                continue
            self.done.append((seen.etag, answer.experiment.etag, answer.experiment.epoch))
            return


@pytest.fixture(scope="module")
def told(launch, tmp_path_factory, operator_of):
    """Run it on two workers; return the answers by request, the administrators, the epochs and the journal's rows."""
    gateway = launch(tmp_path_factory.mktemp("splits"), workers=2)
    operator = operator_of(gateway)
    operator.publish("m", 2.0, alias="champion")
    operator.publish("m", 3.0)
    operator.start_experiment("m")
    operator.wait()
    turns = iter(range(SPLITS))  # shared: `next` of it is atomic
    both = [Administrator(operator_of(gateway), turns, number) for number in range(2)]
    for each in both:
        each.start()
    answers = {}
    for number in itertools.count():
        if number >= FEWEST and not any(each.is_alive() for each in both):
            break
        answer = operator.predict("m", unit_id=f"unit-{number}", request_id=f"r{number}")
        answers[f"r{number}"] = (f"unit-{number}", answer.variant, answer.version)
    for each in both:
        each.join()
        each.operator.close()
    operator.close()
    gateway.stop()
    database = open_database(f"sqlite:///{gateway.state / 'turnout.db'}")
    with database.read() as tx:
        epochs = {each.epoch: each for each in records.epochs(tx, "v1-against-v2")}
    database.close()
    with EventLog(gateway.state).snapshot() as connection:
        journal = connection.execute(
            "SELECT request_id, unit_id, epoch, variant, version, propensity FROM predictions"
        ).fetchall()
    return answers, both, epochs, journal


def test_no_update_is_lost(told):
    _, both, epochs, _ = told
    assert {code for each in both for code in each.refused} <= {grpc.StatusCode.ABORTED}
    done = sorted((one for each in both for one in each.done), key=lambda one: one[2])
    assert [epoch for _, _, epoch in done] == list(range(2, SPLITS + 2))
    assert sorted(epochs) == list(range(1, SPLITS + 2))
    # Each change was made on what the one before it had left.
    assert all(before[1] == after[0] for before, after in itertools.pairwise(done))


def test_every_answer_is_of_a_split_that_was_in_force(told):
    answers, _, epochs, journal = told
    assert len(journal) == len(answers)
    slots = {epoch: each.slots() for epoch, each in epochs.items()}
    for request_id, unit, epoch, variant, version, propensity in journal:
        owner = slots[epoch][bucket_of("v1-against-v2", unit)]
        assert answers[request_id] == (unit, variant, version)
        assert (variant, version) == (("control", 1), ("treatment", 2))[owner]
        assert propensity == pytest.approx(epochs[epoch].propensities()[owner])
    assert len({epoch for _, _, epoch, *_ in journal}) > 1  # it was changed among them


def test_propensities_sum_to_1_and_are_the_shares_that_come(told):
    _, _, epochs, journal = told
    by_epoch = defaultdict(Counter)
    seen = defaultdict(set)
    for _, _, epoch, variant, _, propensity in journal:
        by_epoch[epoch][variant] += 1
        seen[epoch, variant].add(propensity)
    assert all(len(each) == 1 for each in seen.values())
    surplus = variance = 0.0
    for epoch, counts in by_epoch.items():
        chances = epochs[epoch].propensities()
        assert math.fsum(chances) == pytest.approx(1, abs=1e-12)
        units = counts.total()
        surplus += counts["treatment"] - units * chances[1]
        variance += units * chances[1] * (1 - chances[1])
        bound = 6 * math.sqrt(units * chances[1] * (1 - chances[1])) + 1
        assert abs(counts["treatment"] - units * chances[1]) <= bound
    assert abs(surplus) <= 5 * math.sqrt(variance)
