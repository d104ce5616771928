"""The guide to security is true: its commands run, in their order, against the gateway that they start."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

COMMAND_S = 60


def test_every_command_of_the_security_guide_runs(root, tmp_path, serving):
    text = (root / "docs" / "security.md").read_text()
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    commands = [line[2:] for block in blocks for line in block.replace("\\\n", " ").splitlines() if line[:2] == "$ "]
    (serve,) = (place for place, command in enumerate(commands) if command.startswith("turnout serve"))
    programs = Path(sys.prefix) / "bin"
    place = tmp_path / "place"
    place.mkdir()

    def run(command, environment):
        done = subprocess.run(
            ["bash", "-c", f"set -e\n{command}"],
            cwd=place,
            env=environment | {"PATH": f"{programs}:{environment['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    outer = {name: value for name, value in os.environ.items() if not name.startswith("TURNOUT_")}
    for command in commands[:serve]:
        run(command, outer)
    program = [str(programs / "turnout"), *shlex.split(commands[serve].removesuffix("&"))[1:]]
    with serving(program, folder=place, environment=outer) as environment:
        printed = {command: run(command, environment) for command in commands[serve + 1 :]}
    assert any("Audit" in output for output in printed.values())
    token = (place / "operator.token").read_text().strip()
    assert not any(token in output for output in printed.values())
