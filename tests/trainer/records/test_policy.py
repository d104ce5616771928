"""Policies: judged at the door, kept as they were given, changed by who has seen the present one."""

from __future__ import annotations

import pytest

from storage.revision import list_changes
from trainer.records.errors import PolicyChangedError, PolicyExistsError, PolicyInvalidError, PolicyMissingError
from trainer.records.policies import (
    create_policy,
    delete_policy,
    get_policy,
    list_policies,
    pause_policy,
    resume_policy,
    update_policy,
)
from trainer.records.rules import definition_of, document_of

NOW_US = 1_700_000_000_000_000


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"check": {"cron": "every day"}}, "check.cron"),
        ({"check": {"cron": "0 3 * * *", "interval_us": 10**7}}, "check"),
        ({"check": {"interval_us": 10}}, "check.interval_us"),
        ({"check": {"interval_us": -1}}, "check.interval_us"),
        ({"triggers": [{"kind": "time", "settings": {"years": 2}}]}, "triggers.time.years"),
        ({"triggers": [{"kind": "time", "settings": {"age_us": "long"}}]}, "triggers.time.age_us"),
        ({"triggers": [{"kind": "volume"}] * 33}, "triggers"),
        ({"data": {"feature_set": "../x", "label_sql": "SELECT 1"}}, "data.feature_set"),
        ({"data": {"feature_set": "petals", "label_sql": " "}}, "data.label_sql"),
        ({"data": {"feature_set": "petals", "label_sql": "SELECT 1", "test_share": 0.0}}, "data.test_share"),
        (
            {"data": {"feature_set": "p", "label_sql": "SELECT 1", "test_share": 0.5, "validation_share": 0.5}},
            "data.test_share",
        ),
        ({"data": {"feature_set": "p", "label_sql": "SELECT 1", "label_delay_us": 9, "gap_us": 8}}, "data.gap_us"),
        ({"training": {}}, "training"),
        ({"training": {"script": "../../bin/sh"}}, "training.script"),
        ({"training": {"script": "own", "estimator": {"path": "a.B"}}}, "training"),
        ({"training": {"estimator": {"path": "os; rm -rf /"}}}, "training.estimator.path"),
        ({"training": {"estimator": {"path": "sklearn._private.Thing"}}}, "training.estimator.path"),
        (
            {"training": {"estimator": {"path": "a.B", "parameters": {"base": {"nested": 1}}}}},
            "training.estimator.parameters.base",
        ),
        ({"evaluation": {"primary": {"metric": "rmse"}}}, "evaluation"),
        ({"evaluation": {"alpha": 0.9}}, "evaluation.alpha"),
        ({"evaluation": {"minimum_gain": float("nan")}}, "evaluation.minimum_gain"),
        ({"evaluation": {"slices": ["a; DROP TABLE x"]}}, "evaluation.slices"),
        ({"deployment": {"mode": "ramp"}}, "deployment.outcome"),
        ({"deployment": {"mode": "ramp", "outcome": "wrong", "shares": [0.5, 0.1]}}, "deployment.shares"),
        ({"budget": {"wall_time_s": 0}}, "budget.wall_time_s"),
    ],
)
def test_a_policy_that_breaks_a_rule_is_refused_with_the_field(document, changes, field):
    with pytest.raises(PolicyInvalidError) as refused:
        definition_of(document(**changes))
    assert refused.value.facts["field"] == field


@pytest.mark.parametrize("changes", [{"model": 5}, {"triggers": [{"kind": "moon"}]}, {"budget": {"runs_per_day": "a"}}])
def test_a_policy_of_other_types_is_refused(document, changes):
    with pytest.raises(PolicyInvalidError):
        definition_of(document(**changes))


def test_a_policy_is_kept_with_what_was_not_given_filled_in(database, define):
    with database.write() as tx:
        made = create_policy(tx, "petals", define(), actor="ada", now_us=NOW_US, chance=0.5)
    with database.read() as tx:
        assert get_policy(tx, "petals") == made
        assert [each.id for each in list_policies(tx)] == ["petals"]
    assert made.definition.budget.cooldown_us == 3_600_000_000
    assert made.definition.data.gap == 60_000_000
    assert made.next_check_us == NOW_US + 3_600_000_000
    assert definition_of(document_of(made.definition)) == made.definition


def test_two_policies_of_one_name_are_refused(database, define):
    with database.write() as tx:
        create_policy(tx, "petals", define(), actor="ada", now_us=NOW_US, chance=0)
        with pytest.raises(PolicyExistsError):
            create_policy(tx, "petals", define(), actor="ada", now_us=NOW_US, chance=0)
        with pytest.raises(PolicyInvalidError):
            create_policy(tx, "Petals!", define(), actor="ada", now_us=NOW_US, chance=0)


def test_only_who_has_seen_the_present_policy_changes_it(database, define):
    with database.write() as tx:
        first = create_policy(tx, "petals", define(), actor="ada", now_us=NOW_US, chance=0)
        second = update_policy(
            tx, "petals", define(model="other"), etag=str(first.etag), actor="bob", now_us=NOW_US, chance=0
        )
        assert second.definition.model == "other"
        with pytest.raises(PolicyChangedError):
            update_policy(tx, "petals", define(), etag=str(first.etag), actor="eve", now_us=NOW_US, chance=0)
        with pytest.raises(PolicyChangedError):
            delete_policy(tx, "petals", etag=str(first.etag), actor="eve", now_us=NOW_US)
        change = list_changes(tx, before_revision=None, limit_max=1)[0]
        assert (change.kind, change.actor, change.before, change.after) == (
            "policy.updated",
            "bob",
            {"model": "iris"},
            {"model": "other"},
        )
        delete_policy(tx, "petals", etag=str(second.etag), actor="ada", now_us=NOW_US)
        with pytest.raises(PolicyMissingError):
            get_policy(tx, "petals")


def test_a_paused_policy_is_not_due_until_it_is_resumed(database, define):
    with database.write() as tx:
        create_policy(tx, "petals", define(), actor="ada", now_us=NOW_US, chance=0)
        paused = pause_policy(tx, "petals", reason="holidays", actor="ada", now_us=NOW_US)
        assert (paused.paused, paused.pause_reason, paused.next_check_us) == (True, "holidays", 0)
        resumed = resume_policy(tx, "petals", actor="ada", now_us=NOW_US + 5, chance=0)
        assert (resumed.paused, resumed.next_check_us) == (False, NOW_US + 5 + 3_600_000_000)
        kinds = [change.kind for change in list_changes(tx, before_revision=None, limit_max=10)]
        assert kinds == ["policy.resumed", "training.paused", "policy.paused", "policy.created"]
