"""An experiment on the command line, from its file to its decision, against a real gateway."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from turnout.client import Client, Outcome
from turnout.control import Control

DEFINITION = """
experiment = "two-or-three"
model = "factor"
minimum_units = 20
[[variants]]
variant = "two"
version = 1
share = 0.5
control = true
[[variants]]
variant = "three"
version = 2
share = 0.5
[[metrics]]
metric = "miss"
kind = "absolute_error"
outcome = "seen"
output = "total"
direction = "decrease"
role = "success"
"""

UNITS = 160


@pytest.fixture(scope="module")
def factor(gateway, scaling_model, tmp_path_factory):
    """Return the folder of a definition whose model's versions multiply by two, the champion, and by three."""
    folder = tmp_path_factory.mktemp("factor")
    (folder / "experiment.toml").write_text(DEFINITION)
    with Control(gateway.control_address) as control:
        for scale, alias in ((2, "champion"), (3, "")):
            file = folder / f"{scale}.onnx"
            file.write_bytes(scaling_model(scale))
            control.publish_version("factor", file, alias=alias)
    return folder


def ask_and_tell(address, turn):
    """Ask for each unit, then say that three was right, give or take; return the answers' variants by unit."""
    noise = np.random.default_rng(turn)
    with Client(address) as client:
        answers = {
            f"u{n}": client.predict("factor", unit_id=f"u{n}", inputs={"x": np.float32([[1, 1, 1]])})
            for n in range(UNITS)
        }
        outcomes = [Outcome("seen", 9 + noise.normal() / 10, request_id=one.request_id) for one in answers.values()]
        assert all(result.recorded for result in client.record_outcomes(outcomes))
    return {unit: answer.variant for unit, answer in answers.items()}


def check_preview(at_gateway):
    shares = ("two=0.25", "three=0.75")
    asked = at_gateway("experiments", "split", "two-or-three", *shares, "--dry-run", "--json").document
    assert asked["moved_share"] == pytest.approx(0.25)
    assert asked["recent_units"] == UNITS
    some = at_gateway("experiments", "split", "two-or-three", *shares, "--dry-run", "--last-units", 10).out
    assert "of the last 10" in some
    assert at_gateway("experiments", "split", "two-or-three", *shares, "--dry-run", "--last-units", -1).code == 1


def check_report(at_gateway, folder):
    printed = at_gateway("experiments", "report", "two-or-three").out
    assert printed.startswith("SHIP three\n- ")
    assert "miss of three: " in printed
    page, rows = folder / "report.html", folder / "report.csv"
    written = at_gateway("experiments", "report", "two-or-three", "--html", page, "--csv", rows)
    assert str(page) in written.out
    assert "<h1>two-or-three: ship three</h1>" in page.read_text()
    header, row = rows.read_text().splitlines()
    assert dict(zip(header.split(","), row.split(","), strict=True))["finding"] == "better"
    document = at_gateway("experiments", "report", "two-or-three", "--json").document
    assert document["recommendation"]["analysis"]["comparisons"][0]["finding"] == "BETTER"
    looks = at_gateway("experiments", "looks", "two-or-three", "--json").document["looks"]
    assert document["looks"] == looks
    assert [one["analysis"]["look"] for one in looks] == [1]


def check_watch(at_gateway):
    watched = at_gateway("experiments", "watch", "two-or-three", "--count", 2, "--interval", 0.1)
    assert watched.code == 0
    assert "workers that serve it so" in watched.out
    assert "SHIP three" in watched.out
    one = json.loads(at_gateway("experiments", "watch", "two-or-three", "--count", 1, "--json").out)
    assert one["experiment"]["state"] == "RUNNING"


