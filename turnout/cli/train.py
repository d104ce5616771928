"""`turnout train`: one training here and now, by a policy's file, without a policy at the gateway."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from turnout.cli import options


def train(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A policy as TOML.", show_default=False)
    ],
    *,
    script: Annotated[
        str,
        typer.Option(
            "--script",
            metavar="COMMAND",
            help="What learns, in place of the policy's estimator: run with the path of a Parquet file and the path "
            "that its ONNX file belongs at.",
        ),
    ] = "",
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="PACKAGE", help="Estimators may be of it; repeatable; default: sklearn."),
    ] = None,
    as_of: Annotated[
        int, typer.Option("--as-of", metavar="US", help="Rows up to then; microseconds since the epoch; default: now.")
    ] = 0,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Leave the ONNX file here.")] = None,
    publish: Annotated[bool, typer.Option("--publish", help="Publish it if it is blessed.")] = False,
    alias: Annotated[str, typer.Option("--alias", help="Point this alias at what is published.")] = "",
    server: options.Server = options.SERVER,
) -> None:
    """Train by a policy's file: table, training and comparison with the champion, within the policy's budget.

    Needs the extra `trainer`. Prints what came of it as JSON, and ends with 3 when the candidate is not blessed.
    """
    if importlib.util.find_spec("sklearn") is None or importlib.util.find_spec("trainer") is None:
        raise typer.BadParameter("what trains is not installed here: install turnout[trainer]")
    command = [sys.executable, "-m", "trainer.runner.alone", str(file), "--server", server]
    for option, value in (("--script", script), ("--out", out), ("--alias", alias), ("--as-of", as_of)):
        command += [option, str(value)] if value else []
    for value in allow or ():
        command += ["--allow", value]
    command += ["--publish"] if publish else []
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606  (no shell: this very interpreter, with checked flags)
