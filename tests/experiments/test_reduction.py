from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from experiments.analysis.conclusions import conclude
from experiments.analysis.evidence import VariantCount
from experiments.analysis.joint import JointMoments
from experiments.analysis.ratio import linearise
from experiments.analysis.stages import Stage
from experiments.definition import Direction, Metric, MetricKind, Role
from gateway.control.analysis import reduce_events
from gateway.journal.log import EventLog
from gateway.journal.record import Gap, Outcome, Output, Prediction, encode
from gateway.journal.writer import JournalWriter
from storage.clock import SystemClock

HOUR_US = 3_600_000_000


class Journal:
    """Writes real segments and reduces them."""

    def __init__(self, state):
        self.state = state
        self.records = []

    def predict(self, unit, variant, probability=0.5, *, time_us=None, outcomes=(), **changes):
        number = len(self.records)
        fields = {
            "request_id": f"r{number}",
            "time_us": time_us or number,
            "event_time_us": time_us or number,
            "model": "flight-delay",
            "version": 1,
            "experiment": "v1-against-v2",
            "variant": variant,
            "epoch": 1,
            "propensity": 0.5,
            "unit_id": unit,
            "outputs": [
                Output("probabilities", "float32", (1, 2), np.float32([1 - probability, probability]).tobytes())
            ],
        } | changes
        self.records.append(Prediction(**fields))
        for position, value in enumerate(outcomes):
            self.outcome("late", value, request_id=fields["request_id"], outcome_id=f"o{position}")
        return fields["request_id"]

    def outcome(self, name, value, **subject):
        number = len(self.records)
        fields = {"event_time_us": number, "time_us": number} | subject
        self.records.append(Outcome(name=name, value=value, **fields))

    def reduce(self, experiment, *, now_us=0):
        writer = JournalWriter(self.state / "journal", name="test", sync_interval_ms=1000, clock=SystemClock())
        writer.append([encode(record) for record in self.records])
        writer.close()
        self.records = []
        with EventLog(self.state).snapshot() as connection:
            return reduce_events(connection, experiment, now_us=now_us)


OF_OUTPUT_OR_MEAN = (
    MetricKind.MEAN,
    MetricKind.SQUARED_ERROR,
    MetricKind.BRIER,
    MetricKind.ABSOLUTE_ERROR,
    MetricKind.LOG_LOSS,
    MetricKind.ACCURACY,
)


def mean(found, variant, epoch=1):
    return linearise(found.moments[variant, epoch, ""]).mean


def kept(found):
    return {cell: joint.n for cell, joint in found.moments.items()}


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path)


def metric(kind, name="m", **changes):
    fields = {"output": "probabilities", "output_index": 1} | changes
    return Metric(name, kind, "late", Direction.DECREASE, Role.SUCCESS, **fields)


def test_each_kind_is_computed_as_the_contract_says(journal, make_experiment):
    kinds = tuple(metric(kind, kind.value) for kind in OF_OUTPUT_OR_MEAN)
    journal.predict("a", "control", 0.75, outcomes=[1.0])
    journal.predict("b", "control", 0.25, outcomes=[1.0])
    journal.predict("c", "treatment", 0.25, outcomes=[0.0])
    journal.predict("d", "treatment", 1.0, outcomes=[0.0])
    evidence = journal.reduce(make_experiment(metrics=kinds))
    means = {
        each.kind: (mean(found, "control"), mean(found, "treatment"))
        for each, found in zip(kinds, evidence.metrics, strict=True)
    }
    assert means[MetricKind.MEAN] == (1.0, 0.0)
    assert means[MetricKind.SQUARED_ERROR] == pytest.approx(((0.0625 + 0.5625) / 2, (0.0625 + 1) / 2))
    assert means[MetricKind.BRIER] == means[MetricKind.SQUARED_ERROR]
    assert means[MetricKind.ABSOLUTE_ERROR] == pytest.approx((0.5, 0.625))
    logs = (-(math.log(0.75) + math.log(0.25)) / 2, -(math.log(0.75) + math.log(1e-15)) / 2)
    assert means[MetricKind.LOG_LOSS] == pytest.approx(logs)
    assert means[MetricKind.ACCURACY] == (0.5, 0.5)