def test_an_experiment_goes_from_its_file_to_its_decision(at_gateway, gateway, factor):
    made = at_gateway("experiments", "create", factor / "experiment.toml", "--json").document
    assert (made["name"], made["state"], made["coverage"]) == ("experiments/two-or-three", "DRAFT", 1)
    assert at_gateway("experiments", "create", factor / "experiment.toml").code == 1

    started = at_gateway("experiments", "start", "two-or-three", "--wait", "--json").document
    assert started["experiment"]["state"] == "RUNNING"
    variants = ask_and_tell(gateway.data_address, 1)
    told = at_gateway("experiments", "explain", "two-or-three", "u7", "--json").document
    assert (told["variant"], told["propensity"]) == (variants["u7"], 0.5)

    analysis = at_gateway("experiments", "analyze", "two-or-three", "--json").document
    assert sum(one["units"] for one in analysis["counts"]) == UNITS
    assert analysis["outcomes_analyzed"] == UNITS
    (comparison,) = analysis["comparisons"]
    assert comparison["estimate"]["upper"] < -2
    assert "sample ratio: as the shares say" in at_gateway("experiments", "analyze", "two-or-three").out

    advice = at_gateway("experiments", "recommend", "two-or-three", "--json").document
    assert (advice["recommendation"], advice["variant"]) == ("SHIP", "three")
    assert at_gateway("experiments", "recommend", "two-or-three").out.startswith("SHIP three\n- ")

    size = at_gateway("experiments", "sample-size", "two-or-three", "--effect", 0.01, "--method", "fixed", "--json")
    assert size.document["units"] > 0
    assert size.document["remaining_units"] == max(0, size.document["units"] - UNITS)
    told = at_gateway("experiments", "sample-size", "--effect", 0.1, "--variance", 1, "--json").document
    assert told["units"] == 3140
    assert at_gateway("experiments", "analyze", "two-or-three", "--method", "peek").code == 2
    fixed = at_gateway("experiments", "analyze", "two-or-three", "--method", "fixed", "--json").document
    assert fixed["comparisons"][0]["estimate"]["method"] == "welch"
    looks = at_gateway("experiments", "verify", "two-or-three", "--json").document["looks"]
    # All of these asked for one and the same evidence, and the other methods are not kept.
    assert [(one["look"], one["same"], one["recommendation"]) for one in looks] == [(1, True, "ship")]
    assert "same" in at_gateway("experiments", "verify", "two-or-three").out
    replayed = at_gateway("experiments", "replay", "two-or-three", "--replays", 40, "--json").document
    assert replayed["replays"] == 40

    check_report(at_gateway, factor)
    check_preview(at_gateway)
    check_watch(at_gateway)

    moved = at_gateway("experiments", "split", "two-or-three", "two=0.25", "three=0.75", "--json").document
    assert moved["moved_share"] == pytest.approx(0.25)
    stale = at_gateway("experiments", "split", "two-or-three", "two=0.5", "three=0.5", "--etag", made["etag"])
    assert stale.code == 1

    ended = at_gateway("experiments", "conclude", "two-or-three", "--winner", "three", "--promote", "--wait", "--json")
    assert (ended.document["experiment"]["state"], ended.document["experiment"]["winner"]) == ("CONCLUDED", "three")
    answer = at_gateway("predict", "factor", "--input", "x=1,1,1", "--unit", "u1", "--json").document
    assert (answer["version"], answer["experiment"]) == (2, "")
    listed = at_gateway("experiments", "list", "--json").document["experiments"]
    assert [one["state"] for one in listed] == ["CONCLUDED"]
    assert "CONCLUDED" in at_gateway("experiments", "show", "two-or-three").out


def test_an_experiment_is_updated_paused_resumed_archived_and_a_draft_deleted(at_gateway, factor):
    file = factor / "again.toml"
    file.write_text(DEFINITION.replace("two-or-three", "again"))
    made = at_gateway("experiments", "create", file, "--json").document
    worded = at_gateway("experiments", "update", "again", "--owner", "ada", "--json").document
    assert worded["experiment"]["owner"] == "ada"
    assert at_gateway("experiments", "update", "again", file, "--etag", "0").code == 1
    assert at_gateway("experiments", "update", "another", file).code == 2
    whole = at_gateway("experiments", "update", "again", file, "--json").document
    assert whole["experiment"]["variants"] == made["variants"]
    at_gateway("experiments", "start", "again")
    assert at_gateway("experiments", "delete", "again").code == 1
    paused = at_gateway("experiments", "pause", "again", "--reason", "a fault", "--wait", "--json").document
    assert paused["experiment"]["state"] == "PAUSED"
    quiet = at_gateway("predict", "factor", "--input", "x=1,1,1", "--unit", "u1", "--json").document
    assert quiet["experiment"] == ""
    resumed = at_gateway("experiments", "resume", "again", "--wait", "--json").document
    assert resumed["experiment"]["state"] == "RUNNING"
    at_gateway("experiments", "conclude", "again")
    archived = at_gateway("experiments", "archive", "again", "--json").document
    assert archived["experiment"]["state"] == "ARCHIVED"
    file.write_text(DEFINITION.replace("two-or-three", "never"))
    at_gateway("experiments", "create", file)
    assert "is gone" in at_gateway("experiments", "delete", "never").out
    assert at_gateway("experiments", "show", "never").code == 1


def test_events_are_counted_and_the_newest_are_shown(at_gateway, factor):
    before = at_gateway("events", "count", "--model", "factor", "--json").document
    assert factor.exists()
    at_gateway("predict", "factor", "--input", "x=1,1,1", "--request-id", "newest")
    after = at_gateway("events", "count", "--model", "factor", "--json").document
    assert after["predictions"] == before["predictions"] + 1
    (event,) = at_gateway("events", "tail", "-n", 1, "--json").document["events"]
    assert (event["kind"], event["event"]["request_id"]) == ("PREDICTION", "newest")
    assert "request_id=newest" in at_gateway("events", "tail", "-n", 1).out


def test_events_can_be_followed_one_document_a_line(at_gateway, gateway, factor):
    at_gateway("predict", "factor", "--input", "x=1,1,1", "--request-id", "first")
    assert factor.exists()
    # What runs in the background of a shell ignores SIGINT, and so would what it starts.
    hearing = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    script = hearing + "from turnout.cli.main import main; main()"
    flags = ["events", "tail", "-n", "1", "--follow", "--json", "--server", gateway.control_address]
    with subprocess.Popen([sys.executable, "-c", script, *flags], stdout=subprocess.PIPE, text=True) as following:
        assert json.loads(following.stdout.readline())["event"]["request_id"] == "first"
        at_gateway("predict", "factor", "--input", "x=1,1,1", "--request-id", "second")
        assert json.loads(following.stdout.readline())["event"]["request_id"] == "second"
        following.send_signal(signal.SIGINT)
        try:
            assert following.wait(20) == 0
        finally:
            following.kill()
