from __future__ import annotations

import json

import numpy as np
import pytest

from features.profile import ColumnProfile, ProfileBuilder
from trainer.triggers.catalogue import KINDS, trigger_of
from trainer.triggers.stored import Labelled, Request, Rows, StatusCount, Stored
from trainer.triggers.verdict import Verdict

DAY_US = 86_400_000_000
NOW_US = 1_700_000_000_000_000
NAMES = ("delay", "distance", "weekday")


def rows_of(generator, count, *, weekdays=7):
    return np.column_stack([
        generator.normal(size=count), generator.gamma(2.0, 300.0, count), generator.integers(0, weekdays, count)
    ]).astype(np.float64)  # fmt: skip


def profile_of(rows, names=NAMES):
    builder = ProfileBuilder("training", names)
    builder.add(rows)
    return json.loads(builder.profile().to_json())


def stored(rows=None, **given):
    window = {} if rows is None else {"window": Rows(dict(zip(NAMES, rows.T, strict=True)))}
    return Stored(now_us=NOW_US, **window, **given)


@pytest.fixture(scope="module")
def reference():
    return profile_of(rows_of(np.random.default_rng(1), 20_000))


def answers(generator, count, *, flipped=0.0, missing=0.0):
    """Return answers that mean what they say, but for a part whose labels are turned round."""
    scores = generator.beta(2, 3, count)
    labels = (generator.random(count) < scores).astype(np.float64)
    turned = generator.random(count) < flipped
    labels = np.where(turned, 1 - labels, labels)
    labels[generator.random(count) < missing] = np.nan
    return Labelled(scores, labels, np.arange(count) * 1_000_000)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"manual"}))
def test_without_evidence_every_trigger_says_so_and_why(kind):
    evidence = trigger_of(kind, {}).judge(Stored(now_us=NOW_US))
    assert evidence.verdict is Verdict.INSUFFICIENT
    assert evidence.trigger == kind
    assert evidence.reason


def test_the_same_evidence_gets_the_same_verdict(reference):
    rows = rows_of(np.random.default_rng(2), 400)
    once, again = (trigger_of("drift", {}).judge(stored(rows, reference=reference)) for _ in range(2))
    assert once.document() == again.document()


def test_what_a_trigger_does_not_know_is_refused():
    with pytest.raises(ValueError, match="colour"):
        trigger_of("drift", {"colour": "red"})
    with pytest.raises(ValueError, match="no trigger"):
        trigger_of("moon", {})
    assert trigger_of("drift", {"alpha": 0.01, "floor": 0.2, "window_us": 5, "rows_min": 9}).kind == "drift"


@pytest.mark.parametrize(
    ("change", "column"),
    [
        (lambda rows: rows[:, 0].__iadd__(0.1), "delay"),
        (lambda rows: rows[:, 1].__imul__(1000), "distance"),
        (lambda rows: rows[:, 0].__imul__(1.3), "delay"),
        (lambda rows: np.place(rows[:, 2], rows[:, 2] == 3, 4), "weekday"),
        (lambda rows: np.place(rows[:, 2], rows[:, 2] == 3, 9), "weekday"),
    ],
    ids=["a tenth of a deviation", "another unit", "a wider spread", "a category gone", "a category that is new"],
)
def test_drift_names_the_column_that_drifted(reference, change, column):
    rows = rows_of(np.random.default_rng(3), 20_000)
    assert trigger_of("drift", {}).judge(stored(rows, reference=reference)).verdict is Verdict.QUIET
    change(rows)
    evidence = trigger_of("drift", {}).judge(stored(rows, reference=reference))
    assert evidence.verdict is Verdict.FIRE
    assert [finding.subject for finding in evidence.findings if finding.flagged] == [column]
    assert evidence.findings[0].subject == column
    assert column in evidence.reason


@pytest.mark.parametrize("method", ["ks", "wasserstein", "psi", "jensen_shannon", "chi_squared", "l_infinity"])
def test_each_method_sees_a_shift_and_does_not_see_a_small_one_in_many_rows(reference, method):
    drift = trigger_of("drift", {"numeric": method, "columns": ["delay"]})
    rows = rows_of(np.random.default_rng(4), 20_000)
    rows[:, 0] += 0.02
    assert drift.judge(stored(rows, reference=reference)).verdict is Verdict.QUIET, "significant, and below the floor"
    rows[:, 0] += 0.5
    evidence = drift.judge(stored(rows, reference=reference))
    assert evidence.verdict is Verdict.FIRE
    assert evidence.findings[0].method == method
    assert evidence.findings[0].numbers["p_adjusted"] < 0.01


