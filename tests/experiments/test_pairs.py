"""Two versions on the same calls: from journalled shadows to what is claimed, over numbers and categories."""

from __future__ import annotations

import math
import shutil
from concurrent import futures

import grpc
import numpy as np
import pytest
from scipy import stats

from gateway.control.experiments import ExperimentControl
from gateway.control.judge import ExperimentJudge
from gateway.control.ramps import RampControl
from gateway.control.reducing.pairs import PairQuestion, reduce_pairs
from gateway.journal.commits import EventFolders
from gateway.journal.compact import compact
from gateway.journal.log import EventLog
from gateway.journal.record import Outcome, Output, Prediction, Shadow, encode
from gateway.journal.writer import JournalWriter
from gateway.rpc.experiment_codec import metric_of
from gateway.rpc.experiment_service import ExperimentService
from storage.clock import SystemClock
from storage.database import open_database
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.experiments.v1 import experiment_service_pb2_grpc as pb_grpc

SECOND_US = 1_000_000
CLASSES = ("setosa", "versicolor", "virginica")


class Pairs:
    """Calls that one version answered and another one shadowed, written to real segments."""

    def __init__(self, state):
        self.state = state
        self.records = []

    def call(self, live, shadow, *, unit="", told=None, at_s=100, by=1, shadow_by=2, after_s=5, **changes):
        """Add a call with what either version gave, and one outcome of it unless none was told."""
        request = f"r{len(self.records)}"
        facts = {"model": "iris", "time_us": at_s * SECOND_US, "event_time_us": at_s * SECOND_US}
        self.records.append(Prediction(request_id=request, version=by, unit_id=unit, outputs=[given(live)], **facts))
        self.records.append(
            Shadow(request_id=request, version=shadow_by, live_version=by, outputs=[given(shadow)], **facts | changes)
        )
        if told is not None:
            label, value = (told, math.nan) if isinstance(told, str) else ("", float(told))
            when = (at_s + after_s) * SECOND_US
            self.records.append(
                Outcome(request_id=request, name="kind", value=value, label=label, event_time_us=when, time_us=when)
            )

    def write(self):
        writer = JournalWriter(self.state / "journal", name="test", sync_interval_ms=1000, clock=SystemClock())
        writer.append([encode(record) for record in self.records])
        writer.close()
        self.records = []

    def reduce(self, *, now_s=1000, control=1, treatment=2, since_s=0, **metric):
        question = PairQuestion("iris", control, treatment, measured(**metric), since_s * SECOND_US)
        with EventLog(self.state).snapshot() as connection:
            return reduce_pairs(connection, question, now_us=now_s * SECOND_US)


def given(values):
    row = np.atleast_1d(np.float64(values))
    return Output("p", "float64", (1, len(row)), row.tobytes())


def measured(**changes):
    fields = {"outcome": "kind", "output": "p", "direction": pb.DIRECTION_DECREASE, "role": pb.METRIC_ROLE_SUCCESS}
    return metric_of(pb.Metric(**fields | changes))


@pytest.fixture
def pairs(tmp_path):
    return Pairs(tmp_path)


