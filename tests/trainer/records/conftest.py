from __future__ import annotations

import pytest

from storage.database import open_database
from trainer.records.rules import definition_of

MINUTE_US = 60_000_000
START_US = 1_700_000_000_000_000


def document(**changes):
    return {
        "model": "iris",
        "data": {"feature_set": "petals", "label_sql": "SELECT 1", "label_delay_us": MINUTE_US},
        "training": {"estimator": {"path": "sklearn.linear_model.LogisticRegression"}},
        "check": {"interval_us": 60 * MINUTE_US, "jitter_us": 0},
        "triggers": [{"kind": "time", "settings": {"age_us": 5}}, {"kind": "volume"}],
        "notifications": {"on_trigger": True, "on_completion": True},
        **changes,
    }


@pytest.fixture
def database(tmp_path):
    opened = open_database(f"sqlite:///{tmp_path}/turnout.db")
    yield opened
    opened.close()


@pytest.fixture
def define():
    """Return what makes a definition, with changes of its document."""
    return lambda **changes: definition_of(document(**changes))


@pytest.fixture(name="document")
def _document():
    return document
