"""`turnout models watch`: what the aliases name, as it changes."""

from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.live import Live

from turnout import resources
from turnout.cli import options, show
from turnout.cli.document import document_of
from turnout.cli.following import followed
from turnout.cli.models import app
from turnout.registry.v1 import watch_pb2

_COLUMNS = ("model", "alias", "version", "stage", "generation", "latest", "sha256")


@app.command()
def watch(
    *,
    after_revision: Annotated[
        int | None, typer.Option("--after-revision", min=0, help="Say nothing until there is a newer revision.")
    ] = None,
    count: Annotated[int, typer.Option("--count", min=0, help="Snapshots to show; 0: until it is interrupted.")] = 0,
    server: options.Server = options.SERVER,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print each snapshot and sign of life as one line of JSON.")
    ] = False,
) -> None:
    """Show what each alias names, now and whenever something changes."""
    request = watch_pb2.WatchModelsRequest(after_revision=after_revision)
    with options.control(server) as connection:
        # It lasts until it is interrupted: no deadline.
        answers = connection.registry.WatchModels(request, timeout=None)
        if as_json:
            _follow(answers, count, lambda one: show.emit_line(document_of(one)), heartbeats=True)
            return
        with Live(console=show.console(), auto_refresh=False) as live:
            _follow(answers, count, lambda one: live.update(_table(one), refresh=True), heartbeats=False)


def _follow(answers: Any, count: int, tell: Any, *, heartbeats: bool) -> None:
    snapshots = 0
    for one in followed(answers):
        if heartbeats or not one.heartbeat:
            tell(one)
        snapshots += not one.heartbeat
        if snapshots == count and count:
            return


def _table(snapshot: watch_pb2.WatchModelsResponse) -> RenderableType:
    rows = [
        (
            resources.model_id(model.name),
            alias.alias,
            alias.version,
            version.stage,
            alias.generation,
            model.latest_version,
            version.artifact_sha256[:12],
        )
        for model in snapshot.models
        for alias in model.aliases
        for version in model.versions
        if version.version == alias.version
    ]
    return show.table(f"Aliases at revision {snapshot.revision}", _COLUMNS, rows)
