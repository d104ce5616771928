"""What may change of models and versions, and what may not."""

import dataclasses

import pytest

from registry import aliases, champion, clearance, models, taints, version_changes, versions
from registry.alias_history import alias_at, alias_history
from registry.errors import (
    EtagMismatchError,
    FieldInvalidError,
    GateInvalidError,
    ModelDeletedError,
    ModelExistsError,
    NameInvalidError,
    StageMoveError,
    StillNeededError,
    VersionDeletedError,
    VersionMissingError,
)
from registry.records import Stage, VersionFacts
from storage.revision import current_revision, list_changes

WHO = {"actor": "ada", "now_us": 1_700_000_000_000_001}


@pytest.fixture
def fraud(database, draft):
    """Return a database with the model `fraud` and two versions."""
    with database.write() as tx:
        models.create_model(tx, "fraud", owner="risk", **WHO)
        versions.add_version(tx, draft(facts=VersionFacts(tags={"team": "risk"}, description="first")), **WHO)
        versions.add_version(tx, draft(facts=VersionFacts(parents=(1,))), **WHO)
    return database


def test_what_an_update_names_is_replaced_and_the_rest_stays(fraud):
    with fraud.write() as tx:
        model = models.update_model(tx, "fraud", {"description": "card fraud", "tags": {"tier": "1"}}, **WHO)
    assert (model.description, model.tags, model.owner) == ("card fraud", {"tier": "1"}, "risk")
    with fraud.write() as tx:
        version = version_changes.update_version(tx, "fraud", 1, {"properties": {"ticket": "42"}}, **WHO)
    assert (version.properties, version.tags, version.description) == ({"ticket": "42"}, {"team": "risk"}, "first")


@pytest.mark.parametrize(
    "field", ["artifact_sha256", "facts", "signature", "stage", "created_us", "number", "nonsense"]
)
def test_the_substance_of_a_version_cannot_be_updated(fraud, field):
    with fraud.write() as tx:
        before = versions.get_version(tx, "fraud", 1)
        with pytest.raises(FieldInvalidError, match=field):
            version_changes.update_version(tx, "fraud", 1, {field: "x"}, **WHO)
        assert versions.get_version(tx, "fraud", 1) == before


def test_an_update_on_an_old_etag_changes_nothing(fraud):
    with fraud.write() as tx:
        seen = models.get_model(tx, "fraud").etag
        models.update_model(tx, "fraud", {"owner": "payments"}, etag=seen, **WHO)
    with fraud.write() as tx, pytest.raises(EtagMismatchError):
        models.update_model(tx, "fraud", {"owner": "growth"}, etag=seen, **WHO)
    with fraud.read() as tx:
        assert models.get_model(tx, "fraud").owner == "payments"


def test_an_update_that_changes_nothing_is_no_change(fraud):
    with fraud.write() as tx:
        before = current_revision(tx)
        models.update_model(tx, "fraud", {"owner": "risk"}, **WHO)
        version_changes.update_version(tx, "fraud", 1, {"tags": {"team": "risk"}}, **WHO)
        assert current_revision(tx) == before


def test_a_change_says_what_it_was_and_what_it_is(fraud):
    with fraud.write() as tx:
        version_changes.update_version(tx, "fraud", 1, {"deprecated": "leaks the label"}, **WHO)
        change = list_changes(tx, before_revision=None, limit_max=1)[0]
    assert (change.kind, change.resource) == ("version.updated", "models/fraud/versions/1")
    assert change.detail == {"deprecated": {"from": "", "to": "leaks the label"}}
    assert (change.before, change.after) == ({"deprecated": ""}, {"deprecated": "leaks the label"})


def newest_change(tx):
    (change,) = list_changes(tx, before_revision=None, limit_max=1)
    return change.kind, change.before, change.after


