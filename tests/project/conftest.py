"""A copy of the tree that a test may spoil, and the project's own make in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("turnout", "gateway", "experiments", "registry", "features", "trainer", "storage")
MACHINERY = ("protos", "tools", "pyproject.toml", "constraints.txt", "buf.yaml", "buf.gen.yaml", "Makefile")
DOCUMENTS = ("README.md", "LICENSE", "examples")


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def copied_names():
    return [name for name in (*PACKAGES, *MACHINERY, *DOCUMENTS) if (ROOT / name).exists()]


@pytest.fixture
def tree(tmp_path, copied_names):
    """Return the folder of a copy of what the checks read, times kept."""
    copy = tmp_path / "tree"
    copy.mkdir()
    for name in copied_names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, copy / name)
    return copy


@pytest.fixture
def make():
    """Return a function that runs one of the project's make targets in a folder, with the tools of this environment."""

    def run(folder, target, **variables):
        outer = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
        given = {"BIN": sysconfig.get_path("scripts")} | variables
        return subprocess.run(
            ["make", target, *(f"{name}={value}" for name, value in given.items() if value is not None)],
            cwd=folder,
            env=outer | {"PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=110,
        )

    return run


@pytest.fixture(scope="session")
def python():
    return sys.executable
