"""A database of an older release keeps its experiments when it is opened by this one."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, insert, select, text

import storage
from experiments import life, records, tables
from experiments.definition import State
from storage.database import open_database

BEFORE = """
INSERT INTO changes (revision, kind, resource, actor, detail, time_us) VALUES (1, 'k', 'r', 'ada', '{}', 1);
INSERT INTO experiments VALUES ('old', 'flight-delay', '', '', 1.0, 'old', 0.05, 100, 'running', 1, '1', 1, 'ada', 2, 0,
    '', '{}');
INSERT INTO experiment_variants VALUES ('old', 0, 'a', 1, '', 0.5, true);
INSERT INTO experiment_variants VALUES ('old', 1, 'b', 2, '', 0.5, false);
INSERT INTO experiment_metrics VALUES ('old', 0, 'm', 'mean', 'late', '', 0, 'decrease', 'success', '{}');
INSERT INTO experiment_epochs VALUES ('old', 1, '[0.5, 0.5]', '[[0, 5000, 0], [5000, 5000, 1]]', 0, 1, 2);
UPDATE revision SET value = 1;
"""


@pytest.fixture
def of_release_before(empty_database_url):
    """Return the address of a database as it was before experiments could be paused, with one that runs."""
    engine = create_engine(empty_database_url)
    with engine.begin() as tx:
        config = Config()
        config.set_main_option("script_location", str(Path(storage.__file__).parent / "migrations"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = tx
        command.upgrade(config, "0008")
        for statement in BEFORE.split(";")[:-1]:
            tx.execute(text(statement))
    engine.dispose()
    return empty_database_url


def test_an_experiment_that_ran_goes_on_and_can_be_paused(of_release_before):
    database = open_database(of_release_before)
    try:
        with database.write() as tx:
            found = records.get(tx, "old")
            assert (found.state, found.shares, found.allocation.counts()) == (State.RUNNING, (0.5, 0.5), (5000, 5000))
            assert life.pause(tx, "old", actor="ada", now_us=9).experiment.state is State.PAUSED
        with database.read() as tx:
            assert len(tx.execute(select(tables.experiment_metrics)).all()) == 1
        # Foreign keys are held again, and still refer to the table that was made anew.
        row = {"experiment": "nobody", "position": 0, "variant": "a", "version": 1, "alias": "", "share": 1.0}
        with pytest.raises(Exception, match=r"(?i)foreign key"), database.write() as tx:
            tx.execute(insert(tables.experiment_variants).values(**row, control=True))
    finally:
        database.close()
