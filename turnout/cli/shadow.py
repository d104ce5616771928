"""`turnout shadow`: what runs in the shadow of a model's answers."""

from typing import Annotated

import typer

from turnout import resources
from turnout.cli import literals, options, show
from turnout.cli.document import document_of
from turnout.cli.paging import all_pages
from turnout.experiments.v1 import shadow_service_pb2 as pb

app = typer.Typer(help="Run a version on what a model is asked, without letting it answer.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="MODEL", help="The model.")]


@app.command("set")
def set_(
    name: Name,
    *,
    version: Annotated[int, typer.Option("--version", min=1, metavar="VERSION", help="What runs.")] = 0,
    alias: Annotated[str, typer.Option("--alias", help="What runs: the version that has this alias at the time.")] = "",
    share: Annotated[float, typer.Option("--share", help="The part of the calls that is sampled, above 0 to 1.")] = 1.0,
    reason: options.Reason = "",
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Let a version run in the shadow, instead of the one that did so before."""
    if bool(version) == bool(alias):
        raise typer.BadParameter("give --version or --alias, one of them")
    shadow = pb.Shadow(name=resources.shadow_name(name), share=share)
    if version:
        shadow.version = version
    else:
        shadow.alias = alias
    with options.control(server) as connection:
        answer = connection.shadows.SetShadow(pb.SetShadowRequest(shadow=shadow, reason=reason))
        options.settle(connection, answer.revision, wait=wait)
    show.emit(document_of(answer), lambda: [show.facts(name, _facts(answer.shadow))], as_json=as_json)


@app.command("show")
def show_(name: Name, *, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Show a model's shadow, and what became of the calls that it was to run."""
    with options.control(server) as connection:
        shadow = connection.shadows.GetShadow(pb.GetShadowRequest(name=resources.shadow_name(name))).shadow
    show.emit(document_of(shadow), lambda: [show.facts(name, _facts(shadow))], as_json=as_json)


@app.command("list")
def list_(*, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """List the shadows."""
    with options.control(server) as connection:
        found = all_pages(connection.shadows.ListShadows, pb.ListShadowsRequest(), "shadows")
    rows = [
        (
            resources.shadow_model(one.name),
            one.running_version or None,
            one.alias,
            one.share,
            one.counts.paired,
            one.counts.failed,
            one.counts.dropped,
        )
        for one in found
    ]
    columns = ("model", "version", "alias", "share", "paired", "failed", "dropped")
    show.emit(
        {"shadows": [document_of(one) for one in found]},
        lambda: [show.table("Shadows", columns, rows)],
        as_json=as_json,
    )


@app.command()
def remove(
    name: Name,
    *,
    reason: options.Reason = "",
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """End a model's shadow; what it recorded stays."""
    with options.control(server) as connection:
        request = pb.RemoveShadowRequest(name=resources.shadow_name(name), reason=reason)
        answer = connection.shadows.RemoveShadow(request)
        options.settle(connection, answer.revision, wait=wait)
    show.emit(document_of(answer), lambda: [f"nothing runs in the shadow of {name} any more"], as_json=as_json)


def _facts(shadow: pb.Shadow) -> list[tuple[str, object]]:
    return [
        ("runs", shadow.running_version or "nothing: no version has the alias"),
        *([("alias", shadow.alias)] if shadow.alias else []),
        ("share", shadow.share),
        ("set", literals.format_time(shadow.set_us)),
        ("by", shadow.set_by),
        ("paired", shadow.counts.paired),
        ("failed", shadow.counts.failed),
        ("dropped", shadow.counts.dropped),
    ]