@pytest.fixture
def ask(tmp_path, migrated_file):
    """Ask a real service, with the metric's fields by name."""
    shutil.copyfile(migrated_file, tmp_path / "turnout.db")
    database = open_database(f"sqlite:///{tmp_path / 'turnout.db'}")
    control = ExperimentControl(database=database, clock=SystemClock())
    judge = ExperimentJudge(database=database, clock=SystemClock(), events=EventLog(tmp_path))
    ramps = RampControl(database=database, clock=SystemClock(), known=lambda _: None)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    pb_grpc.add_ExperimentServiceServicer_to_server(ExperimentService(control, judge, ramps), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = pb_grpc.ExperimentServiceStub(channel)

        def call(*, control=1, treatment=2, **changes):
            fields = {"outcome": "kind", "output": "p", "direction": pb.DIRECTION_DECREASE}
            rules = {name: changes.pop(name) for name in ("method", "minimum_units", "alpha") if name in changes}
            return stub.ComparePairs(
                pb.ComparePairsRequest(
                    model="models/iris",
                    control_version=control,
                    treatment_version=treatment,
                    metric=pb.Metric(**fields | changes),
                    **rules,
                )
            )

        yield call
    server.stop(grace=None).wait()
    database.close()


def test_pairs_are_joined_with_their_outcome_whichever_of_the_two_answered(pairs):
    pairs.call(0.5, 0.75, unit="a", told=1)
    pairs.call(0.25, 0.5, unit="a", told=0, by=2, shadow_by=1)
    pairs.call(0.0, 1.0, unit="b", told=1)
    pairs.call(0.0, 1.0, unit="c")
    pairs.call(0.0, 1.0, unit="d", told=1, status=3)
    pairs.call(0.0, 1.0, unit="e", told=1, shadow_by=3)
    pairs.write()
    for _ in ("live", "compacted"):
        found = pairs.reduce(kind=pb.METRIC_KIND_SQUARED_ERROR)
        assert (found.pairs, found.failed, found.pending, found.unusable) == (5, 1, 1, 0)
        # The sums of a: 0.25 + 0.25 by version 1, 0.0625 + 0.0625 by version 2; of b: 1 and 0.
        assert found.joint.n == 2
        assert found.joint.means == pytest.approx((0.75, 0.0625, 1.5))
        assert (found.control_more, found.treatment_more) == (2, 0)
        turned = pairs.reduce(kind=pb.METRIC_KIND_SQUARED_ERROR, control=2, treatment=1)
        assert turned.joint.means == pytest.approx((0.0625, 0.75, 1.5))
        compact(EventFolders(pairs.state))


def test_a_pair_counts_once_its_window_is_over(pairs):
    pairs.call(0.5, 0.75, unit="a", told=1, after_s=59)
    pairs.call(0.5, 0.75, unit="b", told=1, after_s=61)
    pairs.call(0.5, 0.75, unit="c", told=1, at_s=980)
    pairs.write()
    found = pairs.reduce(kind=pb.METRIC_KIND_BRIER, window_us=60 * SECOND_US)
    assert (found.joint.n, found.pending) == (1, 2)
    assert pairs.reduce(kind=pb.METRIC_KIND_BRIER, window_us=60 * SECOND_US, now_s=2000).joint.n == 2
    assert pairs.reduce(kind=pb.METRIC_KIND_BRIER, since_s=500).joint.n == 1


@pytest.mark.parametrize(
    ("kind", "changes", "told", "live", "value"),
    [
        # Which of several categories.
        (pb.METRIC_KIND_ACCURACY, {"classes": CLASSES}, "virginica", [0.2, 0.3, 0.5], 1.0),
        (pb.METRIC_KIND_ACCURACY, {"classes": CLASSES}, "setosa", [0.2, 0.3, 0.5], 0.0),
        (pb.METRIC_KIND_ACCURACY, {"classes": CLASSES}, "setosa", [-1.5, -7.0, -9.0], 1.0),
        (pb.METRIC_KIND_ACCURACY, {"classes": CLASSES}, "setosa", [0.4, 0.4, 0.2], 1.0),
        (pb.METRIC_KIND_ACCURACY, {"classes": CLASSES}, "orchid", [0.2, 0.3, 0.5], 0.0),
        (pb.METRIC_KIND_ACCURACY, {"classes": CLASSES}, "virginica", [2], 1.0),
        (pb.METRIC_KIND_ACCURACY, {"classes": CLASSES[1:], "output_index": 1}, "virginica", [0.9, 0.3, 0.5], 1.0),
        (pb.METRIC_KIND_LOG_LOSS, {"classes": CLASSES}, "versicolor", [0.2, 0.3, 0.5], -math.log(0.3)),
        (pb.METRIC_KIND_LOG_LOSS, {"classes": CLASSES}, "orchid", [0.2, 0.3, 0.5], -math.log(1e-15)),
        (pb.METRIC_KIND_BRIER, {"classes": CLASSES}, "versicolor", [0.2, 0.3, 0.5], 0.04 + 0.49 + 0.25),
        (pb.METRIC_KIND_BRIER, {"classes": CLASSES}, "orchid", [0.2, 0.3, 0.5], 0.04 + 0.09 + 0.25 + 1),
        # Whether it is the one category.
        (pb.METRIC_KIND_BRIER, {"label": "virginica", "output_index": 2}, "virginica", [0.2, 0.3, 0.5], 0.25),
        (pb.METRIC_KIND_BRIER, {"label": "virginica", "output_index": 2}, "setosa", [0.2, 0.3, 0.6], 0.36),
        (pb.METRIC_KIND_ACCURACY, {"label": "virginica", "output_index": 2}, "setosa", [0.2, 0.3, 0.4], 1.0),
        (pb.METRIC_KIND_LOG_LOSS, {"label": "virginica", "output_index": 2}, "virginica", [0.2, 0.3, 0.5], math.log(2)),
        (pb.METRIC_KIND_ABSOLUTE_ERROR, {"label": "virginica", "output_index": 2}, "setosa", [0.2, 0.3, 0.5], 0.5),
    ],
)
def test_categories_are_scored_as_the_contract_says(pairs, kind, changes, told, live, value):
    pairs.call(live, live, unit="a", told=told)
    pairs.write()
    found = pairs.reduce(kind=kind, **changes)
    assert found.joint.means[:2] == pytest.approx((value, value), rel=1e-9)


@pytest.mark.parametrize(
    ("kind", "changes", "told", "live"),
    [
        (pb.METRIC_KIND_ACCURACY, {"classes": CLASSES}, 1.0, [0.2, 0.3, 0.5]),
        (pb.METRIC_KIND_ACCURACY, {"classes": CLASSES}, "setosa", [0.2, math.nan, 0.5]),
        (pb.METRIC_KIND_ACCURACY, {"classes": CLASSES}, "setosa", [0.2, 0.5]),
        (pb.METRIC_KIND_ACCURACY, {"classes": CLASSES}, "setosa", [3]),
        (pb.METRIC_KIND_ACCURACY, {"classes": CLASSES}, "setosa", [0.5]),
        (pb.METRIC_KIND_LOG_LOSS, {"classes": CLASSES}, "setosa", [-0.1, 0.6, 0.5]),
        (pb.METRIC_KIND_BRIER, {"classes": CLASSES}, "setosa", [0.2, 1.5, math.inf]),
        (pb.METRIC_KIND_BRIER, {"label": "setosa"}, 1.0, [0.2]),
        (pb.METRIC_KIND_BRIER, {}, "setosa", [0.2]),
    ],
)
def test_what_has_no_value_is_counted_and_stops_the_claim(pairs, ask, kind, changes, told, live):
    for number in range(200):
        pairs.call([0.1, 0.2, 0.7], [0.1, 0.3, 0.6], unit=f"u{number}", told="setosa" if changes else 1)
    pairs.call(live, [0.1, 0.2, 0.7], unit="a", told=told)
    pairs.write()
    found = ask(kind=kind, **changes)
    assert "no finite value" in found.not_enough_data
    assert found.finding == pb.FINDING_UNKNOWN
    assert found.HasField("labels") == (kind == pb.METRIC_KIND_ACCURACY)
    assert not found.labels.p_value


def test_a_better_version_is_found_by_its_pairs_as_scipy_finds_it(pairs, ask):
    noise = np.random.default_rng(8)
    one, other = [], []
    for number in range(400):
        late = float(noise.random() < 0.3)
        hard = noise.normal(0, 0.1)
        right = np.clip([0.7 + hard, 0.71 + hard + noise.normal(0, 0.02)], 0, 1)
        answers = right if late else 1 - right
        pairs.call(answers[0], answers[1], unit=f"u{number}", told=late)
        one.append((answers[0] - late) ** 2)
        other.append((answers[1] - late) ** 2)
    pairs.write()
    fixed = ask(kind=pb.METRIC_KIND_BRIER, method=pb.ANALYSIS_METHOD_FIXED)
    theirs = stats.ttest_rel(other, one)
    assert fixed.estimate.p_value == pytest.approx(theirs.pvalue, rel=1e-6)
    assert fixed.estimate.lower == pytest.approx(theirs.confidence_interval(0.95).low, rel=1e-6)
    assert fixed.estimate.control_mean == pytest.approx(np.mean(one))
    assert (fixed.estimate.method, fixed.finding) == ("paired", pb.FINDING_BETTER)
    watched = ask(kind=pb.METRIC_KIND_BRIER)
    assert watched.estimate.method == "paired_sequence"
    assert watched.estimate.lower < fixed.estimate.lower < fixed.estimate.upper < watched.estimate.upper < 0
    assert watched.estimate.relative.upper < 0
    turned = ask(kind=pb.METRIC_KIND_BRIER, control=2, treatment=1)
    assert turned.finding == pb.FINDING_WORSE
    assert turned.estimate.difference == pytest.approx(-watched.estimate.difference)


def test_labels_are_compared_by_mcnemars_test_as_well(pairs, ask):
    answers = {(1, 1): 60, (1, 0): 10, (0, 1): 30, (0, 0): 20}
    sides = {1: [0.1, 0.2, 0.7], 0: [0.7, 0.2, 0.1]}
    for (control, treatment), count in answers.items():
        for number in range(count):
            unit = f"{control}{treatment}{number}"
            pairs.call(sides[control], sides[treatment], unit=unit, told="virginica")
    pairs.write()
    found = ask(kind=pb.METRIC_KIND_ACCURACY, classes=CLASSES, direction=pb.DIRECTION_INCREASE)
    assert (found.labels.control_only, found.labels.treatment_only) == (10, 30)
    assert found.labels.p_value == pytest.approx(stats.binomtest(10, 40, 0.5).pvalue, rel=1e-9)
    assert found.estimate.difference == pytest.approx(20 / 120)
    few = ask(kind=pb.METRIC_KIND_ACCURACY, classes=CLASSES, direction=pb.DIRECTION_INCREASE, minimum_units=500)
    assert "120 units have a pair" in few.not_enough_data


def test_what_cannot_be_asked_of_pairs_is_refused(ask):
    for wrong in (
        {"kind": pb.METRIC_KIND_LATENCY, "outcome": "", "output": ""},
        {"kind": pb.METRIC_KIND_MEAN},
        {"kind": pb.METRIC_KIND_BRIER, "treatment": 1},
        {"kind": pb.METRIC_KIND_BRIER, "alpha": 0.7},
        {"kind": pb.METRIC_KIND_BRIER, "method": pb.ANALYSIS_METHOD_GROUP_SEQUENTIAL},
        {"kind": pb.METRIC_KIND_BRIER, "minimum_units": -1},
        {"kind": pb.METRIC_KIND_BRIER, "label": "a", "classes": CLASSES},
        {"kind": pb.METRIC_KIND_BRIER, "classes": ["a"]},
        {"kind": pb.METRIC_KIND_BRIER, "classes": ["a", "a"]},
        {"kind": pb.METRIC_KIND_SQUARED_ERROR, "classes": CLASSES},
    ):
        with pytest.raises(grpc.RpcError) as refused:
            ask(**wrong)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_no_pairs_are_said_to_be_none(ask):
    found = ask(kind=pb.METRIC_KIND_BRIER)
    assert "0 units have a pair" in found.not_enough_data
    assert found.pairs == 0
