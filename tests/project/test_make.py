"""What make promises a person on a bare machine."""

from __future__ import annotations

import os
import re


def fake_python(folder, answer):
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{answer}\n")
    path.chmod(0o755)
    return path


def test_help_is_the_default_and_has_a_line_for_every_target(root, make):
    text = (root / "Makefile").read_text()
    documented = set(re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
    lines = re.findall(r"^\.PHONY: (.*)$", text.replace("\\\n", ""), re.MULTILINE)
    phony = {name for line in lines for name in line.split()}
    assert phony == documented
    assert {"demo", "test", "check", "bench", "soak", "generate", "format"} <= documented
    printed = make(root, "--always-make").stdout
    assert set(re.findall(r"^  make ([a-z-]+) ", printed, re.MULTILINE)) == documented


def test_old_python_is_told_what_to_do(tree, make, tmp_path):
    old = fake_python(tmp_path, '[ "$1" = --version ] && { echo Python 3.10.12; exit 0; }; exit 1')
    done = make(tree, "test", BIN=None, PYTHON=old)
    assert done.returncode != 0
    assert "Turnout needs Python 3.11 or newer" in done.stderr
    assert "Python 3.10.12" in done.stderr


def test_python_without_venv_is_told_what_to_install(tree, make, tmp_path):
    bare = fake_python(tmp_path, 'case "$2" in *ensurepip*) exit 1;; esac; exit 0')
    done = make(tree, "demo", BIN=None, PYTHON=bare)
    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stderr


def test_missing_python_is_told(tree, make, tmp_path):
    done = make(tree, "demo", BIN=None, PYTHON=tmp_path / "nothing-here")
    assert done.returncode != 0
    assert "Turnout needs python3" in done.stderr


def test_continuous_integration_runs_the_test_command_of_the_readme(root):
    script = root / ".ci/run"
    assert os.access(script, os.X_OK)
    commands = [line for line in script.read_text().splitlines() if line and not line.startswith(("#", "set", "cd"))]
    assert commands == ["make test </dev/null"]
    assert "make test" in (root / "README.md").read_text()


def test_make_test_includes_all_of_make_check(root):
    text = (root / "Makefile").read_text()
    assert re.search(r"^test: check  ##", text, re.MULTILINE)
    checks = re.search(r"^CHECKS := (.*)$", text, re.MULTILINE)[1].split()
    assert set(checks) == set(re.findall(r"^(check-[a-z]+):", text, re.MULTILINE))
    done = re.search(r"^check: .*\n((?:\t.*\n)+)", text, re.MULTILINE)[1]
    assert "$(CHECKS)" in done
    assert "$(MAKE) tests" in done
