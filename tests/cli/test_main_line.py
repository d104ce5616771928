"""The command line against a real gateway: from an ONNX file to a decided experiment."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyarrow import parquet

from turnout.control import Control


@pytest.fixture(scope="module")
def steady(gateway, scaling_model, tmp_path_factory):
    """Return the name of a model: its champion is version 1, times 2; version 2 is times 3. Nobody moves it."""
    folder = tmp_path_factory.mktemp("steady")
    with Control(gateway.control_address) as control:
        for scale, alias in ((2, "champion"), (3, "")):
            file = folder / f"{scale}.onnx"
            file.write_bytes(scaling_model(scale))
            revision = control.publish_version("steady", file, alias=alias).revision
        control.wait_for_revision(revision)
    return "steady"


@pytest.fixture
def mover(at_gateway, write_model):
    """Return the name of a model with two versions, whose champion a test may move."""
    at_gateway("models", "publish", "mover", write_model(2), "--alias", "champion")
    at_gateway("models", "publish", "mover", write_model(3), "--wait")
    return "mover"


def test_a_version_is_published_with_its_facts_and_its_probe(at_gateway, write_model, tmp_path):
    rows = tmp_path / "rows.parquet"
    columns = {"a": [1.0, 2.0], "b": [0.0, 0.5], "c": [3.0, 0.25], "expected.score": [[2.0, 0, 6], [4, 1, 0.5]]}
    parquet.write_table(pa.table({**columns, "expected.total": [8.0, 5.5]}), rows)
    facts = ("--algorithm", "product", "--metric", "auc=0.75", "--parameter", "scale=2", "--description", "first")
    done = at_gateway("models", "publish", "probed", write_model(2), "--probe", rows, *facts, "--json")
    version = done.document["version"]
    assert (version["name"], version["stage"], version["probe_rows"]) == ("models/probed/versions/1", "DEVELOPMENT", 2)
    assert version["facts"]["metrics"] == {"auc": 0.75}
    assert version["facts"]["parameters"] == {"scale": "2"}
    assert [one["name"] for one in version["outputs"]] == ["score", "total"]
    assert at_gateway("models", "show", "probed", "--version", 1, "--json").document == version


def test_a_version_says_what_it_was_made_from_and_which_way_its_metrics_are_better(at_gateway, write_model):
    at_gateway("models", "publish", "made", write_model(2), "--metric", "loss=0.5", "--better", "loss=decrease")
    lineage = ("--parent", 1, "--dataset", "2013", "--data-fingerprint", "table:aa", "--code-fingerprint", "git:bb")
    done = at_gateway("models", "publish", "made", write_model(2), "--metric", "loss=0.25", *lineage, "--json")
    assert done.document["same_bytes_as"] == [1], "the same bytes are told"
    facts = done.document["version"]["facts"]
    assert (facts["parents"], facts["dataset"]) == ([1], "2013")
    assert (facts["data_fingerprint"], facts["code_fingerprint"]) == ("table:aa", "git:bb")
    compared = at_gateway("models", "compare", "made/1", "made/2", "--json").document
    (metric,) = compared["metrics"]
    assert (metric["direction"], metric["better"], metric["percent"]) == ("DECREASE", True, -50.0)
    refused = at_gateway("models", "publish", "made", write_model(2), "--better", "loss=down")
    assert refused.code == 2
    assert "increase or decrease" in refused.err


def test_a_version_that_disagrees_with_its_probe_is_refused(at_gateway, write_model, tmp_path):
    rows = tmp_path / "rows.parquet"
    parquet.write_table(pa.table({"a": [1.0], "b": [0.0], "c": [3.0], "expected.total": [9.0]}), rows)
    done = at_gateway("models", "publish", "wrong", write_model(2), "--probe", rows)
    assert done.code == 1
    assert done.err.startswith("refused: ")
    assert at_gateway("models", "show", "wrong").code == 1


def test_a_file_that_is_no_model_is_refused_with_its_reason(at_gateway, tmp_path):
    file = tmp_path / "broken.onnx"
    file.write_bytes(b"\x08\x09 this is no graph")
    done = at_gateway("models", "publish", "broken", file, "--json")
    assert (done.code, done.out) == (1, "")
    first, *_, advice = done.err.splitlines()
    reason = first.removeprefix("refused: ").partition(":")[0]
    assert reason.replace("_", "").isupper()
    assert advice.startswith("next: ")


def test_a_prediction_says_which_version_answered(at_gateway, steady):
    answer = at_gateway("predict", steady, "--input", "x=1,2,0.1", "--request-id", "one", "--json").document
    assert answer == {
        "request_id": "one",
        "model": steady,
        "version": 1,
        "experiment": "",
        "variant": "",
        "outputs": {
            "score": {"dtype": "float32", "shape": [1, 3], "data": [[2, 4, 0.2]]},
            "total": {"dtype": "float32", "shape": [1, 1], "data": [[6.2]]},
        },
        "views": [],
    }


def test_a_pin_chooses_the_version(at_gateway, steady):
    pinned = at_gateway("predict", steady, "--input", "x=1,1,1", "--version", 1, "--json").document
    named = at_gateway("predict", steady, "--input", "x=1,1,1", "--alias", "champion", "--json").document
    assert (pinned["version"], named["version"]) == (1, 1)


def test_what_the_model_does_not_take_is_refused(at_gateway, steady):
    done = at_gateway("predict", steady, "--input", "x=1,2")
    assert done.code == 1
    assert "refused: INPUT_MISMATCH: " in done.err


def test_promotion_rollback_and_history_go_together(at_gateway, mover):
    moved = at_gateway("models", "promote", mover, 2, "--generation", 1, "--reason", "better", "--wait", "--json")
    assert moved.document["alias"] == {"alias": "champion", "version": 2, "generation": 2, "expire_time_us": 0}
    assert at_gateway("predict", mover, "--input", "x=1,1,1", "--json").document["version"] == 2
    late = at_gateway("models", "promote", mover, 1, "--generation", 1)
    assert late.code == 1
    assert "refused: ALIAS_MOVED" in late.err
    back = at_gateway("models", "rollback", mover, "--reason", "worse after all", "--json").document
    assert back["alias"] == {"alias": "champion", "version": 1, "generation": 3, "expire_time_us": 0}
    moves = at_gateway("models", "history", mover, "--alias", "champion", "--json").document["moves"]
    assert [(one["from_version"], one["to_version"], one["reason"]) for one in moves[:2]] == [
        (2, 1, "worse after all"),
        (1, 2, "better"),
    ]


def test_models_are_listed_and_shown(at_gateway, steady):
    listed = at_gateway("models", "list", "--json").document["models"]
    assert f"models/{steady}" in [one["name"] for one in listed]
    shown = at_gateway("models", "show", steady, "--json").document
    assert [one["version"] for one in shown["versions"]] == [2, 1]
    assert shown["model"]["aliases"] == [{"alias": "champion", "version": 1, "generation": 1, "expire_time_us": 0}]


def test_tables_say_the_same_to_people(at_gateway, steady):
    assert steady in at_gateway("models", "list").out
    assert "PRODUCTION" in at_gateway("models", "show", steady).out
    assert "[[2.0, 4.0, 6.0]]" in at_gateway("predict", steady, "--input", "x=1,2,3").out
    assert "champion" in at_gateway("models", "history", steady).out
    assert "READY" in at_gateway("status").out


def test_an_outcome_is_recorded_and_an_impossible_one_refused(at_gateway, steady):
    asked = at_gateway("predict", steady, "--input", "x=1,2,3", "--unit", "u1", "--json").document
    done = at_gateway("outcomes", "record", "late", "true", "--request-id", asked["request_id"], "--json")
    assert (done.document["status"], done.document["value"]) == ("RECORDED", 1)
    refused = at_gateway("outcomes", "record", "late", "1", "--unit", "u1")
    assert refused.code == 1
    assert "refused: OUTCOME_INVALID" in refused.err


def test_a_category_and_a_correction_are_recorded(at_gateway, steady):
    asked = at_gateway("predict", steady, "--input", "x=1,2,3", "--unit", "u1", "--json").document["request_id"]
    assert at_gateway("outcomes", "record", "kind", "--label", "cat", "--request-id", asked, "--json").document == {
        "status": "RECORDED",
        "name": "kind",
        "value": None,
        "label": "cat",
        "sequence": 0,
        "request_id": asked,
        "unit_id": "",
        "outcome_id": "",
        "event_time_us": None,
        "model": "",
    }
    for value, sequence in ((1, 0), (0, 1)):
        at_gateway("outcomes", "record", "late", value, "--sequence", sequence, "--request-id", asked)
    assert at_gateway("events", "count", "--json").document["corrected_outcomes"] == 1
    assert at_gateway("outcomes", "record", "late", "1", "--label", "cat", "--request-id", asked).code == 2


def test_events_are_exported_and_a_units_are_erased(at_gateway, steady, tmp_path):
    for unit in ("kept", "gone"):
        asked = at_gateway("predict", steady, "--input", "x=1,2,3", "--unit", unit, "--json").document["request_id"]
        at_gateway("outcomes", "record", "arrived", "1", "--request-id", asked)
    file = tmp_path / "predictions.parquet"
    assert at_gateway("events", "export", file, "--model", steady, "--json").document["bytes"] == file.stat().st_size
    assert {"kept", "gone"} <= set(parquet.read_table(file)["unit_id"].to_pylist())
    at_gateway("events", "export", file, "--kind", "outcome", "--since", "2100-01-01")
    assert parquet.read_table(file).num_rows == 0
    erase = ("events", "erase", "--unit", "gone", "--reason", "asked to", "--json")
    assert at_gateway(*erase, "--dry-run").document["dry_run"]
    # Workers hold it in segments that they still write: it goes when those are compacted.
    assert at_gateway(*erase).document["pending"]
    assert at_gateway("events", "erase", "--reason", "nobody").code == 2
    refused = at_gateway("events", "erase", "--unit", "gone", "--reason", "")
    assert "refused: ERASURE_INVALID" in refused.err
    (change,) = [
        each for each in at_gateway("audit", "list", "--json").document["events"] if each["kind"] == "events.erased"
    ]
    assert "gone" not in str(change)


def test_the_status_names_the_workers(at_gateway, gateway):
    found = at_gateway("status", "--json").document
    assert [one["slot"] for one in found["workers"]] == [0]
    assert found["workers"][0]["pid"] in gateway.pids
    assert found["workers"][0]["traffic"]["window_s"] > 0


def test_the_live_view_says_how_the_workers_fare(at_gateway, steady):
    at_gateway("predict", steady, "--input", "x=1,2,3")
    shown = at_gateway("top", "--count", 2, "--interval", 0.2).out
    for word in ("per s", "failed/s", "in waves of", "p99", "MiB", "READY", steady):
        assert word in shown


def test_how_a_model_is_run_is_shown_and_changed(at_gateway, steady):
    shown = at_gateway("models", "configure", steady, "--json").document
    assert (shown["intra_op_threads"], shown["execution_providers"]) == (1, ["CPUExecutionProvider"])
    options = ("--intra-op-threads", "2", "--arena", "--graph-optimization", "basic", "--warm-up", "x=4x3")
    changed = at_gateway("models", "configure", steady, *options, "--wait", "--json").document
    assert (changed["intra_op_threads"], changed["arena"], changed["graph_optimization"]) == (2, True, "BASIC")
    assert changed["warm_ups"] == [{"inputs": {"x": {"extents": [4, 3]}}}]
    table = at_gateway("models", "configure", steady).out
    assert "x=4x3" in table
    assert at_gateway("models", "configure", steady, "--reset", "--wait", "--json").document == shown
    assert at_gateway("models", "configure", steady, "--warm-up", "4x3").code == 2
    assert at_gateway("models", "configure", steady, "--provider", "Other").code == 1
