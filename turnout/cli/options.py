"""The options that many commands take, and the connections that they make."""

import contextlib
import getpass
import socket
from collections.abc import Iterator
from typing import Annotated

import typer

from turnout.cli.literals import LiteralError
from turnout.client import Client
from turnout.control import Control

SERVER = "127.0.0.1:8003"
DATA_SERVER = "127.0.0.1:8001"
ATTEMPTS_MAX = 3
"""Fewer tries than a program makes: somebody waits at the keyboard."""

Server = Annotated[
    str, typer.Option("--server", envvar="TURNOUT_SERVER", metavar="HOST:PORT", help="The gateway's control port.")
]
DataServer = Annotated[
    str,
    typer.Option("--data-server", envvar="TURNOUT_DATA_SERVER", metavar="HOST:PORT", help="The gateway's data port."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
Wait = Annotated[bool, typer.Option("--wait", help="Return once every worker serves the change.")]
Entities = Annotated[
    list[str] | None,
    typer.Option("--entity", metavar="KEY=VALUE", help="An entity that features are looked up for; repeatable."),
]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the history.")]


def control(server: str) -> Control:
    """Return a connection to a control port; where nobody is asked for credentials, changes are noted by this user."""
    with _usage():
        return Control(server, actor=_actor(), attempts_max=ATTEMPTS_MAX)


def client(data_server: str) -> Client:
    """Return a connection to a data port."""
    with _usage():
        return Client(data_server, attempts_max=ATTEMPTS_MAX)


@contextlib.contextmanager
def _usage() -> Iterator[None]:
    """Raise LiteralError for what the options of the connection, or the environment in their place, got wrong."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise LiteralError(str(error)) from error


def settle(connection: Control, revision: int, *, wait: bool) -> None:
    """Wait until every worker serves a revision, when asked to."""
    if wait and revision:
        connection.wait_for_revision(revision)


def _actor() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # no entry for this user id, as in many containers
        name = "unknown"
    return f"{name}@{socket.gethostname()}"
