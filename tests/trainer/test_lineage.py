from __future__ import annotations

import subprocess

import numpy as np
from sklearn.linear_model import LogisticRegression

from trainer.export import export
from trainer.lineage import code_fingerprint, graph_fingerprint


def git(folder, *arguments):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_code_outside_a_checkout_is_known_by_its_files(tmp_path):
    (tmp_path / "fit.py").write_text("a = 1\n")
    first = code_fingerprint(tmp_path)
    (tmp_path / "fit.py").write_text("a = 2\n")
    assert first.startswith("files:")
    assert code_fingerprint(tmp_path) != first


def test_code_in_a_checkout_is_known_by_its_commit_and_by_what_changed_since(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "fit.py").write_text("a = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    clean = code_fingerprint(tmp_path)
    (tmp_path / "fit.py").write_text("a = 2\n")
    assert clean.startswith("git:")
    assert "+" not in clean
    assert code_fingerprint(tmp_path).startswith(clean + "+")


def test_graphs_that_differ_in_what_was_learned_alone_share_a_fingerprint():
    rows = np.random.default_rng(0).normal(size=(60, 2))
    up, down = (export(LogisticRegression().fit(rows, sign * rows[:, 0] > 0), rows).content for sign in (1, -1))
    assert up != down
    assert graph_fingerprint(up) == graph_fingerprint(down)
