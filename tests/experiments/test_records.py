from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import inspect

from experiments import life, records, tables
from experiments.assignment import assignment_document, compile_assignment
from experiments.definition import State, Variant
from experiments.errors import (
    ExperimentChangedError,
    ExperimentExistsError,
    ExperimentInvalidError,
    ExperimentMissingError,
    ExperimentStateError,
    ModelBusyError,
    SharesInvalidError,
    VariantUnknownError,
)
from storage.database import open_database
from storage.errors import ConflictError
from storage.revision import current_revision, list_changes

WHO = {"actor": "ada", "now_us": 1_000}


@pytest.fixture
def running(database, make_experiment):
    with database.write() as tx:
        records.create(tx, make_experiment(), **WHO)
        return life.start(tx, "v1-against-v2", actor="ada", now_us=2_000).experiment


def test_what_was_created_is_read_back(database, make_experiment):
    with database.write() as tx:
        created = records.create(tx, make_experiment(description="a try", owner="ada", coverage=0.25, seed=""), **WHO)
    with database.read() as tx:
        found = records.get(tx, "v1-against-v2")
    assert found == created.experiment
    assert found.seed == "v1-against-v2"
    assert (found.state, found.epoch, found.allocation) == (State.DRAFT, 0, None)
    assert found.variants == make_experiment().variants
    assert found.metrics == make_experiment().metrics
    assert found.etag == str(created.revision)
    assert found.created_us == 1_000


def test_an_id_is_given_once(database, make_experiment):
    with database.write() as tx:
        records.create(tx, make_experiment(), **WHO)
    with pytest.raises(ExperimentExistsError), database.write() as tx:
        records.create(tx, make_experiment(), **WHO)


def test_a_definition_that_breaks_a_rule_changes_nothing(database, make_experiment):
    with pytest.raises(ExperimentInvalidError), database.write() as tx:
        records.create(tx, make_experiment(metrics=()), **WHO)
    with database.read() as tx:
        assert current_revision(tx) == 0
        assert records.list_page(tx, limit_max=10) == []


def test_a_missing_experiment_is_said_to_be_missing(database):
    with database.read() as tx, pytest.raises(ExperimentMissingError):
        records.get(tx, "nothing")


def test_experiments_are_paged_by_id(database, make_experiment):
    with database.write() as tx:
        for name in ("b", "c", "a", "d"):
            records.create(tx, make_experiment(id=name), **WHO)
    with database.read() as tx:
        first = records.list_page(tx, limit_max=3)
        rest = records.list_page(tx, after=first[-1].id, limit_max=3)
    assert [each.id for each in first] == ["a", "b", "c"]
    assert [each.id for each in rest] == ["d"]
    assert [each.variant for each in rest[0].variants] == ["control", "treatment"]


def test_starting_opens_the_first_epoch(running):
    assert (running.state, running.epoch, running.started_us) == (State.RUNNING, 1, 2_000)
    assert running.allocation.counts() == (5000, 5000)


def test_one_experiment_runs_on_a_model(database, make_experiment, running):
    with database.write() as tx:
        records.create(tx, make_experiment(id="other"), **WHO)
        records.create(tx, make_experiment(id="elsewhere", model="another"), **WHO)
        life.start(tx, "elsewhere", **WHO)
        with pytest.raises(ModelBusyError):
            life.start(tx, "other", **WHO)
        life.conclude(tx, running.id, **WHO)
        life.start(tx, "other", **WHO)
        assert [each.id for each in records.list_running(tx)] == ["elsewhere", "other"]


def test_a_split_opens_an_epoch_and_says_how_much_moved(database, running):
    with database.write() as tx:
        changed = records.set_split(
            tx, running.id, {"control": 0.2, "treatment": 0.8}, etag=running.etag, actor="bob", now_us=3_000
        )
        epochs = records.epochs(tx, running.id)
    assert changed.moved_share == pytest.approx(0.3)
    assert changed.experiment.epoch == 2
    assert changed.experiment.shares == (0.2, 0.8)
    assert [each.epoch for each in epochs] == [1, 2]
    assert epochs[0] == running.allocation
    assert epochs[1] == changed.experiment.allocation
    assert changed.experiment.etag != running.etag


def test_a_draft_changes_its_shares_without_an_epoch(database, make_experiment):
    with database.write() as tx:
        records.create(tx, make_experiment(), **WHO)
        changed = records.set_split(tx, "v1-against-v2", {"control": 0.9, "treatment": 0.1}, **WHO)
        assert (changed.experiment.epoch, changed.moved_share) == (0, 0.0)
        assert life.start(tx, "v1-against-v2", **WHO).experiment.allocation.counts() == (9000, 1000)


