"""Gates, approvals and taints: what stands between a version and production."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from registry import aliases, champion, clearance, models, taints, versions
from registry.clearance import Support
from registry.errors import FieldInvalidError, GatesNotPassedError, TaintedError, TaintMissingError
from registry.gates import Evidence, check_gates, decide
from registry.records import VersionFacts

WHO = {"actor": "ada", "now_us": 1_700_000_000_000_001}
GOOD = {"verdict": "AGREES", "real": {"rows": 900, "label_flips": 0}, "adversarial": {"rows": 100, "label_flips": 2}}


@pytest.fixture
def fraud(database, draft):
    """Return a database with a champion of AUC 0.80 and a challenger of AUC 0.79."""
    with database.write() as tx:
        models.create_model(tx, "fraud", **WHO)
        for auc in (0.80, 0.79):
            facts = VersionFacts(metrics={"auc": auc, "loss": 1 - auc}, data_fingerprint=f"data-{auc}", parity=GOOD)
            versions.add_version(tx, draft(facts=facts, probe_sha256="aa" * 32, probe_rows=8), **WHO)
        champion.promote(tx, "fraud", 1, **WHO)
    return database


def guarded(database, *gates):
    with database.write() as tx:
        models.update_model(tx, "fraud", {"gates": list(gates)}, **WHO)


@pytest.mark.parametrize(
    ("gate", "passes"),
    [
        ({"kind": "metric", "metric": "auc", "at_least": 0.79}, True),
        ({"kind": "metric", "metric": "auc", "at_least": 0.8}, False),
        ({"kind": "metric", "metric": "loss", "at_most": 0.1}, False),
        ({"kind": "metric", "metric": "auc", "worse_at_most": 0.02}, True),
        ({"kind": "metric", "metric": "auc", "worse_at_most": 0.001}, False),
        ({"kind": "metric", "metric": "loss", "worse_at_most": 0.001, "direction": "decrease"}, False),
        ({"kind": "metric", "metric": "loss", "worse_at_most": 0.02, "direction": "decrease"}, True),
        ({"kind": "metric", "metric": "recall"}, False),
        ({"kind": "parity"}, False),
        ({"kind": "parity", "flip_rate_max": 0.01}, True),
        ({"kind": "probe"}, True),
        ({"kind": "feature_set"}, True),
        ({"kind": "signed"}, False),
        ({"kind": "trial", "units_min": 1000}, True),
        ({"kind": "trial", "units_min": 6000}, False),
        ({"kind": "trial", "of": "shadow", "units_min": 40}, False),
        ({"kind": "trial", "of": "shadow", "units_min": 40, "failed_share_max": 0.02}, True),
        ({"kind": "trial", "of": "shadow", "units_min": 41, "failed_share_max": 0.02}, False),
        ({"kind": "approval", "role": "risk"}, True),
        ({"kind": "approval", "role": "risk", "count": 2}, False),
        ({"kind": "approval", "role": "legal"}, False),
    ],
)
def test_a_gate_says_yes_or_no_in_a_sentence(fraud, gate, passes):
    with fraud.read() as tx:
        champion, challenger = (versions.get_version(tx, "fraud", number) for number in (1, 2))
    evidence = Evidence(
        version=challenger,
        champion=champion,
        probe_passed=True,
        approvals=[("risk", "grace")],
        trials=[
            {"kind": "experiment", "name": "e", "units": 5000, "decision": "ship"},
            {"kind": "shadow", "name": "models/fraud/shadow", "units": 40, "calls": 100, "failed": 2},
        ],
    )
    (verdict,) = decide(check_gates([gate]), evidence)
    assert verdict.passed is passes
    assert verdict.sentence


def test_a_version_that_a_gate_refuses_is_not_promoted_by_any_way(fraud):
    guarded(fraud, {"kind": "metric", "metric": "auc", "worse_at_most": 0})
    for way in (
        lambda tx: champion.promote(tx, "fraud", 2, **WHO),
        lambda tx: aliases.set_alias(tx, "fraud", 2, alias="champion", **WHO),
    ):
        with pytest.raises(GatesNotPassedError, match=r"0\.79 against 0\.8"), fraud.write() as tx:
            way(tx)
    with fraud.read() as tx:
        assert [alias.version for alias in models.get_model(tx, "fraud").aliases] == [1]
        assert clearance.kept_verdicts(tx, versions.get_version(tx, "fraud", 2)) == []


def test_a_promotion_keeps_the_verdicts_it_rests_on(fraud):
    guarded(fraud, {"kind": "metric", "metric": "auc", "at_least": 0.7}, {"kind": "probe"})
    with fraud.write() as tx:
        move = champion.promote(tx, "fraud", 2, support=Support(probe_passed=True), **WHO)
        kept = clearance.kept_verdicts(tx, versions.get_version(tx, "fraud", 2))
    assert [(each.gate, each.passed, each.revision, each.actor) for each in kept] == [
        ("metric", True, move.revision, "ada"),
        ("probe", True, move.revision, "ada"),
    ]
    assert kept[0].evidence["value"] == 0.79


def test_an_override_takes_a_reason_and_shows_for_ever(fraud):
    guarded(fraud, {"kind": "signed"})
    with fraud.write() as tx:
        champion.promote(tx, "fraud", 2, support=Support(override_reason="the old one is on fire"), **WHO)
        (kept,) = clearance.kept_verdicts(tx, versions.get_version(tx, "fraud", 2))
    assert (kept.passed, kept.overridden, kept.override_reason) == (False, True, "the old one is on fire")
    for statement in ("UPDATE gate_verdicts SET overridden = NULL", "DELETE FROM gate_verdicts"):
        with pytest.raises(IntegrityError, match="append-only"), fraud.write() as tx:
            tx.execute(text(statement))


def test_a_rollback_asks_no_gate(fraud):
    with fraud.write() as tx:
        champion.promote(tx, "fraud", 2, **WHO)
    guarded(fraud, {"kind": "signed"})
    with fraud.write() as tx:
        assert champion.rollback(tx, "fraud", **WHO).to_version == 1


def test_the_newest_word_of_each_person_counts(fraud):
    guarded(fraud, {"kind": "approval", "role": "risk"})
    with fraud.write() as tx:
        clearance.approve(tx, "fraud", 2, role="risk", approved=True, actor="grace", now_us=1)
        clearance.approve(tx, "fraud", 2, role="risk", approved=False, actor="grace", now_us=2)
    with pytest.raises(GatesNotPassedError, match="0 of 1"), fraud.write() as tx:
        champion.promote(tx, "fraud", 2, **WHO)
    with fraud.write() as tx:
        clearance.approve(tx, "fraud", 2, role="risk", approved=True, actor="grace", now_us=3)
        champion.promote(tx, "fraud", 2, **WHO)
    with fraud.write() as tx, pytest.raises(FieldInvalidError):
        clearance.approve(tx, "fraud", 2, role="", approved=True, **WHO)


@pytest.mark.parametrize(
    ("kind", "subject"),
    [("data", "data-0.79"), ("version", "models/fraud/versions/2"), ("feature_view", "card_history")],
)
def test_a_taint_blocks_promotion_until_it_is_cleared(fraud, kind, subject):
    support = Support(views=["card_history"])
    with fraud.write() as tx:
        taint = taints.add_taint(tx, kind, subject, reason="duplicated rows", **WHO)
    with pytest.raises(TaintedError, match="duplicated rows"), fraud.write() as tx:
        champion.promote(tx, "fraud", 2, support=support, **WHO)
    with fraud.write() as tx:
        taints.clear_taint(tx, taint.id, reason="they were not", **WHO)
        champion.promote(tx, "fraud", 2, support=support, **WHO)
        assert taints.list_taints(tx, standing=True, limit_max=10) == []
        assert [each.cleared_reason for each in taints.list_taints(tx, standing=False, limit_max=10)] == [
            "they were not"
        ]


def test_a_taint_of_a_version_reaches_what_was_made_from_it(fraud, draft):
    with fraud.write() as tx:
        child, _ = versions.add_version(tx, draft(facts=VersionFacts(parents=(2,))), **WHO)
        models.create_model(tx, "scorecard", **WHO)
        grandchild, _ = versions.add_version(
            tx, draft("scorecard", facts=VersionFacts(parents_elsewhere=(("fraud", 3),))), **WHO
        )
        taints.add_taint(tx, "version", "models/fraud/versions/2", reason="leaks", **WHO)
        for version in (child, grandchild):
            assert [taint.reason for taint in taints.taints_of(tx, version)] == ["leaks"]
        assert taints.taints_of(tx, versions.get_version(tx, "fraud", 1)) == []


def test_a_taint_blocks_going_back_too_unless_somebody_answers_for_it(fraud):
    with fraud.write() as tx:
        champion.promote(tx, "fraud", 2, **WHO)
        taints.add_taint(tx, "data", "data-0.8", reason="wrong currency", **WHO)
    with pytest.raises(TaintedError), fraud.write() as tx:
        champion.rollback(tx, "fraud", **WHO)
    with fraud.write() as tx:
        champion.rollback(tx, "fraud", support=Support(override_reason="still better"), **WHO)


def test_taints_need_a_kind_a_subject_and_a_reason(fraud):
    for kind, subject, reason in (("rumour", "x", "y"), ("data", "", "y"), ("data", "x", "")):
        with fraud.write() as tx, pytest.raises(FieldInvalidError):
            taints.add_taint(tx, kind, subject, reason=reason, **WHO)
    with fraud.write() as tx, pytest.raises(TaintMissingError):
        taints.clear_taint(tx, 999, reason="x", **WHO)
