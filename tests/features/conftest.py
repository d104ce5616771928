"""A real Redis and the online stores, opened afresh for each test."""

from __future__ import annotations

import math

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


class Published:
    """A folder of snapshots as both sides see it: whatever is written is read from the snapshot that has it."""

    def __init__(self, folder):
        url = f"snapshot://{folder}"
        self.writer = open_store(url, writable=True)
        self.reader = open_store(url, writable=False)
        self.far = self.reader.far

    def put_many(self, pairs, *, kept_us=0):
        changed = self.writer.put_many(pairs, kept_us=kept_us)
        self._publish()
        return changed

    def forget(self, prefix, before_us):
        removed = self.writer.forget(prefix, before_us)
        self._publish()
        return removed

    def get_many(self, keys, *, until=math.inf):
        return self.reader.get_many(keys, until=until)

    def tables(self):
        return self.reader.tables()

    def scan(self):
        assert sorted(self.writer.scan()) == sorted(self.reader.scan())
        return self.reader.scan()

    def close(self):
        self.reader.close()
        self.writer.close()

    def _publish(self):
        self.writer.publish()
        self.reader.look()


@pytest.fixture
def open_empty(request, tmp_path):
    """Return a function that opens an empty store of a kind."""

    def open_one(kind):
        if kind == "snapshot":
            return Published(tmp_path / "snapshots")
        if kind == "lmdb":
            return open_store(f"lmdb://{tmp_path}/online", writable=True)
        url = request.getfixturevalue("redis_url")
        with redis.Redis.from_url(url) as client:
            client.flushall()
        return open_store(url, writable=True, read_budget_ms=2000)

    return open_one


@pytest.fixture(params=["lmdb", "redis", "snapshot"])
def store(request, open_empty):
    """Each of the online stores, empty."""
    opened = open_empty(request.param)
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
