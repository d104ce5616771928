"""Several processes publish to one model at once, as several control planes do."""

import itertools
import subprocess
import sys

import pytest

from registry.versions import list_versions
from storage.database import open_database

PROCESSES = 8
SHORT = 6
LONG = pytest.param(50, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])

# Waits for a line, so that all begin together; then publishes so many versions of bytes of its own.
PUBLISHER = """
import hashlib, sys
from pathlib import Path

from gateway.control.publication import FeatureSetShape, Publication
from gateway.control.publish import Publisher
from registry.artifacts import LocalArtifacts
from registry.records import Signature, TensorSpec, VersionFacts
from storage.clock import SystemClock
from storage.database import open_database

url, folder, name, count = sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])


class Trial:
    # What a graph takes is not the matter here, and trying one takes a process.
    def signature(self, file, probe, deployment=None):
        return Signature((TensorSpec("x", "float32", (-1, 1)),), (TensorSpec("y", "float32", (-1, 1)),))


publisher = Publisher(
    database=open_database(url), artifacts=LocalArtifacts(folder / "artifacts"), clock=SystemClock(), trial=Trial(),
    feature_sets=lambda set_id, tx: FeatureSetShape(1, ""), scratch=folder / f"scratch-{name}",
)
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    data = f"{name} {number}".encode()
    publication = Publication("m", hashlib.sha256(data).hexdigest(), VersionFacts(description=data.decode()))
    publisher.publish(publication, [data], actor=name)
"""


@pytest.mark.parametrize("each", [SHORT, LONG])
def test_versions_that_many_processes_publish_at_once_are_numbered_without_a_gap(database_url, tmp_path, each):
    database = open_database(database_url)
    told = [[sys.executable, "-c", PUBLISHER, database_url, tmp_path, f"p{n}", str(each)] for n in range(PROCESSES)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for command in told]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * PROCESSES
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    ends = [(process.communicate(timeout=1200)[1], process.returncode) for process in processes]
    assert ends == [("", 0)] * PROCESSES
    with database.read() as tx:
        versions = list_versions(tx, "m", limit_max=10**4)
    database.close()
    numbers = sorted(version.number for version in versions)
    assert numbers == list(range(1, PROCESSES * each + 1))
    assert {version.facts.description for version in versions} == {
        f"p{process} {number}" for process in range(PROCESSES) for number in range(each)
    }
    by_process = [[v.number for v in reversed(versions) if v.created_by == f"p{n}"] for n in range(PROCESSES)]
    assert all(line == sorted(line) for line in by_process)
    turns = sum(a.created_by != b.created_by for a, b in itertools.pairwise(versions))
    told = f"{PROCESSES} processes, {each} versions each: {numbers[0]} … {numbers[-1]}, no gap; {turns} changes of turn"
    sys.stdout.write(f"\n{told}\n")
