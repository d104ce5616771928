"""The ratios of governance are counted from what is kept, and say so when there is nothing to count."""

from __future__ import annotations

import pytest

from experiments import life as lifecycle
from experiments import records as experiments
from experiments.definition import Direction, Experiment, Metric, MetricKind, Role, Variant
from gateway.control.governance import Governance
from gateway.journal.log import EventLog
from gateway.journal.record import Prediction, encode
from gateway.journal.writer import JournalWriter
from registry.champion import promote, rollback
from registry.clearance import Support
from registry.models import create_model, update_model
from registry.records import VersionFacts
from registry.version_changes import delete_version
from registry.versions import add_version
from storage.clock import SystemClock
from storage.revision import current_revision

NOW_US = 1_700_000_000_000_000
WHO = {"actor": "a", "now_us": NOW_US}


@pytest.fixture
def governance(database, tmp_path):
    return Governance(database=database, events=EventLog(tmp_path))


def told(governance):
    _, ratios = governance.ratios()
    assert all(ratio.counted for ratio in ratios)
    return {ratio.name: (ratio.numerator, ratio.denominator) for ratio in ratios}


def trial(name, versions):
    control, treatment = versions
    metric = Metric(
        metric="late",
        kind=MetricKind.MEAN,
        outcome="late",
        direction=Direction.DECREASE,
        role=Role.SUCCESS,
    )
    variants = (
        Variant(variant="control", version=control, share=0.5, control=True),
        Variant(variant="treatment", version=treatment, share=0.5),
    )
    return Experiment(id=name, model="fraud", variants=variants, metrics=(metric,), seed=name)


def test_of_nothing_there_is_no_ratio(governance):
    revision, ratios = governance.ratios()
    assert revision == 0
    assert [(ratio.numerator, ratio.denominator, ratio.value) for ratio in ratios] == [(0, 0, None)] * 5


def test_versions_count_that_name_their_data_and_their_code(database, governance, draft):
    both = VersionFacts(data_fingerprint="d1", code_fingerprint="c1")
    with database.write() as tx:
        create_model(tx, "fraud", **WHO)
        for facts in (both, both, VersionFacts(data_fingerprint="d1"), VersionFacts(code_fingerprint="c1")):
            add_version(tx, draft(facts=facts), **WHO)
        delete_version(tx, "fraud", 1, **WHO)
    assert told(governance)["versions_with_full_lineage"] == (1, 3)


def test_features_count_that_were_read_fresh_of_those_that_were_looked_up(governance, tmp_path):
    writer = JournalWriter(tmp_path / "journal", name="w", clock=SystemClock())
    rows = [("s@1", bytes([1, 1, 2])), ("s@1", bytes([3, 5, 1])), ("", b""), ("s@1", bytes([4]))]
    writer.append(
        [
            encode(
                Prediction(
                    request_id=f"r{number}",
                    time_us=0,
                    event_time_us=0,
                    model="fraud",
                    version=1,
                    feature_set=feature_set,
                    view_status=status,
                )
            )
            for number, (feature_set, status) in enumerate(rows)
        ]
    )
    writer.close()
    assert told(governance)["served_features_from_store"] == (3, 6)


def test_promotions_count_by_what_led_to_them(database, governance, draft):
    with database.write() as tx:
        create_model(tx, "fraud", **WHO)
        for _ in range(4):
            add_version(tx, draft(), **WHO)
        promote(tx, "fraud", 1, **WHO)  # the first: it replaced nothing
        experiments.create(tx, trial("late", (1, 3)), **WHO)  # never started
        experiments.create(tx, trial("ramp", (1, 2)), **WHO)
        lifecycle.start(tx, "ramp", **WHO)
        promote(tx, "fraud", 2, evidence={"experiment": "ramp", "variant": "treatment"}, **WHO)
        promote(tx, "fraud", 3, reason="because", **WHO)
        rollback(tx, "fraud", **WHO)
        update_model(tx, "fraud", {"gates": [{"kind": "approval", "role": "boss"}]}, **WHO)
        evidence = {"experiment": "ramp", "variant": "control"}
        promote(tx, "fraud", 1, evidence=evidence, support=Support(override_reason="now"), **WHO)
    found = told(governance)
    assert found["deployments_through_a_trial"] == (2, 3)
    assert found["promotions_without_manual_steps"] == (1, 4)


def test_every_change_has_an_audit_event(database, governance, draft):
    with database.write() as tx:
        create_model(tx, "fraud", **WHO)
        add_version(tx, draft(), **WHO)
        revision = current_revision(tx)
    assert told(governance)["changes_with_an_audit_event"] == (revision, revision) == (2, 2)