def test_every_change_of_what_is_here_keeps_what_was_before_and_after(fraud):
    now_us = WHO["now_us"]
    there, gone = {"deleted_us": 0}, {"deleted_us": now_us}
    stand = {"alias": "canary", "version": 2, "generation": 1, "expires_us": 0}
    changes = [
        (
            lambda tx: models.update_model(tx, "fraud", {"owner": "bob", "description": ""}, **WHO),
            ("model.updated", {"owner": "risk"}, {"owner": "bob"}),
        ),
        (
            lambda tx: version_changes.move_stage(tx, "fraud", 1, Stage.STAGING, **WHO),
            ("version.stage_moved", {"stage": "development"}, {"stage": "staging"}),
        ),
        (lambda tx: version_changes.delete_version(tx, "fraud", 1, **WHO), ("version.deleted", there, gone)),
        (lambda tx: version_changes.restore_version(tx, "fraud", 1, **WHO), ("version.restored", gone, there)),
        (
            lambda tx: aliases.set_alias(tx, "fraud", 2, alias="canary", **WHO),
            ("alias.moved", {**stand, "version": 0, "generation": 0}, stand),
        ),
        (
            lambda tx: aliases.remove_alias(tx, "fraud", "canary", **WHO),
            ("alias.removed", stand, {**stand, "version": 0, "generation": 2}),
        ),
        (
            lambda tx: clearance.approve(tx, "fraud", 2, role="risk", approved=True, note="seen", **WHO),
            ("version.approved", None, {"role": "risk", "approved": True, "note": "seen"}),
        ),
        (
            lambda tx: clearance.approve(tx, "fraud", 2, role="risk", approved=False, **WHO),
            (
                "version.approval_withdrawn",
                {"role": "risk", "approved": True, "note": "seen"},
                {"role": "risk", "approved": False, "note": ""},
            ),
        ),
        (
            lambda tx: taints.add_taint(tx, "data", "d1", reason="wrong rows", **WHO),
            ("taint.added", None, {"kind": "data", "subject": "d1", "reason": "wrong rows"}),
        ),
        (
            lambda tx: taints.clear_taint(tx, current_revision(tx), reason="right", **WHO),
            (
                "taint.cleared",
                {"cleared_us": 0, "cleared_by": "", "cleared_reason": ""},
                {"cleared_us": now_us, "cleared_by": "ada", "cleared_reason": "right"},
            ),
        ),
        (lambda tx: models.delete_model(tx, "fraud", **WHO), ("model.deleted", there, gone)),
        (lambda tx: models.restore_model(tx, "fraud", **WHO), ("model.restored", gone, there)),
    ]
    for change, told in changes:
        with fraud.write() as tx:
            change(tx)
            assert newest_change(tx) == told


@pytest.mark.parametrize(
    "fields",
    [
        {"tags": {"": "x"}},
        {"tags": {"a": 1}},
        {"tags": {f"t{n}": "" for n in range(65)}},
        {"description": "x" * 65_537},
        {"owner": None},
        {"properties": "text"},
    ],
)
def test_what_is_out_of_bounds_is_refused(fraud, fields):
    with fraud.write() as tx, pytest.raises(FieldInvalidError):
        models.update_model(tx, "fraud", fields, **WHO)


@pytest.mark.parametrize(
    "gates",
    [
        [{"kind": "luck"}],
        [{"kind": "metric"}],
        [{"kind": "metric", "metric": "auc", "at_least": "high"}],
        [{"kind": "metric", "metric": "auc", "at_least": float("nan")}],
        [{"kind": "parity", "other": 1}],
        [{"kind": "trial", "of": "rumour"}],
        [{"kind": "trial", "decision": "maybe"}],
        [{"kind": "trial", "of": "shadow", "decision": "ship"}],
        [{"kind": "trial", "failed_share_max": 0.1}],
        [{"kind": "trial", "of": "shadow", "failed_share_max": 2}],
        ["parity"],
        "parity",
    ],
)
def test_gates_that_do_not_fit_are_refused(fraud, gates):
    with fraud.write() as tx, pytest.raises(GateInvalidError):
        models.update_model(tx, "fraud", {"gates": gates}, **WHO)


