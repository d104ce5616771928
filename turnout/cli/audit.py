"""`turnout audit`: who changed what, from where, and what was before and after."""

import json
from typing import Annotated, Any

import typer

from turnout.admin.v1 import admin_service_pb2 as pb
from turnout.cli import literals, options, show

app = typer.Typer(help="See who changed what.", no_args_is_help=True)


@app.command("list")
def list_(
    *,
    resource: Annotated[
        str, typer.Option("--resource", metavar="NAME", help="Only of this and what is below it: models/petals.")
    ] = "",
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Only from then on.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many of the newest.")] = 100,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """List the audit, newest first."""
    request = pb.ListEventsRequest(resource=resource, since_us=literals.parse_time(since) if since else 0)
    found: list[dict[str, Any]] = []
    with options.control(server) as connection:
        while len(found) < limit:
            request.page_size = min(limit - len(found), 1000)
            page = connection.admin.ListEvents(request)
            found += [_document(event) for event in page.events]
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
    rows = [
        (
            one["revision"],
            literals.format_time(one["time_us"]),
            one["kind"],
            one["resource"],
            f"{one['actor']} ({one['credential']})" if one["credential"] else one["actor"],
            one["peer"],
            _values(one["before"]),
            _values(one["after"]),
        )
        for one in found
    ]
    columns = ("revision", "time", "what", "resource", "who", "from", "before", "after")
    show.emit({"events": found}, lambda: [show.table("Audit", columns, rows)], as_json=as_json)


def _document(event: pb.AuditEvent) -> dict[str, Any]:
    return {
        "revision": event.revision,
        "time_us": event.time_us,
        "kind": event.kind,
        "resource": event.resource,
        "actor": event.actor,
        "credential": event.credential,
        "peer": event.peer,
        "detail": json.loads(event.detail_json),
        "before": json.loads(event.before_json or "null"),
        "after": json.loads(event.after_json or "null"),
    }


def _values(facts: dict[str, Any] | None) -> str:
    return "" if facts is None else " ".join(f"{key}={value}" for key, value in facts.items())
