"""The reference of the command line: every command with its options, as the program itself says them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from turnout.cli.connection import with_connection_options
from turnout.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator


def commands() -> Iterator[tuple[str, Any]]:
    """Return each command that does something, by the words that call it, with all that it takes."""
    waiting = [("turnout", with_connection_options(typer.main.get_command(app)))]
    while waiting:
        words, command = waiting.pop(0)
        below = getattr(command, "commands", {})
        if not below:
            yield words, command
        waiting = [(f"{words} {name}", one) for name, one in below.items() if not one.hidden] + waiting


def pages() -> dict[str, str]:
    """Return the page by where the site has it."""
    group = typer.main.get_command(app)
    own = {words: len(command.params) for words, command in _plain_commands("turnout", group)}
    lines = ["# The command line", "", group.help or "", "", group.epilog or "", ""]
    common: dict[str, str] = {}
    noun = ""
    for words, command in commands():
        first = words.split()[1]
        if first != noun:
            noun = first
            lines += [f"## {noun} {{#{noun}}}", "", group.commands[noun].help or "", ""]
        context = typer.Context(command, info_name=words)
        records = [_record(one, context) for one in command.params]
        lines += _command(words, command, title=words != f"turnout {noun}")
        lines += _table(records[: own[words]])
        if shared := dict(filter(None, records[own[words] :])):
            common |= shared
            lines += ["And [how a gateway is reached](#connection).", ""]
    lines += [
        "## How a gateway is reached {#connection}",
        "",
        "Every command that asks a gateway takes these, too.",
        "",
    ]
    return {"reference/commands.md": "\n".join([*lines, *_table(list(common.items()))]) + "\n"}


def _plain_commands(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Return each command without what all commands are given."""
    below = getattr(command, "commands", None)
    if below is None:
        yield words, command
    for name, one in (below or {}).items():
        yield from _plain_commands(f"{words} {name}", one)


def _command(words: str, command: Any, *, title: bool) -> Iterator[str]:
    """Return what a command does, and how it is called."""
    if title:
        anchor = words.removeprefix("turnout ").replace(" ", "-")
        yield from (f"### {words} {{#{anchor}}}", "", command.help or "", "")
    usage = command.get_usage(typer.Context(command, info_name=words))
    yield from ("```text", usage.removeprefix("Usage: "), "```", "")


def _record(one: Any, context: typer.Context) -> tuple[str, str] | None:
    """Return how an option or an argument is written and what it is; None for one that is not shown."""
    record: tuple[str, str] | None = one.get_help_record(context)
    return record


def _table(records: list[tuple[str, str] | None]) -> Iterator[str]:
    """Return the table of what a command takes."""
    if any(records):
        yield from ("| takes | is |", "|---|---|")
    for how, what in filter(None, records):
        yield f"| `{_cell(how)}` | {_plain(_cell(what))} |"
    yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _plain(text: str) -> str:
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("[", "\\[").replace("*", "\\*") for part in parts[::2]]
    return "`".join(parts)
