"""A report of an experiment that really ran: journalled events, kept looks, the contract, and a browser."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from concurrent import futures
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pytest

from experiments.analysis.methods import ALL
from experiments.bucketing import bucket_of
from experiments.definition import Direction, Experiment, Metric, MetricKind, Role, Variant
from gateway.control.experiments import ExperimentControl
from gateway.control.judge import ExperimentJudge
from gateway.control.ramps import RampControl
from gateway.journal.log import EventLog
from gateway.journal.record import Outcome, Output, Prediction, Shadow, encode
from gateway.journal.writer import JournalWriter
from gateway.rpc.experiment_service import ExperimentService
from registry import models, versions
from registry.records import Signature, TensorSpec, VersionDraft, VersionFacts
from storage.clock import ReplayClock
from storage.database import open_database
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.experiments.v1 import experiment_service_pb2_grpc as pb_grpc
from turnout.report.experiment import ExperimentReport, experiment_page
from turnout.report.pairs import paired
from turnout.report.rows import COLUMNS, experiment_csv

NAME = "experiments/delays"
HOUR_US = 3_600_000_000
START_US = 1_370_044_800_000_000  # 2013-06-01 00:00
LOOKS = 12
UNITS_A_LOOK = 300


def metric(name, kind, role, **changes):
    return Metric(metric=name, kind=kind, outcome="", direction=Direction.DECREASE, role=role, **changes)


EXPERIMENT = Experiment(
    id="delays",
    model="flight-delay",
    description="Is a <sure> model better, and is a bold one?",
    variants=(
        Variant(variant="control", version=1, share=0.5, control=True),
        Variant(variant="sure", version=2, share=0.25),
        Variant(variant="bold", version=3, share=0.25),
    ),
    metrics=(
        Metric(
            metric="brier",
            kind=MetricKind.BRIER,
            outcome="late",
            output="p",
            output_index=1,
            direction=Direction.DECREASE,
            role=Role.SUCCESS,
        ),
        metric("latency", MetricKind.LATENCY, Role.GUARDRAIL),
        Metric(
            metric="complaints",
            kind=MetricKind.MEAN,
            outcome="complaint",
            direction=Direction.DECREASE,
            role=Role.MONITORING,
        ),
    ),
    seed="delays",
)


class Story:
    """An experiment on replayed time."""

    def __init__(self, folder, database):
        self.folder, self.clock = folder, ReplayClock(folder / "clock")
        self.clock.advance_to(START_US)
        self.control = ExperimentControl(database=database, clock=self.clock)
        self.judge = ExperimentJudge(database=database, clock=self.clock, events=EventLog(folder))
        with database.write() as tx:
            models.create_model(tx, "flight-delay", actor="ada", now_us=1)
            signature = Signature((TensorSpec("x", "float32", (-1, 3)),), (TensorSpec("p", "float32", (-1, 2)),))
            for number in range(3):
                draft = VersionDraft("flight-delay", f"{number:064x}", 10, signature, VersionFacts())
                versions.add_version(tx, draft, actor="ada", now_us=2)
        self.control.create(EXPERIMENT, actor="ada")
        self.control.start("delays", actor="ada")

    def serve(self, turn):
        """Journal what came in one look's time: the sure model is surer of what comes, the bold one of anything."""
        allocation = self.control.get("delays").allocation
        slots, names = allocation.slots(), [each.variant for each in EXPERIMENT.variants]
        noise = np.random.default_rng(turn)
        records = []
        for number in range(turn * UNITS_A_LOOK, (turn + 1) * UNITS_A_LOOK):
            time_us = self.clock.now_us() - int(noise.integers(1, 6 * HOUR_US))
            arm = slots[bucket_of("delays", f"u{number}")]
            late = float(noise.random() < 0.3)
            right = {0: 0.65, 1: 0.75, 2: 0.9 if noise.random() < 0.75 else 0.1}[arm] + noise.normal(0, 0.05)
            chance = np.float32([1 - right, right] if late else [right, 1 - right]).clip(0, 1)
            facts = {"model": "flight-delay", "event_time_us": time_us, "time_us": time_us, "unit_id": f"u{number}"}
            records.append(
                Prediction(
                    request_id=f"r{number}",
                    version=arm + 1,
                    experiment="delays",
                    variant=names[arm],
                    epoch=allocation.epoch,
                    propensity=allocation.propensities()[arm],
                    latency_us=int(noise.gamma(4, 500)),
                    outputs=[Output("p", "float32", (1, 2), chance.tobytes())],
                    **facts,
                )
            )
            records.append(Outcome(name="late", value=late, outcome_id="landed", **facts))
            if arm == 0:  # the sure model sees what the control answers
                records.append(self.shadow(number, late, right + 0.1 + noise.normal(0, 0.02), time_us))
        writer = JournalWriter(self.folder / "journal", name=f"turn-{turn}", sync_interval_ms=1000, clock=self.clock)
        writer.append([encode(record) for record in records])
        writer.close()

    @staticmethod
    def shadow(number, late, right, time_us):
        chance = np.float32([1 - right, right] if late else [right, 1 - right]).clip(0, 1)
        return Shadow(
            request_id=f"r{number}",
            time_us=time_us,
            event_time_us=time_us,
            model="flight-delay",
            version=2,
            outputs=[Output("p", "float32", (1, 2), chance.tobytes())],
        )

    def run(self):
        for turn in range(LOOKS):
            self.clock.advance_to(START_US + (turn + 1) * 6 * HOUR_US)
            if turn == LOOKS // 2:
                self.control.set_split("delays", {"control": 0.4, "sure": 0.3, "bold": 0.3}, etag="", actor="ada")
            self.serve(turn)
            self.judge.analyze("delays")


