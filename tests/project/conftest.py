"""A copy of the tree that a test may spoil, and the project's own make in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

READY_S = 60
HTTP = "HTTP_SERVER"
"""Where `serving` says the HTTP port's address is, which no program reads from the environment."""
ROOT = Path(__file__).parents[2]
PACKAGES = ("turnout", "gateway", "experiments", "registry", "features", "trainer", "storage")
MACHINERY = ("protos", "tools", "pyproject.toml", "constraints.txt", "buf.yaml", "buf.gen.yaml", "Makefile")
DOCUMENTS = ("README.md", "LICENSE", "examples", "docs/settings.md")


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
        (copy / name).parent.mkdir(exist_ok=True)
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


@pytest.fixture
def serving(tmp_path):
    """Return a context manager that runs a `turnout serve` command line until all workers answer, and ends it after.

    It gives the environment in which commands find the server, and the HTTP port's address in it. Free ports are
    picked; the server must end with 0.
    """

    @contextlib.contextmanager
    def run(command, *, folder, environment):
        ready = tmp_path / "ready.json"
        log = tmp_path / "serve.log"
        ports = ["--data-port", "0", "--http-port", "0", "--control-port", "0", "--ready-file", str(ready)]
        with log.open("wb") as output:
            server = subprocess.Popen([*command, *ports], cwd=folder, env=environment, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + READY_S
            while not ready.exists():
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            ports = json.loads(ready.read_text())
            found = {"TURNOUT_SERVER": ports["control"], "TURNOUT_DATA_SERVER": ports["data"], HTTP: ports["http"]}
            yield environment | {name: address_of(value) for name, value in found.items()}
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                code = server.wait(timeout=READY_S)
            finally:
                server.kill()
        assert code == 0, log.read_text()

    return run


def address_of(value):
    """Return host:port for what a ready file says of a port."""
    return f"127.0.0.1:{value}" if isinstance(value, int) else value
