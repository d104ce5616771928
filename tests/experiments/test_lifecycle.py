"""The life of an experiment: every verb in every state, and what may be updated in which."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from experiments import life, records, tables
from experiments.definition import Scope, State
from experiments.errors import (
    ExperimentChangedError,
    ExperimentMissingError,
    ExperimentStateError,
    FieldFixedError,
    ModelBusyError,
    SharesInvalidError,
)
from experiments.lifecycle import EDITABLE, TRANSITIONS, Verb
from storage.database import open_database
from storage.revision import current_revision, list_changes

WHO = {"actor": "ada", "now_us": 1_000}
NAME = "v1-against-v2"
REACH = {
    State.DRAFT: (),
    State.RUNNING: (Verb.START,),
    State.PAUSED: (Verb.START, Verb.PAUSE),
    State.CONCLUDED: (Verb.START, Verb.CONCLUDE),
    State.ARCHIVED: (Verb.START, Verb.PAUSE, Verb.CONCLUDE, Verb.ARCHIVE),
}


def do(tx, verb):
    """Do what the verb says to the one experiment; return it, None when it is gone."""
    if verb is Verb.DELETE:
        life.delete(tx, NAME, **WHO)
        return None
    if verb is Verb.SPLIT:
        return records.set_split(tx, NAME, {"control": 0.3, "treatment": 0.7}, **WHO).experiment
    if verb is Verb.UPDATE:
        return records.update(tx, replace(records.get(tx, NAME), owner="bob"), ["owner"], etag="", **WHO).experiment
    return getattr(life, verb.value)(tx, NAME, **WHO).experiment


@pytest.fixture(scope="module")
def one_database(tmp_path_factory):
    opened = open_database(f"sqlite:///{tmp_path_factory.mktemp('life')}/turnout.db")
    yield opened
    opened.close()


@pytest.fixture
def tx(one_database):
    """Give a transaction that leaves nothing behind."""
    with one_database.write() as opened:
        yield opened
        opened.rollback()


@pytest.fixture
def draft(tx, make_experiment):
    return records.create(tx, make_experiment(), **WHO).experiment


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("state", State)
def test_each_verb_does_in_each_state_what_the_table_says(tx, draft, state, verb):
    for step in REACH[state]:
        do(tx, step)
    assert records.get(tx, draft.id).state is state
    before = current_revision(tx)
    if (state, verb) not in TRANSITIONS:
        with pytest.raises(ExperimentStateError):
            do(tx, verb)
        assert current_revision(tx) == before
        return
    found = do(tx, verb)
    change = list_changes(tx, before_revision=None, limit_max=1)[0]
    assert (change.revision, change.resource, change.actor) == (before + 1, f"experiments/{NAME}", "ada")
    expected = TRANSITIONS[state, verb]
    if expected is None:
        with pytest.raises(ExperimentMissingError):
            records.get(tx, NAME)
    else:
        assert found.state is expected


@given(verbs=st.lists(st.sampled_from(list(Verb)), max_size=12))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_walk_of_verbs_stays_in_the_table(one_database, make_experiment, verbs):
    with one_database.write() as tx:
        records.create(tx, make_experiment(), **WHO)
        state, epochs = State.DRAFT, 0
        for verb in verbs:
            if (state, verb) not in TRANSITIONS:
                with pytest.raises(ExperimentStateError):
                    do(tx, verb)
                continue
            found = do(tx, verb)
            if found is None:
                tx.rollback()
                return
            state = TRANSITIONS[state, verb]
            epochs += verb is Verb.START or (verb is Verb.SPLIT and state is not State.DRAFT)
            assert (found.state, found.epoch) == (state, epochs)
        tx.rollback()


@pytest.mark.parametrize("state", State)
def test_what_may_be_updated_is_what_the_table_says(tx, make_experiment, state):
    draft = records.create(tx, make_experiment(coverage=0.25), **WHO).experiment
    new = make_experiment(
        description="another",
        owner="bob",
        coverage=0.5,
        seed="other",
        alpha=0.01,
        minimum_units=7,
        plan=replace(draft.plan, planned_units=100),
        scope=Scope(layer_share=0.5),
        metrics=(replace(draft.metrics[0], metric="other"),),
        variants=tuple(replace(each, version=each.version + 5) for each in draft.variants),
    )
    for step in REACH[state]:
        do(tx, step)
    for field in sorted(EDITABLE[State.DRAFT]):
        before = records.get(tx, NAME)
        if field not in EDITABLE[state]:
            with pytest.raises((FieldFixedError, ExperimentStateError)):
                records.update(tx, new, [field], etag="", **WHO)
            assert records.get(tx, NAME) == before
            continue
        found = records.update(tx, new, [field], etag="", **WHO).experiment
        expected = replace(before, etag=found.etag, **{field: getattr(new, field)})
        if field == "coverage" and state is not State.DRAFT and state is not State.CONCLUDED:
            expected = replace(expected, epoch=before.epoch + 1, allocation=found.allocation)
        assert found == expected


def test_an_update_on_an_old_etag_is_aborted_and_changes_nothing(tx, draft):
    records.update(tx, replace(draft, owner="bob"), ["owner"], etag=draft.etag, **WHO)
    with pytest.raises(ExperimentChangedError):
        records.update(tx, replace(draft, owner="eve"), ["owner"], etag=draft.etag, **WHO)
    with pytest.raises(ExperimentChangedError):
        life.delete(tx, NAME, etag=draft.etag, **WHO)
    assert records.get(tx, NAME).owner == "bob"


def test_an_update_that_breaks_a_rule_changes_nothing(tx, draft):
    wrong = tuple(replace(each, share=0.6) for each in draft.variants)
    with pytest.raises(SharesInvalidError):
        records.update(tx, replace(draft, variants=wrong), ["variants"], etag="", **WHO)
    with pytest.raises(FieldFixedError):
        records.update(tx, draft, ["state"], etag="", **WHO)
    assert records.get(tx, NAME) == draft


def test_the_audit_tells_what_was_before_and_after(tx, draft):
    new = tuple(replace(each, share=share) for each, share in zip(draft.variants, (0.9, 0.1), strict=True))
    records.update(tx, replace(draft, variants=new, owner="bob"), ["variants", "owner"], etag="", **WHO)
    change = list_changes(tx, before_revision=None, limit_max=1)[0]
    assert (change.before["owner"], change.after["owner"]) == ("", "bob")
    assert [each["share"] for each in change.before["variants"]] == [0.5, 0.5]
    assert [each["share"] for each in change.after["variants"]] == [0.9, 0.1]


def test_a_paused_experiment_keeps_its_units_from_others_and_its_split(tx, draft, make_experiment):
    started = life.start(tx, draft.id, **WHO).experiment
    life.pause(tx, NAME, reason="the sensor is broken", **WHO)
    records.create(tx, make_experiment(id="other"), **WHO)
    with pytest.raises(ModelBusyError):
        life.start(tx, "other", **WHO)
    assert records.list_running(tx) == []
    assert life.resume(tx, NAME, **WHO).experiment.allocation == started.allocation
    assert records.epochs(tx, NAME) == [started.allocation]


def test_the_name_of_a_deleted_draft_is_free_again(tx, draft, make_experiment):
    life.delete(tx, draft.id, **WHO)
    again = records.create(tx, make_experiment(description="anew"), **WHO).experiment
    assert again.description == "anew"


def test_the_database_knows_every_state_and_no_other(tx, draft):
    for state in State:
        tx.execute(update(tables.experiments).values(state=state.value))
    with pytest.raises(IntegrityError):
        tx.execute(update(tables.experiments).values(state="lost"))
    assert draft.state is State.DRAFT
