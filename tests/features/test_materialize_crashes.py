"""A materialization that is killed again and again ends as one that was never disturbed."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import lmdb
import pytest

from features.definitions import BoundView, Feature, Source, View
from features.materialize import materialize
from features.offline import OfflineLimits
from features.store import open_store

ENTITIES = 60_000
DAY_US = 86_400_000_000
# Runs until the file is where it should be, one line a chunk; its parent kills it when it pleases.
CHILD = """
import sys
from pathlib import Path
from tests_materialize import run
run(Path(sys.argv[1]), int(sys.argv[2]), lambda chunk: print(chunk.entities, flush=True))
"""


def view_of(folder):
    sql = "SELECT a, b, event_time, created_time, deleted, v, w FROM facts"
    features = (Feature(name="v"), Feature(name="w", default=1.0))
    view = View(name="facts", join_keys=("a", "b"), sql=sql, features=features)
    source = Source(name="facts", kind="parquet", path=str(folder / "facts.parquet"))
    return BoundView(view=view, schema_id=3), [source]


def run(folder, until_us, on_chunk=lambda _chunk: None, name="online"):
    bound, sources = view_of(folder)
    store = open_store(f"lmdb://{folder}/{name}", writable=True)
    materialize(
        store, bound, sources=sources, until_us=until_us, now_us=until_us, limits=OfflineLimits(), on_chunk=on_chunk
    )
    store.close()


def content(folder, name):
    with lmdb.open(str(folder / name), readonly=True) as environment, environment.begin() as reading:
        return {key: value for key, value in reading.cursor() if not key.startswith(b"p1:")}


def kill_and_resume(folder, kills, seed):
    rng = random.Random(seed)  # noqa: S311  # a place to be killed at is no secret
    duckdb.sql(
        f"COPY (SELECT 'a' || (i % 251) AS a, 'b' || (i * 7 % {ENTITIES}) AS b, "
        "make_timestamp(CAST(hash(i) % 20 AS BIGINT) * 86400000000) AS event_time, "
        "event_time + to_days(CAST(hash(i, 1) % 3 AS INTEGER)) AS created_time, hash(i, 2) % 10 = 0 AS deleted, "
        "CASE WHEN hash(i, 3) % 7 = 0 THEN NULL ELSE i / 8 END AS v, i AS w "
        f"FROM range({2 * ENTITIES}) AS t(i)) TO '{folder / 'facts.parquet'}' (FORMAT parquet)"
    )
    stops = [DAY_US * day for day in (5, 12, 30)]
    for stop in stops:
        run(folder, stop, name="undisturbed")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), str(folder)])}
    (folder / "tests_materialize.py").write_bytes(Path(__file__).read_bytes())
    died, at = 0, 0
    while died < kills:
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder), str(stops[at])], env=environment, stdout=subprocess.PIPE
        )
        for _ in range(rng.randint(0, 3)):
            child.stdout.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(rng.random() * 0.03)
        child.kill()
        killed = child.wait() == -signal.SIGKILL
        child.stdout.close()
        died += killed
        if not killed:  # it came to its end before
            at += 1
        if at == len(stops):
            assert content(folder, "online") == content(folder, "undisturbed")
            shutil.rmtree(folder / "online")
            at = 0
    for stop in stops[at:]:
        run(folder, stop)
    assert content(folder, "online") == content(folder, "undisturbed")
    assert len(content(folder, "online")) > ENTITIES // 2


def test_a_run_that_is_killed_six_times_ends_as_one_that_was_not(tmp_path):
    kill_and_resume(tmp_path, 6, seed=1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 12))
def test_runs_that_are_killed_fifty_times_end_as_ones_that_were_not(seed, tmp_path):
    kill_and_resume(tmp_path, 5, seed=seed)


def test_a_run_that_ends_early_is_gone_on_with_and_not_begun_again(tmp_path):
    duckdb.sql(
        "COPY (SELECT 'a' AS a, 'b' || i AS b, TIMESTAMP '1970-01-01' AS event_time, event_time AS created_time, "
        f"false AS deleted, i AS v, i AS w FROM range({ENTITIES}) AS t(i)) "
        f"TO '{tmp_path / 'facts.parquet'}' (FORMAT parquet)"
    )
    seen = []

    def until_three(chunk):
        seen.append(chunk.entities)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, DAY_US, until_three)
    rest = []
    run(tmp_path, 2 * DAY_US, lambda chunk: rest.append(chunk.entities))
    assert sum(seen) + sum(rest) == ENTITIES  # each entity was looked at once
    run(tmp_path, 2 * DAY_US, lambda chunk: rest.append(chunk.entities))
    assert sum(seen) + sum(rest) == ENTITIES