def test_a_split_on_an_old_etag_is_aborted_and_changes_nothing(database, running):
    with database.write() as tx:
        records.set_split(tx, running.id, {"control": 0.4, "treatment": 0.6}, etag=running.etag, **WHO)
    with pytest.raises(ExperimentChangedError) as refused, database.write() as tx:
        records.set_split(tx, running.id, {"control": 0.1, "treatment": 0.9}, etag=running.etag, **WHO)
    assert isinstance(refused.value, ConflictError)
    with database.read() as tx:
        assert records.get(tx, running.id).shares == (0.4, 0.6)


def test_of_two_administrators_with_one_etag_exactly_one_wins(database, running):
    def split(share):
        try:
            with database.write() as tx:
                records.set_split(tx, running.id, {"control": share, "treatment": 1 - share}, etag=running.etag, **WHO)
        except ExperimentChangedError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(split, (0.1, 0.2, 0.3, 0.4))) == 1


@pytest.mark.parametrize(
    ("shares", "error"),
    [
        ({"control": 1.0}, SharesInvalidError),
        ({"control": 0.5, "treatment": 0.4}, SharesInvalidError),
        ({"control": 0.5, "nobody": 0.5}, VariantUnknownError),
    ],
)
def test_a_split_that_is_none_changes_nothing(database, running, shares, error):
    with pytest.raises(error), database.write() as tx:
        records.set_split(tx, running.id, shares, **WHO)
    with database.read() as tx:
        assert records.get(tx, running.id) == running


def test_concluding_keeps_the_winner_and_the_last_split(database, running):
    with database.write() as tx:
        done = life.conclude(tx, running.id, winner="treatment", reason="better", actor="ada", now_us=9_000)
        assert records.list_running(tx) == []
        change = list_changes(tx, before_revision=None, limit_max=1)[0]
    assert (done.experiment.state, done.experiment.winner) == (State.CONCLUDED, "treatment")
    assert done.experiment.concluded_us == 9_000
    assert done.experiment.allocation == running.allocation
    assert (change.kind, change.actor) == ("experiment.concluded", "ada")
    assert change.detail == {"winner": "treatment", "reason": "better", "model": f"models/{running.model}"}


def test_a_winner_is_one_of_the_variants(database, running):
    with pytest.raises(VariantUnknownError), database.write() as tx:
        life.conclude(tx, running.id, winner="nobody", **WHO)


def test_what_the_state_does_not_allow_is_refused(database, make_experiment):
    with database.write() as tx:
        records.create(tx, make_experiment(), **WHO)
        with pytest.raises(ExperimentStateError):
            life.conclude(tx, "v1-against-v2", **WHO)
        life.start(tx, "v1-against-v2", **WHO)
        with pytest.raises(ExperimentStateError):
            life.start(tx, "v1-against-v2", **WHO)
        life.conclude(tx, "v1-against-v2", **WHO)
        with pytest.raises(ExperimentStateError):
            records.set_split(tx, "v1-against-v2", {"control": 0.1, "treatment": 0.9}, **WHO)
        with pytest.raises(ExperimentStateError):
            life.start(tx, "v1-against-v2", **WHO)


def test_every_change_raises_the_revision_and_is_on_record(database, running):
    with database.write() as tx:
        changed = records.set_split(tx, running.id, {"control": 0.25, "treatment": 0.75}, **WHO)
    with database.read() as tx:
        assert current_revision(tx) == changed.revision
        kinds = [each.kind for each in list_changes(tx, before_revision=None, limit_max=10)]
    assert kinds == ["experiment.split", "experiment.started", "experiment.created"]


def test_a_restart_gives_the_same_assignments(database_url, database, make_experiment):
    variants = tuple(
        Variant(variant=f"v{n}", version=n + 1, share=share, control=n == 0) for n, share in enumerate((0.2, 0.3, 0.5))
    )
    with database.write() as tx:
        records.create(tx, make_experiment(variants=variants), **WHO)
        life.start(tx, "v1-against-v2", **WHO)
        shares = {"v0": 0.5, "v1": 0.1, "v2": 0.4}
        before = compile_assignment(
            assignment_document(records.set_split(tx, "v1-against-v2", shares, **WHO).experiment)
        )
    again = open_database(database_url)
    try:
        with again.read() as tx:
            after = compile_assignment(assignment_document(records.get(tx, "v1-against-v2")))
    finally:
        again.close()
    assert [before.assign(f"u{n}") for n in range(500)] == [after.assign(f"u{n}") for n in range(500)]


def test_the_migration_makes_the_tables_that_are_declared(database):
    with database.read() as tx:
        inspector = inspect(tx)
        for table in (
            tables.experiments,
            tables.experiment_variants,
            tables.experiment_metrics,
            tables.experiment_epochs,
            tables.experiment_looks,
        ):
            made = {each["name"]: each for each in inspector.get_columns(table.name)}
            assert set(made) == {column.name for column in table.columns}
            for column in table.columns:
                assert str(made[column.name]["type"]) == str(column.type.compile(tx.dialect))
                assert made[column.name]["nullable"] == column.nullable
