"""A real Redis and the two online stores, opened afresh for each test."""

from __future__ import annotations

import duckdb
import pytest
import redis

from features.definitions import Source
from features.offline import OfflineLimits
from features.store import open_store


@pytest.fixture(scope="session")
def redis_url(start_redis, tmp_path_factory):
    server = start_redis(tmp_path_factory.mktemp("redis"))
    yield server.url
    server.stop()


@pytest.fixture(params=["lmdb", "redis"])
def store(request, tmp_path):
    if request.param == "lmdb":
        url = f"lmdb://{tmp_path}/online"
    else:
        url = request.getfixturevalue("redis_url")
        client = redis.Redis.from_url(url)
        client.flushall()
        client.close()
    opened = open_store(url, writable=True, read_budget_ms=2000)
    yield opened
    opened.close()


@pytest.fixture
def write_source(tmp_path):
    """Return a function that writes a SELECT's rows to a file and gives the source that declares it."""

    def write(name, select, kind="parquet"):
        path = tmp_path / f"{name}.{kind}"
        duckdb.sql(f"COPY ({select}) TO '{path}' (FORMAT {kind})")
        return Source(name=name, kind=kind, path=str(path), null_text="NA")

    return write


@pytest.fixture
def limits(tmp_path):
    return OfflineLimits(memory_bytes_max=256 * 1024**2, scratch=tmp_path)
