"""`turnout events`: what the journal holds, and what is taken out of it."""

import contextlib
import importlib.util
import json
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from turnout.cli import literals, options, show
from turnout.cli.document import document_of, enum_name
from turnout.cli.following import followed
from turnout.events.v1 import event_service_pb2 as pb

app = typer.Typer(help="See what the journal holds.", no_args_is_help=True)

Model = Annotated[str, typer.Option("--model", help="Only events of this model.")]

_SHOWN = (
    "request_id",
    "model",
    "version",
    "experiment",
    "variant",
    "unit_id",
    "status",
    "name",
    "value",
    "label",
    "sequence",
    "lost",
)


class Kind(StrEnum):
    """The kinds of events."""

    PREDICTION = "prediction"
    OUTCOME = "outcome"
    GAP = "gap"
    SHADOW = "shadow"


@app.command()
def count(*, model: Model = "", server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Count events, each identity once."""
    with options.control(server) as connection:
        document = document_of(connection.events.CountEvents(pb.CountEventsRequest(model=model)))
    show.emit(document, lambda: [show.facts("Events", document.items())], as_json=as_json)


@app.command()
def tail(
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=0, max=1000, help="How many of the newest.")] = 10,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new events; with --json, one document a line.")
    ] = False,
    model: Model = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Show the newest events, the oldest of them first."""
    request = pb.TailEventsRequest(limit=limit, follow=follow, model=model)
    with options.control(server) as connection, contextlib.suppress(KeyboardInterrupt):  # the end of following
        answers = connection.events.TailEvents(request)
        if follow:
            for one in followed(answers):
                _emit_one(_document(one), as_json=as_json)
            return
        found = [_document(one) for one in answers]
        rows = [(literals.format_time(one["time_us"]), one["kind"], _summary(one["event"])) for one in found]
        show.emit({"events": found}, lambda: [show.table("Events", ("time", "kind", "event"), rows)], as_json=as_json)


@app.command()
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE.parquet", help="What to write.", dir_okay=False)],
    *,
    kind: Annotated[Kind, typer.Option("--kind", help="Which events.")] = Kind.PREDICTION,
    model: Model = "",
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Recorded from then on; ISO 8601 or microseconds.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Recorded before then.")] = None,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Write events of one kind to a Parquet file, each identity once."""
    request = pb.ExportEventsRequest(
        kind=pb.EventKind.Value(f"EVENT_KIND_{kind.name}"),
        model=model,
        since_us=0 if since is None else literals.parse_time(since),
        until_us=0 if until is None else literals.parse_time(until),
    )
    partial = file.with_name(file.name + ".partial")
    try:
        with options.control(server) as connection, partial.open("wb") as out:
            for piece in connection.events.ExportEvents(request):
                out.write(piece.data)
        size = partial.stat().st_size
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    document = {"file": str(file), "kind": kind.value, "bytes": size}
    show.emit(document, lambda: [f"wrote {file}: {size} bytes"], as_json=as_json)


@app.command()
def erase(
    *,
    unit: Annotated[str, typer.Option("--unit", metavar="ID", help="The unit whose events go.")] = "",
    entity: Annotated[str, typer.Option("--entity", metavar="KEY=VALUE", help="The entity whose events go.")] = "",
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the audit.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Erase all events of a unit or an entity, for good; the audit says who did and why, and not whose they were."""
    if bool(unit) == bool(entity):
        raise typer.BadParameter("give --unit or --entity, one of them")
    request = pb.EraseEventsRequest(reason=reason, dry_run=dry_run)
    if unit:
        request.unit_id = unit
    else:
        key, equals, value = entity.partition("=")
        if not (key and equals and value):
            raise typer.BadParameter("--entity is KEY=VALUE")
        request.entity.key, request.entity.value = key, value
    with options.control(server) as connection:
        answer = connection.events.EraseEvents(request)
    document = document_of(answer) | {"dry_run": dry_run}
    title = "Would be erased" if dry_run else "Erased"
    show.emit(document, lambda: [show.facts(title, document.items())], as_json=as_json)


def _document(one: pb.TailEventsResponse) -> dict[str, Any]:
    return {
        "kind": enum_name(pb.EventKind.DESCRIPTOR, one.kind),
        "time_us": one.time_us,
        "event": json.loads(one.json),
    }


def _emit_one(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show.emit_line(document)
        return
    line = f"{literals.format_time(document['time_us'])}  {document['kind']:<10}  {_summary(document['event'])}"
    show.emit(document, lambda: [line], as_json=False)


def _summary(event: dict[str, Any]) -> str:
    return " ".join(f"{key}={event[key]}" for key in _SHOWN if event.get(key) not in (None, ""))


@app.command()
def recover(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The state folder of a gateway that will not come back.")
    ],
    *,
    events: Annotated[
        str, typer.Option("--events", envvar="TURNOUT_EVENTS", metavar="URL", help="Where gateways share their events.")
    ],
    as_json: options.Json = False,
) -> None:
    """Bring the events that a dead gateway left on its disk into the log that gateways share.

    It may be run again at any time, on any machine that reaches the bucket; nothing is shipped twice. Needs the extra
    `server`.
    """
    if importlib.util.find_spec("gateway") is None:
        raise typer.BadParameter("the gateway is not installed here: install turnout[server]")
    command = [sys.executable, "-m", "gateway.bootstrap.recovery", str(folder), "--events", events]
    with Console(stderr=True).status("shipping what is left"):
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603  (this interpreter)
    if done.stdout:
        document = json.loads(done.stdout)
        show.emit(document, lambda: [show.facts("Recovered", document.items())], as_json=as_json)
    raise typer.Exit(done.returncode)
