"""`turnout demo`: the whole loop on a year of real flights."""

import importlib.util
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_NEEDED = ("trainer", "gateway", "duckdb", "sklearn")


class Scale(StrEnum):
    """How much of the year is replayed."""

    SMALL = "small"
    FULL = "full"
    YEARISH = "year-ish"
    YEAR = "year"


def demo(
    *,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write what was found into this file.")
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the report here; default demo-report/index.html."),
    ] = None,
    scale: Annotated[
        Scale, typer.Option("--scale", help="How much of 2013 is replayed; year: with policies and trainers.")
    ] = Scale.SMALL,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="DIR", help="Keep the state in this folder, which is empty.")
    ] = None,
) -> None:
    """Train, serve, experiment and promote on a year of flights; exit 0 when all that is promised came true.

    Needs the extra `demo`.
    """
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        raise typer.BadParameter("the demo is not installed here: install turnout[demo]")
    given = {"--json": json_file, "--html": html_file, "--scale": scale.value, "--state": state}
    flags = [part for flag, value in given.items() if value is not None for part in (flag, str(value))]
    # A process of its own: this one must not hold what the trainer imports.
    command = [sys.executable, "-m", "trainer.demo", *flags]
    raise typer.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603  (this very interpreter)
