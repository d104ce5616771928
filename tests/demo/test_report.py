from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from trainer.demo.report.page import page
from trainer.demo.report.terminal import print_report
from trainer.demo.result import Result
from trainer.demo.sender import SAMPLES
from trainer.demo.swaps import SwapWindow
from trainer.demo.trial import Decision, EffectPoint

START_US = 1_370_059_200_000_000
START_S = 1_700_000_000.0


def samples(count, *, failed=0):
    generator = np.random.default_rng(2)
    half = count // 2
    rows = [
        {
            "sent_s": START_S + index * 0.01,
            "latency_ms": float(generator.uniform(1, 3)),
            "event_us": START_US + index * 60_000_000,
            "version": 0 if index < failed else 1 + (index > half),
            "variant": "",
            "ok": index >= failed,
        }
        for index in range(count)
    ]
    return pa.Table.from_pylist(rows, schema=SAMPLES)


def effects(count):
    return [
        EffectPoint(
            START_US + at * 3_600_000_000, -0.03, -0.03 - 0.2 / (at + 1), -0.03 + 0.2 / (at + 1), 0.01, 0.2, 0.17, 9, 9
        )
        for at in range(count)
    ]


def result(**changes):
    facts = {
        "samples": samples(2_000),
        "failures": [],
        "swaps": [SwapWindow("promote version 2", START_S + 10, START_S + 10.2)],
        "effects": effects(20),
        "decided_us": START_US + 15 * 3_600_000_000,
        "experiment": {"name": "experiments/x", "effect": None},
        "decision": Decision("ship", "treatment", ("It is <better>.",)),
        "outcomes_acknowledged": 1_900,
        "outcomes_analyzed": 1_900,
        "outcomes_refused": 0,
        "versions": [
            {
                "version": 1,
                "algorithm": "LogisticRegression",
                "features": 5,
                "rows": 1000,
                "metrics": {"brier": 0.2, "roc_auc": 0.7},
                "parity": {"verdict": "AGREES", "max_delta": 1e-7, "rows": 10},
            }
        ],
        "duration_s": 100.0,
    }
    return Result(**facts | changes)


def test_a_run_as_promised_has_no_broken_promise():
    assert result().broken_promises() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"samples": samples(100, failed=3), "failures": ["a", "b"]}, "3 of 100 requests failed: a; b"),
        ({"outcomes_analyzed": 1_899}, "1900 outcomes were acknowledged and 1899 are analyzed"),
        ({"outcomes_refused": 1}, "1 outcomes were not recorded"),
        ({"clean_stop": False}, "did not stop cleanly"),
    ],
)
def test_each_broken_promise_is_named(changes, words):
    assert any(words in broken for broken in result(**changes).broken_promises())


def test_the_json_has_what_readers_of_it_look_for():
    document = json.loads(json.dumps(result().to_json()))
    assert document["requests"] == 2_000
    assert document["swaps"] == 1
    assert document["decision"] == "ship"
    assert 1 <= document["p50_ms"] <= document["p99_ms"] <= 3
    assert {"failed_requests", "outcomes_acknowledged", "outcomes_analyzed", "experiment"} <= document.keys()


def test_a_request_counts_as_during_a_swap_when_it_waited_at_any_moment_of_it():
    some = pa.Table.from_pylist(
        [
            {"sent_s": sent_s, "latency_ms": 100.0, "event_us": 0, "version": 1, "variant": "", "ok": True}
            for sent_s in (9.85, 9.95, 10.5, 11.15, 11.25)
        ],
        schema=SAMPLES,
    )
    found = result(samples=some, swaps=[SwapWindow("promote", 10.0, 10.2)])
    assert found.during_swaps().tolist() == [False, True, True, True, False]


def test_the_page_stands_alone_and_each_plot_is_well_formed():
    text = page(result())
    assert not re.search(r"<script|<link|src=|https?://|url\(", text)
    plots = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(plots) == 3
    for plot in plots:
        assert ET.fromstring(plot).get("role") == "img"  # noqa: S314  # written by us a moment ago
    assert ">decided</text>" in plots[0]
    assert "It is &lt;better&gt;." in text
    assert "prefers-color-scheme: dark" in text


def test_a_run_that_saw_nothing_is_reported_too():
    nothing = result(
        samples=samples(0), swaps=[], effects=[], outcomes_acknowledged=0, outcomes_analyzed=0, versions=[]
    )
    assert nothing.to_json()["p99_ms"] is None
    assert "not enough data" in page(nothing)


def test_the_terminal_report_names_what_was_not_as_promised():
    console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    with console.file:
        print_report(console, result(outcomes_analyzed=1))
    assert "not as promised" in console.export_text()
