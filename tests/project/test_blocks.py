"""Every block of code in the documents is run, or read by the program that it is for; none is only looked at.

A block of a kind that is not known here, or on a page whose commands no test runs, fails: say here what holds it.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import duckdb
import pytest
import typer
import yaml

from experiments.targeting import compile_condition
from features.grammar import read_definitions
from gateway.control.channels import Channel, read_channels
from gateway.rpc import trainer_codec
from turnout.cli.connection import with_connection_options
from turnout.cli.main import app
from turnout.cli.policy_file import read_policy

PAGES = ("*.md", "docs/**/*.md", "clients/*/README.md", "deploy/**/*.md", "examples/*/README.md")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
README = "tests/project/test_readme.py"
RUN = {
    ("README.md", "console"): README,
    ("README.md", "python"): README,
    ("docs/console.md", "python"): README,
    ("docs/experiments.md", "console"): README,
    ("docs/experiments.md", "python"): README,
    ("docs/http.md", "console"): README,
    ("docs/http.md", "js"): "tests/rest/test_in_browser.py",
    ("docs/load.md", "console"): "tests/cli/test_load.py",
    ("docs/open-inference.md", "console"): "tests/gateway/inference/test_stock_clients.py",
    ("docs/registry.md", "console"): README,
    ("docs/security.md", "console"): "tests/project/test_security_guide.py",
    ("docs/settings.md", "console"): README,
    ("docs/start/http.md", "console"): README,
    ("docs/start/http.md", "json"): README,
    ("docs/start/index.md", "console"): README,
    ("docs/start/python.md", "console"): README,
    ("docs/start/python.md", "python"): README,
    ("docs/trainer.md", "console"): README,
    ("examples/prices/README.md", "console"): README,
    **{
        (f"clients/{language}/README.md", kind): "tests/gateway/clients/test_first.py"
        for language, kind in (
            ("cpp", "cmake"),
            ("cpp", "cpp"),
            ("go", "go"),
            ("java", "java"),
            ("rust", "rust"),
            ("typescript", "ts"),
        )
    },
}
"""By which test the blocks of a page are run, kind by kind."""
BUILDS = {"buf generate", "npm ci", "mvn", "chmod", "cargo install", "cmake"}
"""What a client's README does by hand, as `make clients` does it."""


@pytest.fixture(scope="module")
def blocks(root):
    """Return page, kind and text of each block."""
    pages = sorted({path for pattern in PAGES for path in root.glob(pattern)})
    return [
        (str(path.relative_to(root)), kind, text)
        for path in pages
        for kind, text in BLOCK.findall(path.read_text(encoding="utf-8"))
    ]


def test_each_block_is_run_or_read(root, blocks):
    told = []
    for page, kind, text in blocks:
        if kind and (page, kind) not in RUN and not READ.get(kind, lambda *_: False)(page, text, root):
            told.append(f"{page}: nothing reads this block of {kind}:\n{text}")
    assert told == []
    for (page, kind), test in RUN.items():
        assert (page, kind) in {block[:2] for block in blocks}, (page, kind)
        assert page.rpartition("/")[2].removesuffix("README.md") in (root / test).read_text(), (page, test)


def test_a_client_is_built_by_hand_as_the_target_builds_it(root, blocks):
    spec = importlib.util.spec_from_file_location("told_clients", root / "tools" / "clients.py")
    tool = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for name, client in tool.CLIENTS.items():
        told = [text for page, kind, text in blocks if (page, kind) == (f"clients/{name}/README.md", "console")]
        (command,) = re.findall(r"^\$ (buf generate .*)$", "".join(told), re.MULTILINE)
        assert tuple(shlex.split(command)) in {step.command for step in client.steps}


def test_the_program_takes_every_option_that_a_command_of_a_document_gives(blocks):
    group = with_connection_options(typer.main.get_command(app))
    seen = 0
    for page, _, text in blocks:
        for line in re.findall(r"^(?:\$ )?(turnout [a-z-].*)$", text.replace("\\\n", " "), re.MULTILINE):
            words = words_of(line)
            command = group
            while below := getattr(command, "commands", None):
                assert words[0] in below, (page, line)
                command = below[words.pop(0)]
            context = typer.Context(command, info_name=line)
            context.ignore_unknown_options = command.context_settings.get("ignore_unknown_options", False)
            command.make_parser(context).parse_args(words)  # or it says which option it does not know
            seen += 1
    assert seen > 100


def words_of(line):
    """Return what a command line gives to the program, without what the shell does with it."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|>&")
    lexer.whitespace_split = True
    return list(itertools.takewhile(lambda word: not set(word) <= set("|>&"), list(lexer)[1:]))


def _console(page, text, root):
    """Commands that build a client, those of the Makefile, and one that asks for a folder of somebody's machine."""
    commands = [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    if page.startswith("clients/"):
        known = (*BUILDS, "go mod edit", "cargo run --example tour")
        return all(command.startswith(known) for command in commands)
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    return all(
        (command.startswith("make ") and command.split()[1] in targets) or command.startswith("turnout features copy ")
        for command in commands
    )


def _toml(page, text, root):
    document = tomllib.loads(text)
    if page == "docs/experiments.md":
        matches = compile_condition(document["targeting"])
        return matches({"city": "San Jose"}) and not matches({"city": "Basel", "country": "CH"})
    if page == "docs/features.md":
        (declared,) = read_definitions({"page.toml": text}, "/").sets
        return declared.name == document["set"][0]["name"]
    if page == "docs/trainer.md":
        # What stands there is a part of a policy, or the file of channels; all else of a policy is the example's.
        example = (root / "examples" / "retraining.toml").read_text()
        data, training = (example[example.index(part) :] for part in ("[data]", "[training]"))
        data = data.removesuffix(training)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "page.toml"
            if "[training]" in text:
                path.write_text(f'policy = "numbers"\nmodel = "numbers"\n{data}{text}')
                return trainer_codec.definition(read_policy(path).policy).training.search is not None
            if "notifications" in text:
                path.write_text(f'policy = "petals"\nmodel = "petals"\n{text}{data}{training}')
                return trainer_codec.definition(read_policy(path).policy).notifications.channels == ("ops",)
            path.write_text(text)
            channels = read_channels(path)
            return [channels.get(name) for name in channels.names] == [
                Channel(url_file="/run/secrets/ops-mail"),
                Channel(url_env="PAGER_URL"),
            ]
    return list(document) == ["turnout-client"] and set(document["turnout-client"]) == {"path"}


def _yaml(_page, text, root):
    document = yaml.safe_load(text)
    return all((root / "deploy" / "prometheus" / name).is_file() for name in document["rule_files"])


def _sql(_page, text, _root):
    rows = "SELECT 1 FROM (SELECT TIMESTAMP '2024-01-05' AS landed_time)"
    given = {"since": "2024-01-10", "until": "2024-01-11"}
    typed = text.replace("$since", "$since::TIMESTAMP").replace("$until", "$until::TIMESTAMP")
    return duckdb.execute(f"{rows} {typed}", given).fetchall() == [(1,)]


def _proto(_page, text, _root):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "page.proto").write_text(f'syntax = "proto3";\nmessage Page {{\n{text}}}\n')
        built = subprocess.run(["buf", "build", folder], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return re.match(r"// Deprecated since \d+\.\d+: \S", text) is not None


READ = {"console": _console, "toml": _toml, "yaml": _yaml, "sql": _sql, "proto": _proto}
