"""Each kind of metric, and what is done with its values, from a real journal down to the comparison."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from experiments.allocation import allocate
from experiments.analysis.conclusions import conclude
from experiments.analysis.decision import Recommendation, recommend
from experiments.analysis.evidence import Maturity
from experiments.analysis.findings import Estimate
from experiments.analysis.histogram import Histogram
from experiments.analysis.joint import JointMoments
from experiments.analysis.ratio import linearise
from experiments.analysis.stages import Stage, losing_stage
from experiments.metric import Covariate, Direction, Metric, MetricKind, Role
from experiments.plan import Method, Plan
from gateway.control.analysis import reduce_events
from gateway.journal.log import EventLog
from gateway.journal.record import Outcome, Output, Prediction, Shadow, encode
from gateway.journal.writer import JournalWriter
from storage.clock import SystemClock

FIXED = Plan(method=Method.FIXED)
HALVES = (allocate((0.5, 0.5), coverage=1.0),)
SECOND_US = 1_000_000


class Journal:
    """Predictions and outcomes of units, written to real segments and reduced."""

    def __init__(self, state):
        self.state = state
        self.records = []

    def predict(self, unit, variant, *, at_s=100, outcomes=(), **changes):
        request_id = f"r{len(self.records)}"
        fields = {
            "request_id": request_id,
            "time_us": at_s * SECOND_US,
            "event_time_us": at_s * SECOND_US,
            "model": "flight-delay",
            "version": 1,
            "experiment": "v1-against-v2",
            "variant": variant,
            "epoch": 1,
            "unit_id": unit,
            "outputs": [Output("probabilities", "float32", (1, 2), np.float32([0.5, 0.5]).tobytes())],
        }
        self.records.append(Prediction(**fields | changes))
        for name, value, after_s in outcomes:
            when, identity = (at_s + after_s) * SECOND_US, str(len(self.records))
            fields = {"request_id": request_id, "event_time_us": when, "time_us": when, "outcome_id": identity}
            label, number = (value, math.nan) if isinstance(value, str) else ("", float(value))
            self.records.append(Outcome(name=name, value=number, label=label, **fields))

    def reduce(self, experiment, *, now_s=1000):
        writer = JournalWriter(self.state / "journal", name="test", sync_interval_ms=1000, clock=SystemClock())
        writer.append([encode(record) for record in self.records])
        writer.close()
        return self.again(experiment, now_s=now_s)

    def again(self, experiment, *, now_s=1000):
        with EventLog(self.state).snapshot() as connection:
            return reduce_events(connection, experiment, now_us=now_s * SECOND_US)


@pytest.fixture
def journal(tmp_path):
    return Journal(tmp_path)


@pytest.fixture
def experiment_of(make_experiment):
    def make(kind, outcome="sale", *, plan=FIXED, started_us=50 * SECOND_US, **changes):
        metric = Metric("m", kind, outcome, Direction.INCREASE, Role.SUCCESS, **changes)
        return make_experiment(metrics=(metric,), plan=plan, started_us=started_us, minimum_units=2)

    return make


def mean(found, variant):
    joint = found.moments[variant, 1, ""]
    return joint.means[0] / joint.means[1]


def test_a_proportion_asks_each_unit_once(journal, experiment_of):
    journal.predict("a", "control", outcomes=[("sale", 1.0, 5), ("sale", 1.0, 6)])
    journal.predict("a", "control", outcomes=[("sale", 0.0, 5)])
    journal.predict("b", "control", outcomes=[("sale", 0.0, 5)])
    journal.predict("c", "control")
    (found,) = journal.reduce(experiment_of(MetricKind.PROPORTION)).metrics
    assert found.moments["control", 1, ""].means == (0.5, 1.0)
    assert found.maturity["control"] == Maturity(matured=2, pending=1, missing=0)


@pytest.mark.parametrize("kind", [MetricKind.MEAN, MetricKind.PROPORTION, MetricKind.COUNT])
def test_an_outcome_that_is_a_category_counts_as_one_where_it_is_the_one_asked_for(journal, experiment_of, kind):
    journal.predict("a", "control", outcomes=[("plan", "annual", 5)])
    journal.predict("b", "control", outcomes=[("plan", "monthly", 5)])
    journal.predict("c", "control", outcomes=[("plan", "annual", 5)])
    journal.predict("d", "control", outcomes=[("plan", "none", 5)])
    journal.predict("e", "treatment", outcomes=[("plan", 1.0, 5)])
    experiment = experiment_of(kind, "plan", label="annual")
    (found,) = journal.reduce(experiment).metrics
    assert mean(found, "control") == 0.5
    # A number is no category, and no category a number.
    assert found.unusable == {"treatment": 1}
    if kind is not MetricKind.COUNT:
        (numbers,) = journal.again(experiment_of(kind, "plan")).metrics
        assert numbers.unusable == {"control": 4}


def test_the_accuracy_of_classes_is_the_share_of_calls_whose_greatest_score_was_right(journal, experiment_of):
    for unit, scores, told in (
        ("a", [0.7, 0.2, 0.1], "cat"),
        ("a", [0.1, 0.8, 0.1], "cat"),
        ("b", [0.1, 0.2, 0.7], "bird"),
        ("c", [0.2, 0.7, 0.1], "dog"),
    ):
        outputs = [Output("probabilities", "float32", (1, 3), np.float32(scores).tobytes())]
        journal.predict(unit, "control", outcomes=[("animal", told, 5)], outputs=outputs)
    classes = ("cat", "dog", "bird")
    of = {"output": "probabilities", "classes": classes}
    experiment = experiment_of(MetricKind.ACCURACY, "animal", **of)
    both = replace(
        experiment,
        metrics=(*experiment.metrics, replace(experiment.metrics[0], metric="n", kind=MetricKind.LOG_LOSS)),
    )
    accuracy, loss = journal.reduce(both).metrics
    assert accuracy.moments["control", 1, ""].n == 3
    assert mean(accuracy, "control") == 0.75
    assert mean(loss, "control") == pytest.approx(-np.log(np.float32([0.7, 0.1, 0.7, 0.7])).mean())


def test_a_unit_without_an_outcome_is_a_zero_once_its_window_is_over(journal, experiment_of):
    journal.predict("bought", "control", at_s=100, outcomes=[("sale", 1.0, 5)])
    journal.predict("bought-late", "control", at_s=100, outcomes=[("sale", 1.0, 61)])
    journal.predict("never", "control", at_s=100)
    journal.predict("not-yet", "control", at_s=970)
    experiment = experiment_of(MetricKind.PROPORTION, window_us=60 * SECOND_US, missing_as_zero=True)
    evidence = journal.reduce(experiment, now_s=1000)
    assert evidence.metrics[0].moments["control", 1, ""].n == 3
    assert mean(evidence.metrics[0], "control") == pytest.approx(1 / 3)
    # A purchase that is missing says something of the arm, not of the data: it is no stage.
    assert Stage.MATURED not in evidence.stages
    assert evidence.metrics[0].maturity == {}


def test_only_units_whose_window_is_over_are_analysed(journal, experiment_of):
    journal.predict("told", "control", at_s=100, outcomes=[("sale", 3.0, 59)])
    journal.predict("late", "control", at_s=100, outcomes=[("sale", 9.0, 61)])
    journal.predict("early", "control", at_s=980, outcomes=[("sale", 7.0, 1)])
    journal.predict("open", "control", at_s=980)
    experiment = experiment_of(MetricKind.MEAN, window_us=60 * SECOND_US)
    (found,) = journal.reduce(experiment, now_s=1000).metrics
    assert found.moments["control", 1, ""].means == (3.0, 1.0)
    assert found.maturity["control"] == Maturity(matured=1, pending=2, missing=1)
    (found,) = journal.reduce(experiment, now_s=1041).metrics
    assert found.moments["control", 1, ""].means == (5.0, 1.0)
    assert found.maturity["control"] == Maturity(matured=2, pending=0, missing=2)


def test_a_count_is_how_often_the_outcome_came(journal, experiment_of):
    journal.predict("a", "control", outcomes=[("sale", 9.0, 1), ("sale", 9.0, 2)])
    journal.predict("a", "control", outcomes=[("sale", 9.0, 3)])
    journal.predict("b", "control")
    window = {"window_us": 60 * SECOND_US}
    (found,) = journal.reduce(experiment_of(MetricKind.COUNT, missing_as_zero=True, **window)).metrics
    assert found.moments["control", 1, ""].means == (1.5, 1.0)


def test_a_ratio_divides_sums_of_units(journal, experiment_of):
    journal.predict("a", "control", outcomes=[("sale", 6.0, 1), ("visit", 2.0, 1)])
    journal.predict("a", "control", outcomes=[("visit", 1.0, 1)])
    journal.predict("b", "control", outcomes=[("sale", 4.0, 1), ("visit", 7.0, 1)])
    (found,) = journal.reduce(experiment_of(MetricKind.RATIO, denominator="visit")).metrics
    assert found.moments["control", 1, ""].means == (5.0, 5.0)


def test_a_quantile_is_that_of_the_units(journal, experiment_of):
    values = np.random.default_rng(1).lognormal(0, 1, 200)
    for number, value in enumerate(values):
        journal.predict(f"u{number}", "control", outcomes=[("sale", float(value), 1)])
        journal.predict(f"u{number}", "control", outcomes=[("sale", float(value), 1)])
    (found,) = journal.reduce(experiment_of(MetricKind.QUANTILE, quantile=0.9)).metrics
    histogram = found.histograms["control", 1, ""]
    assert histogram.n == 200
    assert histogram.order_statistic(180) == pytest.approx(np.sort(values)[179], rel=0.006)
    whole = Histogram.of(values.tolist())
    assert sum(min(whole.counts.get(place, 0), n) for place, n in histogram.counts.items()) >= 199


def test_latency_errors_and_defaults_come_from_the_predictions_alone(journal, experiment_of):
    journal.predict("a", "control", latency_us=3000, view_status=bytes([1, 1]), view_age_ms=[5, 10])
    journal.predict("a", "control", latency_us=5000, view_status=bytes([1, 2]), view_age_ms=[5, -1])
    journal.predict("b", "control", latency_us=9000, status=13, outputs=[])
    journal.predict("c", "control", latency_us=1000, fallback=True)
    kinds = {MetricKind.LATENCY: 4.0, MetricKind.ERROR_RATE: 1 / 3, MetricKind.FEATURE_DEFAULT_RATE: 0.25}
    for kind, value in kinds.items():
        evidence = journal.reduce(experiment_of(kind, ""))
        assert mean(evidence.metrics[0], "control") == pytest.approx(value)
        journal.records = []
    assert Stage.MATURED not in evidence.stages
    ages = evidence.balance["the age of the features in milliseconds"]["control", 1, ""]
    assert ages.means[0] / ages.means[1] == 7.5


def test_values_beyond_the_caps_and_the_quantile_of_all_arms_are_moved_to_them(journal, experiment_of):
    for number in range(100):
        arm = ("control", "treatment")[number % 2]
        journal.predict(f"u{number}", arm, outcomes=[("sale", float(number), 1)])
    (found,) = journal.reduce(experiment_of(MetricKind.MEAN, lower_cap=10.0, upper_cap=80.0)).metrics
    expected = np.clip(np.arange(100.0), 10, 80)
    assert mean(found, "control") == pytest.approx(expected[::2].mean())
    journal.records = []
    (found,) = journal.reduce(experiment_of(MetricKind.MEAN, winsorize=0.9)).metrics
    expected = np.minimum(np.arange(100.0), np.quantile(np.arange(100.0), 0.9))
    assert mean(found, "treatment") == pytest.approx(expected[1::2].mean())


def seeded(journal, *, units=400, effect=0.0, seed=1):
    """Predictions before and in the experiment of units that have a level of their own."""
    generator = np.random.default_rng(seed)
    levels, values = generator.normal(10, 3, units), []
    for number, level in enumerate(levels):
        arm = ("control", "treatment")[number % 2]
        if number % 10:
            journal.predict(f"u{number}", "", at_s=10, experiment="", epoch=0,
                            outcomes=[("sale", level + generator.normal(0, 1), 1)])  # fmt: skip
        value = level + generator.normal(0, 1) + effect * (arm == "treatment")
        values.append(value)
        attributes = {"guess": repr(float(level)), "kind": "odd" if level > 10 else "even"}
        journal.predict(f"u{number}", arm, attributes=attributes, outcomes=[("sale", float(value), 1)])
    return levels, np.array(values)


def test_what_a_unit_did_before_takes_noise_off(journal, experiment_of):
    seeded(journal, effect=0.5)
    plain = experiment_of(MetricKind.MEAN)
    evidence = journal.reduce(plain)
    journal.records = []
    adjusted = experiment_of(MetricKind.MEAN, covariate=Covariate.PRE_EXPERIMENT)
    better = journal.reduce(adjusted)
    rough = conclude(plain, evidence, HALVES).comparisons[0].result
    sharp = conclude(adjusted, better, HALVES).comparisons[0].result
    assert better.metrics[0].moments["control", 1, ""].means[3] == pytest.approx(0.8)  # the others are new
    assert sharp.method == "cuped"
    assert rough.method == "welch"
    assert sharp.variance_kept == pytest.approx((sharp.standard_error / rough.standard_error) ** 2)
    assert sharp.variance_kept < 0.45
    assert sharp.lower < 0.5 < sharp.upper
    assert rough.upper - rough.lower > 1.4 * (sharp.upper - sharp.lower)


def test_an_attribute_such_as_the_incumbents_guess_takes_noise_off_as_regression_does(journal, experiment_of):
    levels, values = seeded(journal, effect=0.5)
    experiment = experiment_of(MetricKind.MEAN, covariate=Covariate.ATTRIBUTE, covariate_attribute="guess")
    evidence = journal.reduce(experiment)
    result = conclude(experiment, evidence, HALVES).comparisons[0].result
    # Ordinary least squares of the value on the guess within the arms leaves as much of the variance.
    x, y = (np.concatenate([each[i::2] - each[i::2].mean() for i in range(2)]) for each in (levels, values))
    left = y - x * (x @ y) / (x @ x)
    assert result.variance_kept == pytest.approx((left @ left) / (y @ y), rel=0.01)
    assert result.variance_kept < 0.15
    (check,) = conclude(experiment, evidence, HALVES).balance
    assert check.what == "covariate of m"
    assert (check.control_mean, check.treatment_mean) == pytest.approx((levels[::2].mean(), levels[1::2].mean()))
    assert not check.imbalance


def foreseen(journal, *, unknown=0, units=600):
    """Journal units whose outcome is as likely as version 1 says, in the treatment as its shadow; return the rows."""
    noise = np.random.default_rng(11)
    rows = []
    for number in range(units):
        treated = number % 2 == 1
        chance = float(noise.uniform(0, 1))
        late = float(noise.random() < chance)
        own = chance if not treated else 0.5
        outputs = [Output("p", "float64", (1, 1), np.float64([own]).tobytes())]
        journal.predict(
            f"u{number}",
            "treatment" if treated else "control",
            outcomes=[("late", late, 1)],
            outputs=outputs,
            version=1 + treated,
        )
        known = treated and number // 2 >= unknown
        if known:
            shadow = Output("p", "float64", (1, 1), np.float64([chance]).tobytes())
            prediction = journal.records[-2]
            journal.records.append(
                Shadow(
                    request_id=prediction.request_id,
                    time_us=prediction.time_us,
                    event_time_us=prediction.event_time_us,
                    model="flight-delay",
                    version=1,
                    live_version=2,
                    outputs=[shadow],
                )
            )
        rows.append((treated, chance if known or not treated else math.nan, late, (own - late) ** 2))
    return np.array(rows)


@pytest.mark.parametrize(("kind", "column"), [(MetricKind.MEAN, 2), (MetricKind.BRIER, 3)])
def test_what_the_controls_version_foresaw_takes_noise_off_as_regression_on_it_and_its_square_does(
    journal, experiment_of, kind, column
):
    rows = foreseen(journal, unknown=2)
    experiment = experiment_of(kind, "late", output="p", covariate=Covariate.CONTROL_PREDICTION)
    evidence = journal.reduce(experiment)
    assert evidence.metrics[0].covariate_units == {"control": 300, "treatment": 298}
    result = conclude(experiment, evidence, HALVES).comparisons[0].result
    # Where it is not known the mean of all that are known stands for it.
    known = np.nan_to_num(rows[:, 1], nan=np.nanmean(rows[:, 1]))
    squares = np.nan_to_num(rows[:, 1] ** 2, nan=np.nanmean(rows[:, 1] ** 2))
    arms = [rows[:, 0] == arm for arm in (0, 1)]

    def within(values):
        return np.concatenate([values[arm] - values[arm].mean() for arm in arms])

    x, y = np.column_stack([within(known), within(squares)]), within(rows[:, column])
    theta = np.linalg.lstsq(x, y, rcond=None)[0]
    left = y - x @ theta
    plain = np.sum([y[:300] @ y[:300], y[300:] @ y[300:]])
    assert result.variance_kept == pytest.approx((left @ left) / plain, rel=1e-3)
    assert result.variance_kept < 0.97
    means = np.column_stack([known, squares])
    apart = means[arms[1]].mean(axis=0) - means[arms[0]].mean(axis=0)
    raw = rows[arms[1], column].mean() - rows[arms[0], column].mean()
    assert result.difference == pytest.approx(raw - theta @ apart, rel=1e-9)
    (check,) = conclude(experiment, evidence, HALVES).balance
    assert not check.imbalance


def test_what_the_controls_version_foresaw_is_not_used_where_too_much_of_it_is_unknown(journal, experiment_of):
    rows = foreseen(journal, unknown=50)
    experiment = experiment_of(MetricKind.MEAN, "late", output="p", covariate=Covariate.CONTROL_PREDICTION)
    evidence = journal.reduce(experiment)
    conclusions = conclude(experiment, evidence, HALVES)
    result = conclusions.comparisons[0].result
    assert (result.method, result.variance_kept) == ("welch", 1.0)
    assert result.difference == pytest.approx(rows[rows[:, 0] == 1, 2].mean() - rows[rows[:, 0] == 0, 2].mean())
    assert conclusions.balance == ()
    reasons = recommend(experiment, conclusions, evidence).reasons
    assert any("known of 83.3% of an arm's units, and 99% are needed" in reason for reason in reasons)


def test_strata_are_compared_each_with_its_own(journal, experiment_of):
    seeded(journal, effect=0.5)
    plan = replace(FIXED, stratify_by="kind")
    experiment = experiment_of(MetricKind.MEAN, plan=plan)
    evidence = journal.reduce(experiment)
    cells = evidence.metrics[0].moments
    assert {stratum for _, _, stratum in cells} == {"even", "odd"}
    result = conclude(experiment, evidence, HALVES).comparisons[0].result
    assert result.method == "welch_poststratified"
    plain = conclude(experiment_of(MetricKind.MEAN), replace(evidence, metrics=(merged(evidence.metrics[0]),)), HALVES)
    assert result.standard_error < 0.8 * plain.comparisons[0].result.standard_error


def merged(found):
    cells = {}
    for (variant, epoch, _), joint in found.moments.items():
        cells[variant, epoch, ""] = cells.get((variant, epoch, ""), JointMoments()).merge(joint)
    return replace(found, moments=cells)


def test_many_strata_become_few(journal, experiment_of):
    for number in range(300):
        arm = ("control", "treatment")[number % 2]
        journal.predict(f"u{number}", arm, attributes={"who": f"w{number}"}, outcomes=[("sale", float(number % 7), 1)])
    experiment = experiment_of(MetricKind.MEAN, plan=replace(FIXED, stratify_by="who"))
    evidence = journal.reduce(experiment)
    assert len({stratum for _, _, stratum in evidence.metrics[0].moments}) == 65
    assert isinstance(conclude(experiment, evidence, HALVES).comparisons[0].result, Estimate)


def test_a_covariate_keeps_units_of_two_epochs_one_unit(journal, experiment_of):
    generator = np.random.default_rng(3)
    for number in range(400):
        arm, level = ("control", "treatment")[number % 2], generator.normal(10, 3)
        for epoch in (1, 2):
            journal.predict(f"u{number}", arm, epoch=epoch, at_s=100 * epoch, attributes={"guess": repr(level)},
                            outcomes=[("sale", level + generator.normal(0, 0.1), 1)])  # fmt: skip
    for covariate, attribute in ((Covariate.NONE, ""), (Covariate.ATTRIBUTE, "guess")):
        experiment = experiment_of(MetricKind.MEAN, covariate=covariate, covariate_attribute=attribute)
        evidence = journal.reduce(experiment)
        journal.records = []
        both = conclude(experiment, evidence, HALVES).comparisons[0].contrast
        alone = {cell: joint for cell, joint in evidence.metrics[0].moments.items() if cell[1] == 1}
        one = replace(evidence, metrics=(replace(evidence.metrics[0], moments=alone, shared={}),))
        first = conclude(experiment, one, HALVES).comparisons[0].contrast
        # Without a covariate the epochs tell the same; with it what is left is noise, and twice as much helps.
        factor = 1.0 if covariate is Covariate.NONE else math.sqrt(0.5)
        assert both.standard_error / first.standard_error == pytest.approx(factor, rel=0.1)


def test_a_treatment_that_fails_on_some_units_is_investigated_from_the_journal_on(journal, experiment_of):
    generator = np.random.default_rng(4)
    for number in range(2000):
        arm = ("control", "treatment")[number % 2]
        value = float(generator.normal(10, 3))
        crash = {"status": 13, "outputs": []} if arm == "treatment" and value < 8 else {}
        journal.predict(f"u{number}", arm, outcomes=[] if crash else [("sale", value, 1)], **crash)
    experiment = experiment_of(MetricKind.MEAN, plan=Plan())
    evidence = journal.reduce(experiment)
    found = conclude(experiment, evidence, HALVES)
    assert found.comparisons[0].result.lower > 0.5
    assert losing_stage(found.stages).stage is Stage.SERVED
    decision = recommend(experiment, found, evidence)
    assert decision.recommendation is Recommendation.INVESTIGATE
    assert linearise(evidence.metrics[0].moments["control", 1, ""]).n == 1000
