from __future__ import annotations

import subprocess

import numpy as np
import onnx
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


def test_code_is_known_by_every_file_that_was_changed_or_added_since(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "view.sql").write_text("SELECT 1\n")
    (tmp_path / "kept").mkdir()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    found = {code_fingerprint(tmp_path)}
    for path, text in (("view.sql", "SELECT 2\n"), ("view.sql", "SELECT 3\n"), ("new", "1"), ("new", "2"), ("é", "2")):
        (tmp_path / path).write_text(text)
        found.add(code_fingerprint(tmp_path))
    assert len(found) == 6


def test_graphs_that_differ_in_what_was_learned_alone_have_fingerprints_of_their_own():
    rows = np.random.default_rng(0).normal(size=(60, 2))
    up, down = (export(LogisticRegression().fit(rows, sign * rows[:, 0] > 0), rows).content for sign in (1, -1))
    assert up != down
    assert graph_fingerprint(up) != graph_fingerprint(down)
    named = onnx.load_model_from_string(up)
    named.producer_name = "somebody else"
    assert graph_fingerprint(named.SerializeToString()) == graph_fingerprint(up)


def test_models_that_differ_in_one_of_a_thousand_weights_do_not_share_a_fingerprint():
    rows = np.random.default_rng(0).normal(size=(20, 1200))
    fitted = LogisticRegression().fit(rows, rows[:, 0] > 0)
    before = graph_fingerprint(export(fitted, rows).content)
    fitted.coef_[0, 1000] += 1
    assert graph_fingerprint(export(fitted, rows).content) != before
