"""`turnout tokens`: the file that says who may ask a gateway for what. It is edited here, not over the network."""

import datetime as dt
import re
from pathlib import Path
from typing import Annotated

import typer

from turnout.cli import show
from turnout.cli.literals import LiteralError
from turnout.tokens import (
    ROLES,
    Identity,
    TokenFileError,
    edited,
    hash_of,
    make_identity,
    new_token,
    read_identities,
)

app = typer.Typer(help="Say who may ask a gateway for what, in the file of its --tokens.", no_args_is_help=True)

File = Annotated[
    Path,
    typer.Option("--file", envvar="TURNOUT_TOKENS", metavar="FILE", help="The file; made when there is none."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]

_DURATION = re.compile(r"(\d{1,5})([hd])")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the audit calls it.")],
    *,
    file: File,
    role: Annotated[list[str], typer.Option("--role", help=f"What it may do; repeatable: {', '.join(ROLES)}.")],
    expires: Annotated[
        str, typer.Option("--expires", metavar="WHEN", help="When it ends: 12h, 90d, or a time with its zone.")
    ] = "",
    certificate: Annotated[
        str,
        typer.Option(
            "--certificate",
            metavar="KIND:VALUE",
            help="In a token's place: who shows this CN, DNS, URI or EMAIL.",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Add an identity; its token is printed once and kept nowhere."""
    token = "" if certificate else new_token()
    try:
        made = make_identity(
            name,
            role,
            sha256=hash_of(token) if token else "",
            certificate=certificate,
            expires=_time_of(expires) if expires else None,
        )
        with edited(file) as identities:
            identities.append(made)
    except (TokenFileError, OSError) as error:
        raise LiteralError(f"{file}: {error}") from error
    document = {"name": name, "roles": list(made.roles), "token": token}
    show.emit(document, lambda: [token or f"{name} is known by {certificate}"], as_json=as_json)


@app.command("list")
def list_(*, file: File, as_json: Json = False) -> None:
    """List the identities; the file has no token in it."""
    try:
        identities = read_identities(file)
    except (TokenFileError, OSError) as error:
        raise LiteralError(f"{file}: {error}") from error
    rows = [(each.name, ", ".join(each.roles), _shown(each), _ending(each)) for each in identities]
    show.emit(
        {"identities": [each.document() for each in identities]},
        lambda: [show.table("Identities", ("name", "roles", "known by", "expires"), rows)],
        as_json=as_json,
    )


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Whose token or certificate counts for nothing from now on.")],
    *,
    file: File,
) -> None:
    """Take an identity away; running gateways refuse it within a second."""
    try:
        with edited(file) as identities:
            kept = [each for each in identities if each.name != name]
            if len(kept) == len(identities):
                raise TokenFileError(f"there is no identity {name!r}")  # noqa: TRY301  (told like what the file refuses)
            identities[:] = kept
    except (TokenFileError, OSError) as error:
        raise LiteralError(f"{file}: {error}") from error


def _time_of(text: str) -> dt.datetime:
    """Return when a token ends, or raise LiteralError."""
    found = _DURATION.fullmatch(text)
    if found:
        hours = int(found[1]) * (24 if found[2] == "d" else 1)
        return dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(hours=hours)
    try:
        return dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise LiteralError(f"--expires is a number of hours (12h) or days (90d), or a time, not {text!r}") from error


def _shown(identity: Identity) -> str:
    return identity.certificate or f"token {identity.sha256[:8]}…"


def _ending(identity: Identity) -> str:
    if identity.expires is None:
        return "never"
    over = identity.expires <= dt.datetime.now(dt.UTC)
    return identity.expires.isoformat() + (" (over)" if over else "")