def test_labels_and_outputs_drift_like_features():
    generator = np.random.default_rng(6)
    names = (*NAMES, "label", "output:probabilities")
    whole = np.column_stack([rows_of(generator, 5_000), generator.random((5_000, 1)) < 0.3, generator.random(5_000)])
    window = np.column_stack(
        [rows_of(generator, 5_000), generator.random((5_000, 1)) < 0.6, generator.random(5_000) ** 2]
    )
    evidence = trigger_of("drift", {}).judge(
        Stored(
            now_us=NOW_US,
            reference=profile_of(whole, names),
            window=Rows(dict(zip(names, window.T, strict=True))),
        )
    )
    assert {one.subject for one in evidence.findings if one.flagged} == {"label", "output:probabilities"}


def test_a_null_burst_names_the_feature(reference):
    rows = rows_of(np.random.default_rng(5), 2_000)
    missing = trigger_of("missing", {})
    assert missing.judge(stored(rows, reference=reference)).verdict is Verdict.QUIET
    rows[100:180, 1] = np.nan
    evidence = missing.judge(stored(rows, reference=reference))
    assert evidence.verdict is Verdict.FIRE
    assert [(one.subject, one.method) for one in evidence.findings if one.flagged] == [("distance", "null_rate")]
    assert "4.0%" in evidence.reason


def test_labels_that_are_not_known_yet_are_neither_missing_nor_joint_drift():
    generator = np.random.default_rng(13)
    names = (*NAMES, "label", "output:probabilities")
    whole, window = (np.column_stack([rows_of(generator, 2_000), generator.random((2_000, 2))]) for _ in range(2))
    window[:, 3:] = np.nan
    given = Stored(
        now_us=NOW_US,
        reference=profile_of(whole, names),
        reference_rows=Rows(dict(zip(names, whole.T, strict=True))),
        window=Rows(dict(zip(names, window.T, strict=True))),
    )
    for kind in ("missing", "joint_drift", "drift"):
        assert trigger_of(kind, {"alpha": 0.01}).judge(given).verdict is Verdict.QUIET, kind


def test_lookups_that_default_more_often_name_the_view():
    before = (StatusCount("carrier", {"PRESENT": 980, "MISSING": 20}), StatusCount("route", {"PRESENT": 1_000}))
    now = (
        StatusCount("carrier", {"PRESENT": 970, "MISSING": 30}),
        StatusCount("route", {"PRESENT": 900, "STALE": 100}),
    )
    evidence = trigger_of("missing", {}).judge(stored(statuses=now, reference_statuses=before))
    assert evidence.verdict is Verdict.FIRE
    assert [one.subject for one in evidence.findings if one.flagged] == ["route"]


@pytest.mark.parametrize("metric", ["brier", "log_loss", "roc_auc", "accuracy", "f1"])
def test_performance_fires_by_the_interval_and_not_by_the_point(metric):
    generator = np.random.default_rng(7)
    good, bad = answers(generator, 3_000, missing=0.2), answers(generator, 3_000, flipped=0.3)
    published = {"brier": 0.2, "log_loss": 0.58, "roc_auc": 0.73, "accuracy": 0.68, "f1": 0.55}
    performance = trigger_of("performance", {"metric": metric, "relative": 0.1})
    quiet = performance.judge(stored(labelled=good, metrics=published))
    assert quiet.verdict is Verdict.QUIET
    assert quiet.numbers["low"] < quiet.numbers["value"] < quiet.numbers["high"]
    assert quiet.numbers["rows_without_label"] > 400
    fired = performance.judge(stored(labelled=bad, metrics=published))
    assert fired.verdict is Verdict.FIRE
    few = Labelled(bad.scores[:120], bad.labels[:120], bad.time_us[:120])
    near = trigger_of("performance", {"metric": metric, "threshold": fired.numbers["value"]})
    assert near.judge(stored(labelled=few)).verdict is Verdict.QUIET, "a point past it is not enough"


def test_an_estimate_says_that_it_is_one_and_stands_beside_the_truth():
    generator = np.random.default_rng(8)
    reference, window = answers(generator, 5_000), answers(generator, 3_000, missing=0.5)
    estimated = trigger_of("estimated_performance", {"metric": "roc_auc", "relative": 0.05})
    evidence = estimated.judge(stored(reference_labelled=reference, labelled=window))
    assert evidence.verdict is Verdict.QUIET
    assert "estimated, without labels" in evidence.reason
    assert evidence.numbers["agrees"] is True
    assert evidence.numbers["labelled_rows"] == np.isfinite(window.labels).sum()
    # The scores come together: nothing can be told apart any more, and no label is needed to see it.
    narrow = Labelled(0.4 + 0.02 * (window.scores - 0.4), np.full(3_000, np.nan), window.time_us)
    fired = estimated.judge(stored(reference_labelled=reference, labelled=narrow))
    assert fired.verdict is Verdict.FIRE
    assert fired.numbers["labelled_rows"] == 0


