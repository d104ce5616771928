"""`turnout events`: what the journal holds."""

import contextlib
import json
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from turnout.cli import literals, options, show
from turnout.cli.document import document_of, enum_name
from turnout.events.v1 import event_service_pb2 as pb

app = typer.Typer(help="See what the journal holds.", no_args_is_help=True)

Model = Annotated[str, typer.Option("--model", help="Only events of this model.")]

_SHOWN = ("request_id", "model", "version", "experiment", "variant", "unit_id", "status", "name", "value", "lost")


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
        documents = _documents(iter(connection.events.TailEvents(request)))
        if follow:
            for document in documents:
                _emit_one(document, as_json=as_json)
            return
        found = list(documents)
        rows = [(literals.format_time(one["time_us"]), one["kind"], _summary(one["event"])) for one in found]
        show.emit({"events": found}, lambda: [show.table("Events", ("time", "kind", "event"), rows)], as_json=as_json)


def _documents(messages: Iterator[pb.TailEventsResponse]) -> Iterator[dict[str, Any]]:
    for one in messages:
        yield {
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
