"""`turnout trainer`: become a trainer."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from turnout.cli import options


def trainer(
    *,
    state: Annotated[
        Path, typer.Option("--state", metavar="DIR", help="Where runs leave their files; made when absent.")
    ],
    name: Annotated[
        str, typer.Option("--name", help="Who works, each trainer by its own; default: this machine and the folder.")
    ] = "",
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="PACKAGE", help="Estimators may be of it; repeatable; default: sklearn."),
    ] = None,
    script: Annotated[
        list[str] | None,
        typer.Option("--script", metavar="NAME=COMMAND", help="A script that policies may name; repeatable."),
    ] = None,
    ray: Annotated[
        str, typer.Option("--ray", metavar="HOST:PORT", help="Train and search on this Ray cluster, not here.")
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="Do what there is to do, and end.")] = False,
    lease: Annotated[
        float, typer.Option("--lease", min=1, max=600, help="Seconds that a claim lasts unless it is renewed.")
    ] = 30,
    poll: Annotated[float, typer.Option("--poll", min=0.05, help="Seconds between two looks for work.")] = 1,
    server: options.Server = options.SERVER,
) -> None:
    """Train until SIGTERM: make checks, and take runs from the table to the traffic.

    Needs the extra `trainer`. What it shows to the gateway is in the environment, as for the other commands.
    """
    if importlib.util.find_spec("sklearn") is None or importlib.util.find_spec("trainer") is None:
        raise typer.BadParameter("what trains is not installed here: install turnout[trainer]")
    command = [sys.executable, "-m", "trainer", "--state", str(state), "--server", server]
    command += ["--name", name] if name else []
    if ray and importlib.util.find_spec("ray") is None:
        raise typer.BadParameter("Ray is not installed here: install turnout[ray]")
    command += ["--ray", ray] if ray else []
    for option, values in (("--allow", allow), ("--script", script)):
        for value in values or ():
            command += [option, value]
    command += ["--lease", str(lease), "--poll", str(poll), *(["--once"] if once else [])]
    sys.stdout.flush()
    os.execv(sys.executable, command)  # noqa: S606  (no shell: this very interpreter, with checked flags)
