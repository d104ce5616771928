"""The options that say how a gateway is reached: every command that asks one takes them.

They are written as a command's own, once, and given to all others. What is given stands in the environment while the
command runs, where the client looks for it, and where the processes find it that a command starts.
"""

import os
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any

import typer

_WITHOUT = {"serve", "tokens"}
"""Commands that ask no gateway."""

_PANEL = "Connection"


def with_connection_options(command: Any) -> Any:
    """Give the options to a command, or to all commands below a group of them, and return it."""
    below = getattr(command, "commands", None)
    if below is None:
        command.params.extend(_options())
        return command
    for name, each in below.items():
        if name not in _WITHOUT:
            with_connection_options(each)
    return command


@cache
def _options() -> list[Any]:
    """Return the options, made once for all commands."""
    return typer.main.get_command(_carrier).params


def _keeper(variable: str, *others: str) -> Callable[[Any], None]:
    """Return what puts an option's value into the environment, in the place of others that say the same."""

    def keep(value: Any) -> None:
        if value:
            os.environ[variable] = "true" if value is True else str(value)
            for other in others:
                os.environ.pop(other, None)

    return keep


def _option(flag: str, variable: str, text: str, *others: str, metavar: str | None = "FILE") -> Any:
    return typer.Option(
        flag,
        metavar=metavar,
        help=f"{text} Or {variable}.",
        expose_value=False,
        callback=_keeper(variable, *others),
        rich_help_panel=_PANEL,
    )


_carrier = typer.Typer(add_completion=False)


@_carrier.command()
def _carry(
    *,
    token: Annotated[
        str | None,
        _option("--token", "TURNOUT_TOKEN", "The token to show.", "TURNOUT_TOKEN_FILE", metavar="TOKEN"),
    ] = None,
    token_file: Annotated[
        str | None, _option("--token-file", "TURNOUT_TOKEN_FILE", "A file that holds the token.", "TURNOUT_TOKEN")
    ] = None,
    tls: Annotated[
        bool, _option("--tls", "TURNOUT_TLS", "Speak TLS, and trust whom this machine trusts.", metavar=None)
    ] = False,
    tls_ca: Annotated[
        str | None, _option("--tls-ca", "TURNOUT_TLS_CA", "Whose certificate the gateway must show.")
    ] = None,
    tls_cert: Annotated[
        str | None, _option("--tls-cert", "TURNOUT_TLS_CLIENT_CERT", "The certificate to show to the gateway.")
    ] = None,
    tls_key: Annotated[
        str | None, _option("--tls-key", "TURNOUT_TLS_CLIENT_KEY", "The key of that certificate.")
    ] = None,
    insecure: Annotated[
        bool,
        _option("--insecure", "TURNOUT_INSECURE", "Send the token in clear to another machine.", metavar=None),
    ] = False,
) -> None:
    """Be where the options are written."""
