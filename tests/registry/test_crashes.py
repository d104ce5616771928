"""A publisher is killed at random points; what it leaves is whole or not there."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from registry.artifacts import LocalArtifacts
from registry.upkeep import collect_artifacts, needed_artifacts, problem_of, unneeded
from registry.uploads import KEPT_BYTES_MIN, Uploads
from registry.versions import list_versions
from storage.database import open_database

SEED = 20261124
FILE_BYTES = 3 * KEPT_BYTES_MIN

# Publishes for ever, and dies where it is told: after so many chunks of the upload, or after so many puts into the
# store, which is between the bytes and the row.
PUBLISHER = """
import hashlib, os, signal, sys, time
from pathlib import Path

from gateway.control.publication import FeatureSetShape, Publication
from gateway.control.publish import Publisher
from registry.artifacts import LocalArtifacts
from registry.probe import Probe
from registry.records import Signature, TensorSpec, VersionFacts
from storage.clock import SystemClock
from storage.database import open_database
import numpy as np

url, folder = sys.argv[1], Path(sys.argv[2])
seed, die_after_chunks, die_after_puts, file_bytes = map(int, sys.argv[3:])


class Trial:
    # What a graph takes is not the matter here, and trying one takes a process.
    def signature(self, file, probe, deployment=None):
        return Signature((TensorSpec("x", "float32", (-1, 1)),), (TensorSpec("y", "float32", (-1, 1)),))


class Artifacts(LocalArtifacts):
    def put(self, *arguments, **named):
        global die_after_puts
        length = super().put(*arguments, **named)
        die_after_puts -= 1
        if die_after_puts == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return length


def chunks(data, offset):
    global die_after_chunks
    for at in range(offset, len(data), 64 * 1024):
        die_after_chunks -= 1
        if die_after_chunks == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        yield data[at : at + 64 * 1024]


publisher = Publisher(
    database=open_database(url), artifacts=Artifacts(folder / "artifacts"), clock=SystemClock(), trial=Trial(),
    feature_sets=lambda set_id, tx: FeatureSetShape(1, ""), scratch=folder / "scratch",
)
rows = np.full((2, 1), seed, np.float32)
print("ready", flush=True)
for number in range(10**9):
    data = hashlib.sha256(f"{seed} {number}".encode()).digest() * (file_bytes // 32)
    sha256 = hashlib.sha256(data).hexdigest()
    offset = publisher.uploads.received(sha256)
    publisher.publish(
        Publication("m", sha256, VersionFacts(), Probe({"x": rows + number}, {"y": rows}), offset=offset),
        chunks(data, offset), actor="test",
    )
"""


def publish_until_killed(url, folder, random_, seed):
    """Run a publisher that is killed at a random point: in an upload, between blob and row, or at any time."""
    way = random_.choice(("chunk", "put", "time"))
    after_chunks = random_.randrange(1, 200) if way == "chunk" else 0
    after_puts = random_.randrange(1, 9) if way == "put" else 0
    told = [url, folder, seed, after_chunks, after_puts, FILE_BYTES]
    process = subprocess.Popen([sys.executable, "-c", PUBLISHER, *map(str, told)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    if way == "time":
        time.sleep(random_.uniform(0, 0.5))
        os.kill(process.pid, signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    process.stdout.close()
    return way


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_whenever_a_publisher_is_killed_no_version_is_without_its_bytes(database_url, tmp_path, kills):
    random_ = random.Random(SEED)  # noqa: S311  (a seed that fails must fail again)
    database = open_database(database_url)
    artifacts = LocalArtifacts(tmp_path / "artifacts")
    ways, versions, orphans = [], 0, 0
    for kill in range(kills):
        # The same seed twice: the second goes on with the upload that the first left behind.
        ways.append(publish_until_killed(database_url, tmp_path, random_, seed=kill // 2))
        with database.read() as tx:
            found = list_versions(tx, "m", limit_max=10**6)
            needed = needed_artifacts(tx)
        assert [version.number for version in reversed(found)] == list(range(1, len(found) + 1))
        assert len(found) >= versions
        versions = len(found)
        assert [problem_of(artifacts, each.sha256) for each in needed] == [None] * len(needed)
        orphans = max(orphans, len(list(unneeded(artifacts, needed))))
    artifacts.clear_incoming()
    left = list(unneeded(artifacts, needed))
    collected = collect_artifacts(database, artifacts, before_us=time.time_ns(), dry_run=False)
    assert {kept.sha256 for kept in collected.artifacts} == {kept.sha256 for kept in left}
    assert {kept.sha256 for kept in artifacts.listed()} == {each.sha256 for each in needed}
    assert [problem_of(artifacts, each.sha256) for each in needed] == [None] * len(needed)
    Uploads(tmp_path / "scratch", grace_s=-1)
    files = {path.name for path in tmp_path.rglob("*") if path.is_file() and "turnout.db" not in path.name}
    assert files == {each.sha256 for each in needed}, "nothing else is left"
    assert hashlib.sha256(b"").hexdigest() not in files
    database.close()
    ways = {way: ways.count(way) for way in sorted(set(ways))}
    told = f"{kills} kills {ways}: {versions} versions, all whole; at most {orphans} orphans at a time, all collected"
    sys.stdout.write(f"\n{told}\n")
