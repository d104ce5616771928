"""The documents are true: the README's commands run, and every command named anywhere exists."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from turnout.cli.main import app

DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**/*.md", "deploy/**/*.md")
COMMAND_S = 60


BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
USUAL = {"127.0.0.1:8001": "TURNOUT_DATA_SERVER", "127.0.0.1:8002": "HTTP_SERVER", "127.0.0.1:8003": "TURNOUT_SERVER"}
"""Addresses that pages name, and the variables that say where they are in a test."""


def console_commands(text):
    """Return the commands of the blocks marked console, in order, continued lines joined."""
    return [command for block in blocks_of(text, "console") for command in commands_of(block)]


def blocks_of(text, language):
    return [block for other, block in BLOCK.findall(text) if other == language]


def commands_of(block):
    """Return a console block's commands; a quotation may go on for lines, and what they print is left out."""
    commands = []
    for line in block.replace("\\\n", " ").splitlines():
        if line.startswith("$ "):
            commands.append(line.removeprefix("$ "))
        elif commands and not is_closed(commands[-1]):
            commands[-1] += f"\n{line}"
    return commands


def is_closed(command):
    try:
        return bool(shlex.split(command))
    except ValueError:
        return False


def steps(text):
    """Return what a page runs: its commands, and its blocks of Python as commands."""
    found = []
    for language, block in BLOCK.findall(text):
        if language == "console":
            found += commands_of(block)
        elif language == "python":
            found.append(as_command(block))
    return found


def as_command(program):
    return f"python - <<'END'\n{program}END"


LATE_PRICE = "--entity symbol=ALPN --as-of 2024-12-10"


def walk(commands, *, root, place, serving):
    """Run the commands in order in a copy of a checkout, one of them a gateway; return what each printed."""
    serve = next(number for number, command in enumerate(commands) if command.startswith("turnout serve "))
    place.mkdir()
    shutil.copytree(root / "examples", place / "examples")
    (place / ".venv").symlink_to(sys.prefix)

    def run(command, environment):
        for usual, variable in USUAL.items():
            command = command.replace(usual, environment.get(variable, usual))
        script = f"set -e\nsource .venv/bin/activate\n{command}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    outer = dict(os.environ)
    printed = {command: run(command, outer) for command in commands[:serve]}
    program = [str(Path(sys.prefix) / "bin" / "turnout"), *shlex.split(commands[serve].removesuffix("&"))[1:]]
    with serving(program, folder=place, environment=outer) as environment:
        return printed | {command: run(command, environment) for command in commands[serve + 1 :]}


QUICK_STARTS = ("docs/start/python.md", "docs/start/http.md", "docs/http.md")
SHOWN = """
import os
import grpc
class Services:
    channel = staticmethod(lambda: grpc.insecure_channel(os.environ["TURNOUT_SERVER"]))
print(PAGE.show(Visit(services=Services())))
"""
"""What shows the page that a block of Python makes."""


def test_every_command_of_the_readme_and_of_the_quick_starts_runs(root, tmp_path, serving):
    readme = (root / "README.md").read_text()
    commands = steps(readme)
    assert commands[:2] == ["make demo", "make test"]  # they have tests of their own; the targets exist, see below
    pages = {page: steps((root / page).read_text()) for page in QUICK_STARTS}
    first, *pages["docs/start/python.md"] = pages["docs/start/python.md"]
    assert first == "pip install ."  # test_server_extra.py does it
    (page,) = blocks_of((root / "docs/console.md").read_text(), "python")
    shown = as_command(page + SHOWN)
    further = [command for page in pages.values() for command in page]
    printed = walk([*commands[2:], *further, shown], root=root, place=tmp_path / "checkout", serving=serving)
    assert printed["turnout experiments recommend petals"].startswith("SHIP petals\n")
    assert "outcomes analyzed: 60" in printed["turnout experiments analyze petals"]
    assert re.fullmatch(r"version 2: a virginica by 0\.\d{3}\n", printed[pages["docs/start/python.md"][0]])
    assert re.search(r"<h1>Revision</h1><p>\d+</p>", printed[shown])
    predicted, recorded = (json.loads(printed[command]) for command in pages["docs/start/http.md"])
    (told,) = blocks_of((root / "docs/start/http.md").read_text(), "json")
    assert form(json.loads(told)) == form(predicted)
    assert recorded["results"][0]["status"] == "OUTCOME_STATUS_RECORDED"
    begun = console_commands((root / "docs/start/index.md").read_text())
    assert [command for command in commands if command in begun] == begun  # they are some of the README's


def form(document):
    """Return a document with the names of its values' kinds in place of the values."""
    if isinstance(document, dict):
        return {key: form(value) for key, value in document.items()}
    return list(map(form, document)) if isinstance(document, list) else type(document).__name__


def test_every_command_of_the_page_about_settings_runs(root, tmp_path, serving):
    commands = console_commands((root / "docs/settings.md").read_text())
    printed = walk(commands, root=root, place=tmp_path / "checkout", serving=serving)
    assert json.loads(printed["turnout config check --config turnout.toml --json"])["ready"]