def test_concept_drift_is_what_an_estimate_does_not_see_and_the_truth_beside_it_does():
    generator = np.random.default_rng(9)
    estimated = trigger_of("estimated_performance", {"metric": "accuracy", "relative": 0.05})
    window = answers(generator, 3_000, flipped=0.4)
    evidence = estimated.judge(stored(reference_labelled=answers(generator, 5_000), labelled=window))
    assert evidence.verdict is Verdict.QUIET
    assert evidence.numbers["agrees"] is False


def test_a_change_point_is_found_where_it_is():
    generator = np.random.default_rng(10)
    before, after = answers(generator, 2_000), answers(generator, 1_000, flipped=0.4)
    stream = Labelled(
        np.concatenate([before.scores, after.scores]),
        np.concatenate([before.labels, after.labels]),
        np.arange(3_000) * 1_000_000,
    )
    change = trigger_of("change_point", {})
    quiet = change.judge(stored(reference_labelled=answers(generator, 20_000), labelled=before))
    assert quiet.verdict is Verdict.QUIET
    fired = change.judge(stored(reference_labelled=answers(generator, 20_000), labelled=stream))
    assert fired.verdict is Verdict.FIRE
    assert abs(fired.numbers["start_row"] - 2_000) < 150
    assert fired.numbers["start_us"] == fired.numbers["start_row"] * 1_000_000


def test_a_correlation_that_turns_is_joint_drift_and_no_other():
    generator = np.random.default_rng(11)
    cloud = generator.multivariate_normal([0, 0, 0], [[1, 0.6, 0], [0.6, 1, 0], [0, 0, 1]], 3_000)
    turned = generator.multivariate_normal([0, 0, 0], [[1, -0.6, 0], [-0.6, 1, 0], [0, 0, 1]], 3_000)
    whole = Rows(dict(zip(NAMES, cloud.T, strict=True)))
    given = stored(turned, reference=profile_of(cloud), reference_rows=whole)
    assert trigger_of("drift", {}).judge(given).verdict is Verdict.QUIET
    evidence = trigger_of("joint_drift", {}).judge(given)
    assert evidence.verdict is Verdict.FIRE
    assert evidence.numbers["area"] > 0.6


def test_plain_triggers_fire_by_what_they_count():
    cases = [
        ("volume", {"labels": 500}, {"new_labels": 499}, {"new_labels": 500}),
        ("time", {"age_us": DAY_US}, {"published_us": NOW_US - DAY_US + 1}, {"published_us": NOW_US - DAY_US}),
        (
            "definition",
            {},
            {"trained_on_digest": "a" * 64, "current_digest": "a" * 64},
            {"trained_on_digest": "a" * 64, "current_digest": "b" * 64},
        ),
        ("skew", {}, {"skew": (), "skew_calls": 9}, {"skew": ("carrier.delay: the values differ",), "skew_calls": 9}),
        ("manual", {}, {}, {"request": Request("ann", "new routes", NOW_US)}),
    ]
    for kind, settings, quiet, fires in cases:
        assert trigger_of(kind, settings).judge(stored(**quiet)).verdict is Verdict.QUIET, kind
        evidence = trigger_of(kind, settings).judge(stored(**fires))
        assert evidence.verdict is Verdict.FIRE, kind
        assert json.dumps(evidence.document(), allow_nan=False)


def test_a_reference_that_was_compressed_tells_the_same_as_the_rows():
    generator = np.random.default_rng(12)
    whole, window = generator.normal(size=30_000), generator.normal(0.2, 1.0, 900)
    exact = ColumnProfile.of(whole)
    builder = ProfileBuilder("training", ["x"])
    builder.add(whole[:, None])
    kept = builder.profile()
    assert len(kept.columns["x"].sketch.values) <= 256 < len(exact.sketch.values)
    evidence = trigger_of("drift", {"numeric": "ks"}).judge(
        Stored(now_us=NOW_US, reference=kept.document(), window=Rows({"x": window}))
    )
    true = np.abs(np.searchsorted(np.sort(whole), np.sort(window)) / 30_000 - np.arange(1, 901) / 900).max()
    assert evidence.findings[0].numbers["statistic"] == pytest.approx(true, abs=1 / 250)