@pytest.fixture(scope="module")
def stub(tmp_path_factory, migrated_file):
    folder = tmp_path_factory.mktemp("story")
    shutil.copyfile(migrated_file, folder / "turnout.db")
    database = open_database(f"sqlite:///{folder / 'turnout.db'}")
    story = Story(folder, database)
    story.run()
    ramps = RampControl(database=database, clock=story.clock, known=lambda _: None)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    pb_grpc.add_ExperimentServiceServicer_to_server(ExperimentService(story.control, story.judge, ramps), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield pb_grpc.ExperimentServiceStub(channel)
    server.stop(grace=None).wait()
    database.close()


@pytest.fixture(scope="module")
def report(stub):
    experiment = stub.GetExperiment(pb.GetExperimentRequest(name=NAME)).experiment
    asked = pb.Experiment()
    asked.CopyFrom(experiment)
    right = asked.metrics.add()
    right.CopyFrom(experiment.metrics[0])
    right.MergeFrom(pb.Metric(metric="right", kind=pb.METRIC_KIND_ACCURACY, direction=pb.DIRECTION_INCREASE))
    return ExperimentReport(
        experiment,
        stub.GetRecommendation(pb.GetRecommendationRequest(name=NAME)),
        stub.ListLooks(pb.ListLooksRequest(name=NAME, spread_max=200)).looks,
        list(paired(asked, stub.ComparePairs)),
    )


def numbers(page):
    return [each.analysis.look for each in page.looks]


def test_looks_are_listed_by_page_as_each_was_told(stub):
    everything = stub.ListLooks(pb.ListLooksRequest(name=NAME))
    assert numbers(everything) == list(range(1, LOOKS + 1))
    assert not everything.next_page_token
    first = stub.ListLooks(pb.ListLooksRequest(name=NAME, page_size=5))
    second = stub.ListLooks(pb.ListLooksRequest(name=NAME, page_size=50, page_token=first.next_page_token))
    assert [*first.looks, *second.looks] == list(everything.looks)
    assert [each.analysis.time_us for each in everything.looks] == [
        START_US + 6 * HOUR_US * (turn + 1) for turn in range(LOOKS)
    ]
    assert [each.analysis.epoch for each in everything.looks] == [1] * (LOOKS // 2) + [2] * (LOOKS // 2)
    units = [sum(count.units for count in each.analysis.counts) for each in everything.looks]
    assert units == [UNITS_A_LOOK * (turn + 1) for turn in range(LOOKS)]


def test_the_last_look_is_what_was_recommended(stub, report):
    last = report.looks[-1]
    told = stub.ListLooks(pb.ListLooksRequest(name=NAME, spread_max=2)).looks[-1]
    assert told == last
    now = pb.GetRecommendationResponse()
    now.CopyFrom(report.advice)
    del now.analysis.methods[:]
    assert last == now


@pytest.mark.parametrize(("asked", "given"), [(1, [12]), (2, [1, 12]), (4, [1, 5, 8, 12]), (12, list(range(1, 13)))])
def test_a_spread_has_the_first_look_and_the_last(stub, asked, given):
    assert numbers(stub.ListLooks(pb.ListLooksRequest(name=NAME, spread_max=asked))) == given


def test_a_spread_goes_on_over_pages(stub):
    first = stub.ListLooks(pb.ListLooksRequest(name=NAME, spread_max=4, page_size=3))
    rest = stub.ListLooks(pb.ListLooksRequest(name=NAME, spread_max=4, page_token=first.next_page_token))
    assert numbers(first) + numbers(rest) == [1, 5, 8, 12]


def test_what_is_no_list_of_looks_is_refused(stub):
    for wrong in (
        pb.ListLooksRequest(name="experiments/none"),
        pb.ListLooksRequest(name=NAME, spread_max=-1),
        pb.ListLooksRequest(name=NAME, page_token="!"),  # noqa: S106  (no password)
    ):
        with pytest.raises(grpc.RpcError):
            stub.ListLooks(wrong)


def test_each_finding_is_told_with_what_it_means(report):
    found = {(each.metric, each.variant): each for each in report.advice.analysis.comparisons}
    assert found["brier", "sure"].finding == pb.FINDING_BETTER
    assert found["brier", "bold"].finding == pb.FINDING_WORSE
    assert found["complaints", "sure"].finding == pb.FINDING_UNKNOWN
    assert not found["complaints", "sure"].HasField("adjusted_p_value")
    assert found["brier", "sure"].adjusted_p_value >= found["brier", "sure"].estimate.p_value


def test_the_methods_are_those_that_were_used_and_are_in_the_docs(report):
    names = [each.method for each in report.advice.analysis.methods]
    assert any("confidence sequence" in name for name in names)
    assert any("Holm" in name for name in names)
    assert not any("Group sequential" in name or "CUPED" in name for name in names)
    page = (Path(__file__).parents[2] / "docs/statistics.md").read_text()
    assert {note.section for note in ALL} <= set(re.findall(r"^## (.+)$", page, re.MULTILINE))


def test_the_page_stands_alone_and_says_all_that_was_found(report):
    text = experiment_page(report)
    assert not re.search(r"<script|<link|src=|https?://|url\(", text)
    plots = [ET.fromstring(plot) for plot in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]  # noqa: S314
    titles = [plot.get("aria-label") for plot in plots]
    assert titles == [
        "The lift of each metric with its interval",
        "The lift of each metric on the same calls with its interval",
        "The effect on brier over time",
        "The effect on latency over time",
        "The units of each variant over time",
    ]
    assert len([each for each in plots[2] if each.tag == "polyline"]) == 2
    assert "split 2" in [each.text for each in plots[4]]
    assert "Is a &lt;sure&gt; model better" in text
    assert "complaints of sure: not enough data" in text
    for stage in ("journalled", "served", "matured"):
        assert f"<td>{stage}</td>" in text
    assert report.advice.digest in text


def test_pairs_are_drawn_where_versions_saw_the_same_calls_and_nowhere_else(report):
    [brier, right] = report.pairs  # version 3 was nobody's shadow, and latencies are of no output
    assert [(each.metric, each.variant) for each in report.pairs] == [("brier", "sure"), ("right", "sure")]
    assert brier.answer.finding == pb.FINDING_BETTER
    split = next(each for each in report.advice.analysis.comparisons if each.metric == "brier")
    assert brier.answer.estimate.standard_error < split.estimate.standard_error / 2
    text = experiment_page(report)
    assert f"<td class=number>{brier.answer.pairs:,}</td>" in text
    labels = right.answer.labels
    assert f"the control in {labels.control_only:,} units, sure in {labels.treatment_only:,} (p = " in text
    assert "On the same calls" not in experiment_page(replace(report, pairs=()))


def test_the_csv_has_each_comparison_of_each_look_bit_by_bit(report):
    rows = list(csv.DictReader(io.StringIO(experiment_csv(report))))
    assert len(rows) == LOOKS * 6
    assert list(rows[0]) == list(COLUMNS)
    last = next(each for each in reversed(rows) if (each["metric"], each["variant"]) == ("brier", "sure"))
    estimate = report.advice.analysis.comparisons[0].estimate
    assert float(last["difference"]) == estimate.difference
    assert float(last["lift_lower"]) == estimate.relative.lower
    assert last["finding"] == "better"
    silent = next(each for each in rows if each["metric"] == "complaints")
    assert silent["difference"] == ""
    assert "needed" in silent["not_enough_data"]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium here")
def test_a_browser_shows_the_page_without_a_word(tmp_path, report):
    page = tmp_path / "report.html"
    page.write_text(experiment_page(report), encoding="utf-8")
    shot = tmp_path / "report.png"
    done = subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,4400",
            "--enable-logging=stderr", "--v=0", f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={shot}",
            page.as_uri(),
        ],
        capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    assert shot.read_bytes()[:4] == b"\x89PNG"
