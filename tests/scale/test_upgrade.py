"""A rolling upgrade under load, and its way back, from the oldest program that may share the database to this one."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from judge import judge
from network import Loopback
from rig import ROOT
from test_chaos import SEED, running
from traffic import Traffic

OLD = "afa0f0d"
"""The first commit with the schema that `storage.migrate.READABLE_SINCE` names; no release is tagged."""


@pytest.fixture
def old_tree(tmp_path):
    """Return a checkout of the old program."""
    tree = tmp_path / "old"
    made = subprocess.run(
        ["git", "worktree", "add", "--detach", str(tree), OLD], cwd=ROOT, check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip(f"this checkout has no history: {made.stderr.decode()[-200:]}")
    yield tree
    with contextlib.suppress(subprocess.CalledProcessError):
        subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_gateways_are_replaced_one_by_one_both_ways_without_a_failed_prediction(old_tree):
    with running(3, Loopback(), tree=old_tree, wakeups=False) as rig, Traffic(rig, SEED, rate_per_s=40) as traffic:
        for tree in (ROOT, old_tree):
            for name in rig.names:
                traffic.wait_for(40)
                assert rig.pieces[name].stop() == 0
                rig.add_gateway(name, tree=tree).start()
                rig.wait(name)
                print(f"{name} runs {tree.name}, {len(traffic.failures)} failed", flush=True)
        traffic.wait_for(40)
        traffic.stop()
        print(judge(rig, traffic), flush=True)