def test_one_observation_a_unit_whatever_it_asked_for(journal, make_experiment):
    for _ in range(9):
        journal.predict("busy", "control", 1.0, outcomes=[0.0])
    journal.predict("calm", "control", 1.0, outcomes=[1.0])
    journal.predict("busy", "control", 1.0)  # no outcome yet
    evidence = journal.reduce(make_experiment())
    # Nine errors in ten predictions of two units: the predictions are averaged, the units are what varies.
    (joint,) = evidence.metrics[0].moments.values()
    assert joint == JointMoments(2, (4.5, 5.0), ((40.5, 36.0), (36.0, 32.0)))
    assert joint.means[0] / joint.means[1] == pytest.approx(0.9)
    assert evidence.metrics[0].units == {"control": 2}


def test_several_outcomes_of_a_prediction_count_as_one(journal, make_experiment):
    journal.predict("a", "control", 1.0, outcomes=[0.0, 1.0, 1.0, 0.0])
    journal.predict("a", "control", 1.0, outcomes=[1.0])
    evidence = journal.reduce(make_experiment())
    assert evidence.metrics[0].moments["control", 1, ""].means == (0.5, 2.0)


def test_failed_and_fallen_back_predictions_are_counted_and_not_compared(journal, make_experiment):
    journal.predict("a", "treatment", 1.0, outcomes=[1.0])
    journal.predict("b", "treatment", 1.0, outcomes=[0.0], status=13, outputs=[], reason="MODEL_FAILED")
    journal.predict("c", "treatment", 1.0, outcomes=[0.0], fallback=True)
    journal.records.append(Gap(time_us=1, lost={"v1-against-v2/treatment": 4, "": 9}))
    journal.records.append(Gap(time_us=2, lost={"v1-against-v2/treatment": 3}))
    evidence = journal.reduce(make_experiment())
    assert evidence.counts == (
        VariantCount("control"),
        VariantCount(
            "treatment",
            units=3,
            predictions=3,
            matured_units=1,
            failed_predictions=1,
            fallback_predictions=1,
            lost_predictions=7,
        ),
    )
    assert evidence.metrics[0].moments == {("treatment", 1, ""): JointMoments(1, (0.0, 1.0), ((0.0, 0.0), (0.0, 0.0)))}
    assert evidence.stages == {
        Stage.ASSIGNED: {("control", 1): 0, ("treatment", 1): 10},
        Stage.JOURNALLED: {("treatment", 1): 3},
        Stage.SERVED: {("treatment", 1): 1},
        Stage.MATURED: {("treatment", 1): 1},
    }
    assert evidence.outcomes_analyzed == 3


def test_outcomes_of_the_model_are_counted_in_the_experiment_or_not(journal, make_experiment):
    journal.predict("a", "control", outcomes=[1.0])
    journal.predict("b", "", outcomes=[1.0], experiment="", epoch=0)
    journal.predict("c", "control", outcomes=[1.0], model="another")
    journal.outcome("unknown", 2.0, request_id="r0")
    journal.outcome("late", 1.0, request_id="never-seen")
    evidence = journal.reduce(make_experiment())
    assert evidence.outcomes_analyzed == 3
    assert evidence.counts[0].matured_units == 1


def test_an_outcome_of_a_unit_goes_to_its_latest_earlier_prediction(journal, make_experiment):
    journal.predict("a", "control", 1.0, time_us=1 * HOUR_US)
    journal.predict("a", "control", 0.0, time_us=3 * HOUR_US)
    journal.outcome("late", 1.0, unit_id="a", outcome_id="x", event_time_us=2 * HOUR_US)
    evidence = journal.reduce(make_experiment())
    assert mean(evidence.metrics[0], "control") == 0.0


def test_an_output_that_is_not_there_or_not_finite_is_counted(journal, make_experiment):
    journal.predict("a", "control", 0.5, outcomes=[1.0])
    journal.predict("b", "treatment", math.nan, outcomes=[1.0])
    journal.predict("c", "treatment", math.inf, outcomes=[1.0])
    journal.predict("d", "treatment", 0.5, outcomes=[1.0], outputs=[])
    journal.predict("e", "treatment", 0.5, outcomes=[1.0])
    for kind in (MetricKind.SQUARED_ERROR, MetricKind.ABSOLUTE_ERROR, MetricKind.LOG_LOSS, MetricKind.ACCURACY):
        evidence = journal.reduce(make_experiment(metrics=(metric(kind), metric(kind, "n", output_index=7))))
        assert evidence.metrics[0].unusable == {"treatment": 3}
        assert evidence.metrics[0].moments["treatment", 1, ""].n == 1
        assert evidence.metrics[1].unusable == {"control": 1, "treatment": 4}


