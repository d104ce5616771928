"""`turnout webhooks`: who is told of changes, and what has become of it."""

from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from turnout import resources
from turnout.cli import literals, options, show
from turnout.cli.document import document_of, enum_name
from turnout.cli.paging import all_pages
from turnout.registry.v1 import webhook_service_pb2 as pb

app = typer.Typer(help="Tell others of changes, by HTTP.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The webhook's name.")]


@app.command()
def create(
    name: Name,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are POSTed to.")],
    *,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help="Only this kind, e.g. alias.moved or version.*; repeatable."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", metavar="NAME", help="Only this model; repeatable.")
    ] = None,
    source: Annotated[str, typer.Option("--source", help="What the events give as their source.")] = "",
    secret_file: Annotated[
        Path | None,
        typer.Option("--secret-file", exists=True, dir_okay=False, help="A file with the secret; else one is made."),
    ] = None,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Create a webhook; its secret is shown now and never again."""
    webhook = pb.Webhook(
        name=resources.webhook_name(name),
        url=url,
        event_kinds=kind or (),
        models=[resources.model_name(one) for one in model or ()],
        source=source,
    )
    secret = secret_file.read_text().strip() if secret_file is not None else ""
    with options.control(server) as connection:
        answer = connection.webhooks.CreateWebhook(pb.CreateWebhookRequest(webhook=webhook, secret=secret))
    pairs = [*_facts(answer.webhook), ("secret", answer.secret)]
    show.emit(document_of(answer), lambda: [show.facts("Created", pairs)], as_json=as_json)


@app.command("list")
def list_(*, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """List the webhooks."""
    with options.control(server) as connection:
        found = all_pages(connection.webhooks.ListWebhooks, pb.ListWebhooksRequest(), "webhooks")
    rows = [
        (resources.webhook_id(one.name), one.url, list(one.event_kinds), list(one.models), *_standing(one))
        for one in found
    ]
    show.emit(
        {"webhooks": [document_of(one) for one in found]},
        lambda: [show.table("Webhooks", ("name", "url", "kinds", "models", "paused", "pending", "dead"), rows)],
        as_json=as_json,
    )


@app.command("show")
def show_(name: Name, *, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Show a webhook, without its secret."""
    with options.control(server) as connection:
        webhook = connection.webhooks.GetWebhook(pb.GetWebhookRequest(name=resources.webhook_name(name))).webhook
    show.emit(document_of(webhook), lambda: [show.facts(name, _facts(webhook))], as_json=as_json)


@app.command()
def pause(name: Name, *, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Let a webhook wait; what changes meanwhile is kept for it."""
    _set_paused(name, server, paused=True, as_json=as_json)


@app.command()
def resume(name: Name, *, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Let a webhook go on, with what changed meanwhile."""
    _set_paused(name, server, paused=False, as_json=as_json)


@app.command()
def delete(name: Name, *, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Remove a webhook with all that it has not delivered."""
    with options.control(server) as connection:
        answer = connection.webhooks.DeleteWebhook(pb.DeleteWebhookRequest(name=resources.webhook_name(name)))
    show.emit(document_of(answer), lambda: [f"{name} is gone"], as_json=as_json)


@app.command("test")
def try_(name: Name, *, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Deliver a test event now and say how that went; fails when it was not taken."""
    with options.control(server) as connection:
        answer = connection.webhooks.TestWebhook(pb.TestWebhookRequest(name=resources.webhook_name(name)))
    said = f"taken, with {answer.status_code}" if answer.delivered else f"not taken: {answer.error}"
    show.emit(document_of(answer), lambda: [f"{name}: {said}"], as_json=as_json)
    if not answer.delivered:
        raise typer.Exit(1)


@app.command()
def deliveries(
    name: Name,
    *,
    dead: Annotated[bool, typer.Option("--dead", help="Only those that were given up.")] = False,
    pending: Annotated[bool, typer.Option("--pending", help="Only those that wait for an attempt.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many of the newest.")] = 100,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """List what became of a webhook's deliveries, newest first; what was delivered is kept for a week."""
    if dead and pending:
        raise typer.BadParameter("--dead and --pending exclude each other")
    state = pb.DELIVERY_STATE_DEAD if dead else pb.DELIVERY_STATE_PENDING if pending else pb.DELIVERY_STATE_UNSPECIFIED
    request = pb.ListDeliveriesRequest(parent=resources.webhook_name(name), state=state, page_size=limit)
    with options.control(server) as connection:
        answer = connection.webhooks.ListDeliveries(request)
    rows = [
        (
            one.revision,
            one.kind,
            one.resource,
            enum_name(pb.DeliveryState.DESCRIPTOR, one.state),
            one.attempts,
            literals.format_time(one.attempt_time_us),
            literals.format_time(one.due_us),
            one.status_code or None,
            one.error,
        )
        for one in answer.deliveries
    ]
    columns = ("revision", "what", "resource", "state", "attempts", "last", "next", "status", "why")
    show.emit(document_of(answer), lambda: [show.table("Deliveries", columns, rows)], as_json=as_json)


@app.command()
def redeliver(
    name: Name,
    *,
    revision: Annotated[
        int, typer.Option("--revision", min=0, help="Only this delivery; default: all given up and all that wait.")
    ] = 0,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Try deliveries again at once."""
    request = pb.RedeliverWebhookRequest(name=resources.webhook_name(name), revision=revision)
    with options.control(server) as connection:
        answer = connection.webhooks.RedeliverWebhook(request)
    show.emit(document_of(answer), lambda: [f"deliveries to be tried again: {answer.count}"], as_json=as_json)


def _set_paused(name: str, server: str, *, paused: bool, as_json: bool) -> None:
    request = pb.UpdateWebhookRequest(
        webhook=pb.Webhook(name=resources.webhook_name(name), paused=paused), update_mask=FieldMask(paths=["paused"])
    )
    with options.control(server) as connection:
        webhook = connection.webhooks.UpdateWebhook(request).webhook
    show.emit(document_of(webhook), lambda: [show.facts(name, _facts(webhook))], as_json=as_json)


def _standing(webhook: pb.Webhook) -> tuple[bool, int, int]:
    return webhook.paused, webhook.pending, webhook.dead


def _facts(webhook: pb.Webhook) -> list[tuple[str, Any]]:
    paused, pending, dead = _standing(webhook)
    return [
        ("name", webhook.name),
        ("url", webhook.url),
        ("kinds", list(webhook.event_kinds)),
        ("models", list(webhook.models)),
        ("source", webhook.source),
        ("paused", paused),
        ("pending", pending),
        ("dead", dead),
        ("told up to revision", webhook.cursor_revision),
        ("created", literals.format_time(webhook.create_time_us)),
        ("by", webhook.create_actor),
    ]