def test_every_command_of_the_page_about_the_registry_runs(root, tmp_path, serving):
    page, _, rest = (root / "docs/registry.md").read_text().partition("## The demo's registry\n")
    commands = console_commands(page + rest.partition("\n## ")[2])  # the demo's have a test beside the demo's
    printed = walk(commands, root=root, place=tmp_path / "checkout", serving=serving)
    assert "models/iris/versions/2" in printed["turnout models search 'alias = champion OR tags.petals:*'"]
    assert "may become the champion" in printed["turnout models gates iris --version 2"]
    (watched,) = printed["turnout models watch --count 1 --json"].splitlines()
    assert {one["alias"] for one in json.loads(watched)["models"][0]["aliases"]} == {"champion"}
    assert "whsec_" not in printed["turnout webhooks show pager"]
    ratios = {one["name"]: one for one in json.loads(printed["turnout status --governance --json"])["ratios"]}
    assert ratios["changes_with_an_audit_event"]["ratio"] == 1.0
    assert ratios["served_features_from_store"]["ratio"] is None
    assert "not enough data" in printed["turnout status --governance"]


def test_every_command_of_the_example_of_prices_runs(root, tmp_path, serving):
    commands = console_commands((root / "examples/prices/README.md").read_text())
    printed = walk(commands, root=root, place=tmp_path / "checkout", serving=serving)
    by_sql, by_python = (printed[f"turnout features read share-by-{kind} {LATE_PRICE}"] for kind in ("sql", "python"))
    assert "PRESENT" in by_sql
    values = [[float(value) for value in re.findall(r"-?\d+\.\d{3,}", text)] for text in (by_sql, by_python)]
    assert len(values[0]) == 2
    assert values[0] == pytest.approx(values[1])


def test_every_command_of_the_page_about_experiments_runs(root, tmp_path, serving):
    page = (root / "docs/experiments.md").read_text()
    (flags,) = blocks_of(page, "python")
    provided = as_command(flags + "print(variant)\n")
    commands = console_commands(page)
    commands.insert(commands.index("turnout experiments split tall-flowers sepals=0.5 petals=0.5 --wait") + 1, provided)
    printed = walk(commands, root=root, place=tmp_path / "checkout", serving=serving)
    assert printed[provided] in {"sepals\n", "petals\n"}
    assert "is forced to petals" in printed["turnout experiments explain tall-flowers my-own-flower"]
    assert "ARCHIVED" in printed["turnout experiments archive tall-flowers"]
    assert "error_rate" in printed["turnout experiments ramp preview step-by-step --rise 0.05 --baseline 0.01"]
    assert "1 of 3" in printed["turnout experiments watch step-by-step --count 1"]
    assert "aborted" in printed["turnout experiments ramp events step-by-step"]
    assert "0.01 -> 0.05 -> 0.1" in printed["turnout experiments ramp rollout iris 2 --duration 3600 --wait"]


def test_every_command_of_the_page_about_training_runs(root, tmp_path, serving):
    commands = console_commands((root / "docs/trainer.md").read_text())
    printed = walk(commands, root=root, place=tmp_path / "checkout", serving=serving)
    assert "CANCELLED" in printed["turnout runs cancel petals 1"]


def documents(root):
    return [path for pattern in DOCUMENTS for path in sorted(root.glob(pattern))]


def code_in(text):
    """Return the code of a document: its blocks without a language of their own, and its spans."""
    blocks = re.findall(r"^```(?:console|sh)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", text)


@pytest.fixture(scope="module")
def command_tree():
    """Return the names of the commands below the program, groups with theirs."""
    group = typer.main.get_command(app)
    return {name: set(getattr(command, "commands", {})) for name, command in group.commands.items()}


def test_documents_name_only_commands_that_exist(root, command_tree):
    wrong = []
    for path in documents(root):
        for code in code_in(path.read_text()):
            for command, word in re.findall(r"\bturnout ([a-z-]+)(?: ([a-z]+(?:-[a-z]+)*))?", code):
                within = command_tree.get(command)
                if within is None or (within and word and word not in within):
                    wrong.append(f"{path.relative_to(root)}: turnout {command} {word}".rstrip())
    assert wrong == []


def test_documents_name_only_make_targets_that_exist(root):
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    named = {
        (str(path.relative_to(root)), target)
        for path in documents(root)
        for code in code_in(path.read_text())
        for target in re.findall(r"(?:^|\$ )make ([a-z-]+)", code)
    }
    assert {"demo", "test", "check"} <= {target for _, target in named}
    assert {(path, target) for path, target in named if target not in targets} == set()


def test_links_between_documents_lead_somewhere(root):
    broken = [
        f"{path.relative_to(root)}: {link}"
        for path in documents(root)
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text())
        if not link.startswith("https://") and not (path.parent / link).exists()
    ]
    assert broken == []


def test_index_of_decisions_names_each_record_by_its_title(root):
    index = (root / "docs/adr/README.md").read_text()
    for path in sorted((root / "docs/adr").glob("0*.md")):
        number, title = path.read_text().splitlines()[0].removeprefix("# ").split(". ", 1)
        entry = re.escape(f"- [{int(number):04d}]({path.name}) {title}")
        assert re.search(rf"^{entry}( \(superseded by \d{{4}}\))?$", index, re.MULTILINE), path.name