def test_a_deleted_model_is_hidden_keeps_its_name_and_comes_back_as_it_was(fraud):
    with fraud.write() as tx:
        before = models.get_model(tx, "fraud")
        models.delete_model(tx, "fraud", **WHO)
        assert models.list_models(tx, limit_max=10) == []
        assert [each.id for each in models.list_models(tx, limit_max=10, deleted=True)] == ["fraud"]
        with pytest.raises(ModelExistsError):
            models.create_model(tx, "fraud", **WHO)
        with pytest.raises(ModelDeletedError):
            models.ensure_model(tx, "fraud", **WHO)
        with pytest.raises(ModelDeletedError):
            champion.promote(tx, "fraud", 1, **WHO)
        after = models.restore_model(tx, "fraud", **WHO)
    assert dataclasses.replace(after, etag="") == dataclasses.replace(before, etag="")


def test_what_is_in_production_cannot_be_deleted(fraud):
    with fraud.write() as tx:
        champion.promote(tx, "fraud", 1, **WHO)
        with pytest.raises(StillNeededError, match="production"):
            models.delete_model(tx, "fraud", **WHO)
        with pytest.raises(StillNeededError, match="champion"):
            version_changes.delete_version(tx, "fraud", 1, **WHO)
        aliases.set_alias(tx, "fraud", 2, alias="canary", **WHO)
        with pytest.raises(StillNeededError, match="canary"):
            version_changes.delete_version(tx, "fraud", 2, **WHO)


def test_an_arm_of_an_experiment_cannot_be_deleted(fraud):
    with fraud.write() as tx, pytest.raises(StillNeededError, match="experiment"):
        version_changes.delete_version(tx, "fraud", 2, pinned={2}, **WHO)


def test_a_deleted_version_keeps_its_number_and_cannot_be_named(fraud, draft):
    with fraud.write() as tx:
        version_changes.delete_version(tx, "fraud", 2, **WHO)
        assert [each.number for each in versions.list_versions(tx, "fraud", limit_max=10)] == [1]
        with pytest.raises(VersionDeletedError):
            aliases.set_alias(tx, "fraud", 2, alias="canary", **WHO)
        with pytest.raises(VersionDeletedError):
            version_changes.update_version(tx, "fraud", 2, {"description": "x"}, **WHO)
        assert versions.add_version(tx, draft(), **WHO)[0].number == 3
        assert version_changes.restore_version(tx, "fraud", 2, **WHO).deleted_us == 0


@pytest.mark.parametrize("before", list(Stage))
@pytest.mark.parametrize("after", list(Stage))
def test_stages_move_as_the_table_says(fraud, before, after):
    allowed = {
        (Stage.DEVELOPMENT, Stage.STAGING),
        (Stage.DEVELOPMENT, Stage.ARCHIVED),
        (Stage.STAGING, Stage.DEVELOPMENT),
        (Stage.STAGING, Stage.ARCHIVED),
        (Stage.ARCHIVED, Stage.DEVELOPMENT),
    }
    with fraud.write() as tx:
        if before is Stage.PRODUCTION:
            champion.promote(tx, "fraud", 1, **WHO)
        else:
            versions.set_stage(tx, "fraud", 1, stage=before)
        if before is after or (before, after) in allowed:
            assert version_changes.move_stage(tx, "fraud", 1, after, **WHO).stage is after
        else:
            with pytest.raises(StageMoveError):
                version_changes.move_stage(tx, "fraud", 1, after, **WHO)
            assert versions.get_version(tx, "fraud", 1).stage is before


def test_production_is_the_version_that_holds_champion_and_nothing_else(fraud):
    with fraud.write() as tx:
        champion.promote(tx, "fraud", 1, **WHO)
        champion.promote(tx, "fraud", 2, **WHO)
        stages = [each.stage for each in versions.list_versions(tx, "fraud", limit_max=10)]
        assert stages == [Stage.PRODUCTION, Stage.STAGING]
        aliases.remove_alias(tx, "fraud", "champion", **WHO)
        assert versions.get_version(tx, "fraud", 2).stage is Stage.STAGING


