"""A database of an earlier schema is brought to the newest with all that is in it."""

from __future__ import annotations

import json
import pathlib

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text

import storage.migrations
from registry.alias_history import alias_history
from registry.models import get_model
from registry.records import Alias, Stage
from registry.search import search_versions
from registry.versions import get_version
from storage.database import open_database

MIGRATIONS = pathlib.Path(storage.migrations.__file__).parent
SCHEMAS = sorted(path.stem[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))
SIGNATURE = {
    "inputs": [{"name": "x", "dtype": "float32", "shape": [-1, 3]}],
    "outputs": [{"name": "y", "dtype": "float32", "shape": [-1, 1]}],
}
FACTS = {
    "description": "first",
    "algorithm": "linear",
    "framework": "",
    "parameters": {"depth": "3"},
    "metrics": {"auc": 0.75},
    "data_fingerprint": "d1",
    "code_fingerprint": "",
    "parents": [],
    "feature_set": "",
    "parity": None,
    "tags": {"team": "risk"},
}
FIRST_REGISTRY = "0002"
FILTER = "metrics.auc > 0.7 AND tags.team = risk AND parameters.depth = 3 AND alias = champion"
ROWS = (
    ("UPDATE revision SET value = 1", {}),
    (
        (
            "INSERT INTO changes (revision, kind, resource, actor, detail, time_us) "
            "VALUES (1, 'alias.moved', 'models/fraud', 'ada', '{}', 7)"
        ),
        {},
    ),
    (
        (
            "INSERT INTO models (id, description, owner, tags, created_us, created_by, latest_version) "
            "VALUES ('fraud', 'cards', 'risk', '{}', 5, 'ada', 1)"
        ),
        {},
    ),
    (
        (
            "INSERT INTO versions (model, number, artifact_sha256, artifact_bytes, signature, facts, feature_set, "
            "feature_set_digest, feature_input, probe_sha256, probe_rows, stage, created_us, created_by) "
            "VALUES ('fraud', 1, :sha256, 9, :signature, :facts, '', '', '', '', 0, 'production', 6, 'ada')"
        ),
        {
            "sha256": "a" * 64,
            "signature": json.dumps(SIGNATURE),
            "facts": json.dumps(FACTS),
        },
    ),
    ("INSERT INTO aliases (model, alias, version, generation) VALUES ('fraud', 'champion', 1, 1)", {}),
    (
        (
            "INSERT INTO alias_moves (model, alias, generation, revision, from_version, to_version, time_us, actor, "
            "reason, evidence, rollback) VALUES ('fraud', 'champion', 1, 1, 0, 1, 7, 'ada', 'first', '{}', false)"
        ),
        {},
    ),
)


def upgrade(url, schema):
    """Bring the database to a schema, as the release that had it did, and put a model in when it is the first."""
    engine = create_engine(url)
    with engine.begin() as tx:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = tx
        command.upgrade(config, FIRST_REGISTRY)
        for statement, values in ROWS:
            tx.execute(text(statement), values)
        command.upgrade(config, schema)
    engine.dispose()


@pytest.mark.parametrize("schema", SCHEMAS[1:])
def test_what_an_earlier_schema_holds_is_there_in_the_newest(empty_database_url, schema):
    upgrade(empty_database_url, schema)
    database = open_database(empty_database_url)
    with database.read() as tx:
        model, version = get_model(tx, "fraud"), get_version(tx, "fraud", 1)
        found = search_versions(tx, filter_text=FILTER, limit_max=9).versions
        (move,) = alias_history(tx, "fraud", limit_max=9)
    database.close()
    assert (model.description, model.owner, model.aliases) == ("cards", "risk", (Alias("champion", 1, 1),))
    assert (version.artifact_sha256, version.stage, version.created_us) == ("a" * 64, Stage.PRODUCTION, 6)
    assert (version.facts.metrics, version.facts.data_fingerprint) == ({"auc": 0.75}, "d1")
    assert (version.description, version.tags) == ("first", {"team": "risk"})
    assert [each.number for each in found] == [1], "what is searched was made of what was there"
    assert (move.to_version, move.time_us, move.reason, move.removed) == (1, 7, "first", False)
