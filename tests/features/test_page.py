"""The page about features while serving: its commands run, its definitions are read, its statuses are all there are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from features.codec import HEADER
from features.grammar import read_definitions
from features.store import open_store
from turnout.serving.v1 import prediction_service_pb2 as pb

ROOT = Path(__file__).parents[2]
VIEW = """
[[view]]
name = "carrier"
join_keys = ["carrier"]
sql = "carrier.sql"
features = [{ name = "late_rate_7d" }]
"""


@pytest.fixture(scope="module")
def page():
    return (ROOT / "docs/features.md").read_text()


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def test_its_commands_run(page, tmp_path):
    store = open_store(f"lmdb://{tmp_path}/online", writable=True)
    store.put_many([(b"k", HEADER.pack(1, 1, 0, 5, 0))])
    store.close()
    [block] = blocks(page, "console")
    environment = os.environ | {"PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    for line in block.splitlines():
        command = line.removeprefix("$ ").replace("/var/lib/turnout", str(tmp_path))
        done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == "1 read, 1 written\n"


def test_its_definitions_are_read(page):
    transformed, degraded = blocks(page, "toml")
    views = VIEW + VIEW.replace("carrier", "share").replace("late_rate_7d", "price_sma_20")
    definitions = read_definitions(
        {"f.toml": views + transformed + degraded, "carrier.sql": "SELECT 1", "share.sql": "SELECT 1"}, "/"
    )
    sets = {each.name: each for each in definitions.sets}
    assert [each.name for each in sets["share-now"].transforms] == ["above_sma"]
    feature_set = sets["flight-delay"]
    assert (feature_set.stale_up_to_us, feature_set.refuse) == (7_200_000_000, ("unavailable",))


def test_its_statuses_are_all_there_are(page):
    told = set(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE))
    assert told == {name.removeprefix("VIEW_STATUS_") for name in pb.ViewStatus.keys()} - {"UNSPECIFIED"}  # noqa: SIM118  (an enum's)