def test_log_loss_takes_probabilities_of_yes_and_no_only(journal, make_experiment):
    journal.predict("a", "control", 1.5, outcomes=[1.0])
    journal.predict("b", "control", 0.5, outcomes=[2.0])
    evidence = journal.reduce(make_experiment(metrics=(metric(MetricKind.LOG_LOSS),)))
    assert evidence.metrics[0].unusable == {"control": 2}


def test_epochs_stay_apart_and_units_in_both_are_paired(journal, make_experiment):
    for unit, value in (("a", 1.0), ("b", 0.0), ("c", 1.0)):
        journal.predict(unit, "control", 1.0, outcomes=[value])
    journal.predict("a", "control", 1.0, outcomes=[1.0], epoch=2)
    journal.predict("b", "treatment", 1.0, outcomes=[0.0], epoch=2)
    journal.predict("d", "treatment", 1.0, outcomes=[1.0], epoch=2)
    evidence = journal.reduce(make_experiment())
    (found,) = evidence.metrics
    assert kept(found) == {("control", 1, ""): 3, ("control", 2, ""): 1, ("treatment", 2, ""): 2}
    assert found.units == {"control": 3, "treatment": 2}
    # b deviates by 2/3 from the control's mean and by 1/2 from the treatment's; a alone is the mean of its cell.
    assert found.shared[("control", 1, ""), ("treatment", 2, "")][0][0] == pytest.approx(1 / 3)
    assert found.shared[("control", 1, ""), ("control", 2, "")][0][0] == pytest.approx(0.0)
    assert evidence.stages[Stage.JOURNALLED] == {("control", 1): 3, ("treatment", 2): 1}


def test_no_events_reduce_to_nothing(journal, make_experiment):
    journal.predict("x", "", experiment="")
    evidence = journal.reduce(make_experiment())
    assert evidence.counts == (VariantCount("control"), VariantCount("treatment"))
    assert evidence.metrics[0].moments == {}
    assert evidence.outcomes_analyzed == 0


def test_moments_from_sql_are_those_of_the_values(journal, make_experiment):
    generator = np.random.default_rng(1)
    values = {"control": [], "treatment": []}
    for number in range(3000):
        variant = "treatment" if number % 3 == 0 else "control"
        value = float(generator.normal(1e6, 1.0))
        values[variant].append(value)
        journal.predict(f"u{number}", variant, outcomes=[value])
    evidence = journal.reduce(make_experiment(metrics=(metric(MetricKind.MEAN),)))
    for variant, numbers in values.items():
        batch = JointMoments.of([(value, 1.0) for value in numbers])
        found = evidence.metrics[0].moments[variant, 1, ""]
        assert found.n == batch.n
        assert found.means == pytest.approx(batch.means, rel=1e-12)
        assert found.products[0][0] == pytest.approx(batch.products[0][0], rel=1e-6)


def test_a_real_difference_is_found_from_the_journal(journal, make_experiment):
    generator = np.random.default_rng(2)
    for number in range(2000):
        variant, skill = ("treatment", 0.8) if number % 2 else ("control", 0.6)
        late = float(generator.random() < 0.3)
        sure = skill + float(generator.normal(0, 0.05))
        journal.predict(f"u{number}", variant, sure if late else 1 - sure, outcomes=[late])
    experiment = make_experiment()
    experiment = replace(experiment, metrics=(*experiment.metrics, metric(MetricKind.ABSOLUTE_ERROR, "error")))
    brier, error = conclude(experiment, journal.reduce(experiment), []).comparisons
    assert (brier.metric, error.metric) == ("brier", "error")
    assert error.result.lower < -0.2 < error.result.upper
    assert error.result.p_value < 1e-100
    assert error.result.method == "welch_sequence"
    assert error.result.control_units == error.result.treatment_units == 1000
