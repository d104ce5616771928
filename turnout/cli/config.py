"""`turnout config`: what a gateway would be told, and whether all that it names is there."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

from turnout.cli import show

app = typer.Typer(help="Look at a gateway's settings before it starts, on its machine.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command("show", context_settings=_PASSED_ON)
def show_settings(
    context: typer.Context,
    *,
    effective: Annotated[bool, typer.Option("--effective", help="All settings, those at their default too.")] = False,
    as_json: Json = False,
) -> None:
    """Print the settings that `turnout serve` would take from these flags, the environment, secrets and the file.

    Passwords are not printed. Needs the extra `server`.
    """
    document, code = _asked("show", context.args)
    if not effective:
        document["settings"] = [each for each in document["settings"] if each["changed"]]
    rows = [(each["setting"], each["value"], each["origin"]) for each in document["settings"]]
    show.emit(document, lambda: [show.table("settings", ("setting", "value", "from"), rows)], as_json=as_json)
    raise typer.Exit(code)


@app.command("check", context_settings=_PASSED_ON)
def check(context: typer.Context, *, as_json: Json = False) -> None:
    """Look at every part that the settings name; exit with 1 when one of them keeps a gateway from working.

    It connects to the database, the artifacts' and the online store, says their versions and how far their clocks are
    from this machine's, and tries whether what must be done there is allowed. Needs the extra `server`.
    """
    with Console(stderr=True).status("looking at every part"):
        document, code = _asked("check", context.args)
    show.emit(document, lambda: _parts(document["parts"]), as_json=as_json)
    raise typer.Exit(code)


@app.command("migrate", context_settings=_PASSED_ON)
def migrate(context: typer.Context, *, as_json: Json = False) -> None:
    """Bring the metadata database to this release's schema, before its gateways start.

    A gateway does the same at its start; gateways of the release before go on meanwhile. Needs the extra `server`.
    """
    with Console(stderr=True).status("migrating"):
        document, code = _asked("migrate", context.args)
    pairs = [(name, document[name]) for name in ("database", "version")]
    show.emit(document, lambda: [show.facts("; ".join(document["found"]), pairs)], as_json=as_json)
    raise typer.Exit(code)


def _parts(parts: list[dict[str, Any]]) -> Iterator[RenderableType]:
    rows = []
    for each in parts:
        verdict = "FAILS" if each["failures"] else "look" if each["warnings"] else "ok"
        ahead = each["clock_ahead_ms"]
        clock = "" if ahead is None else f"{ahead:+.0f} ± {each['clock_error_ms']:.0f} ms"
        said = "; ".join([*each["failures"], *each["warnings"], *each["found"]])
        rows.append((each["part"], verdict, each["version"], clock, each["address"], said))
    yield show.table("parts", ("part", "", "version", "clock", "where", "found"), rows)


def _asked(doing: str, flags: list[str]) -> tuple[dict[str, Any], int]:
    """Return what the gateway's own code says of the flags, and its exit code; exits where it says nothing."""
    if importlib.util.find_spec("gateway") is None:
        raise typer.BadParameter("the gateway is not installed here: install turnout[server]")
    # A process of its own, as the gateway is one: this one stays free of what it imports.
    command = [sys.executable, "-m", "gateway.bootstrap.configuration", doing, *flags]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603  (this interpreter)
    if not done.stdout:
        raise typer.Exit(done.returncode)
    document: dict[str, Any] = json.loads(done.stdout)
    return document, done.returncode