def test_an_archived_version_cannot_be_named_until_it_is_taken_back(fraud):
    with fraud.write() as tx:
        version_changes.move_stage(tx, "fraud", 2, Stage.ARCHIVED, **WHO)
        with pytest.raises(StageMoveError, match="development first"):
            champion.promote(tx, "fraud", 2, **WHO)
        version_changes.move_stage(tx, "fraud", 2, Stage.DEVELOPMENT, **WHO)
        champion.promote(tx, "fraud", 2, **WHO)


def test_a_version_that_an_alias_names_is_not_archived(fraud):
    with fraud.write() as tx:
        aliases.set_alias(tx, "fraud", 2, alias="canary", **WHO)
        with pytest.raises(StillNeededError, match="canary"):
            version_changes.move_stage(tx, "fraud", 2, Stage.ARCHIVED, **WHO)


def test_a_parent_must_exist_so_there_is_no_cycle(fraud, draft):
    for facts in (
        VersionFacts(parents=(3,)),
        VersionFacts(parents=(4,)),
        VersionFacts(parents_elsewhere=(("nobody", 1),)),
        VersionFacts(parents_elsewhere=(("fraud", 3),)),
    ):
        with pytest.raises(VersionMissingError), fraud.write() as tx:
            versions.add_version(tx, draft(facts=facts), **WHO)
    with fraud.read() as tx:
        assert models.get_model(tx, "fraud").latest_version == 2


@pytest.mark.parametrize("alias", ["latest", "v1", "v12", "1", "Champion", "", "a" * 64, "-x"])
def test_reserved_and_malformed_aliases_are_refused(fraud, alias):
    with fraud.write() as tx, pytest.raises(NameInvalidError):
        aliases.set_alias(tx, "fraud", 1, alias=alias, **WHO)


def test_an_alias_that_was_removed_goes_on_counting(fraud):
    with fraud.write() as tx:
        aliases.set_alias(tx, "fraud", 1, alias="canary", generation=0, **WHO)
        aliases.remove_alias(tx, "fraud", "canary", generation=1, **WHO)
        move = aliases.set_alias(tx, "fraud", 2, alias="canary", generation=0, **WHO)
        assert move.generation == 3
        history = alias_history(tx, "fraud", alias="canary", limit_max=10)
    assert [(each.to_version, each.removed) for each in history] == [(2, False), (1, True), (1, False)]


def test_who_held_an_alias_at_a_time_is_one_question(fraud):
    with fraud.write() as tx:
        for number, time_us in ((1, 100), (2, 200), (1, 300)):
            champion.promote(tx, "fraud", number, actor="ada", now_us=time_us)
        aliases.remove_alias(tx, "fraud", "champion", actor="ada", now_us=400)
        held = [alias_at(tx, "fraud", "champion", time_us=time) for time in (99, 100, 199, 200, 350, 400)]
    assert [None if each is None else each.to_version for each in held] == [None, 1, 1, 2, 1, None]


def test_an_alias_with_an_end_is_removed_when_it_comes(fraud):
    now_us = WHO["now_us"]
    with fraud.write() as tx:
        with pytest.raises(NameInvalidError):
            aliases.set_alias(tx, "fraud", 1, alias="champion", expires_us=now_us + 10, **WHO)
        with pytest.raises(NameInvalidError):
            aliases.set_alias(tx, "fraud", 1, alias="canary", expires_us=now_us, **WHO)
        aliases.set_alias(tx, "fraud", 1, alias="canary", expires_us=now_us + 10, **WHO)
        assert aliases.remove_expired(tx, now_us=now_us + 9) == []
        assert [move.alias for move in aliases.remove_expired(tx, now_us=now_us + 10)] == ["canary"]
        assert models.get_model(tx, "fraud").aliases == ()
        assert aliases.remove_expired(tx, now_us=now_us + 11) == []
