from __future__ import annotations

import duckdb
import pytest

from trainer.demo import flights


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    flights.prepare(folder)
    return folder


@pytest.fixture
def offline(sources):
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for name in ("flights", "planes", "weather"):
            connection.execute(f"CREATE VIEW {name} AS SELECT * FROM '{sources / name}.parquet'")
        yield connection
