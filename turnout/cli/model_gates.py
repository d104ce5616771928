"""`turnout models gates|approve` and `turnout taints`: what stands between a version and production."""

import json
from typing import Annotated, Any

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from turnout import resources
from turnout.cli import literals, options, show
from turnout.cli.document import document_of, enum_name
from turnout.cli.literals import LiteralError
from turnout.cli.model_changes import Version
from turnout.cli.models import Name, app
from turnout.cli.paging import all_pages
from turnout.registry.v1 import gate_pb2, taint_pb2
from turnout.registry.v1 import registry_service_pb2 as pb

taints = typer.Typer(help="Mark what is wrong; what it touches is not promoted.", no_args_is_help=True)


@app.command()
def gates(
    name: Name,
    *,
    version: Annotated[int | None, typer.Option("--version", min=1, help="How this version stands at them.")] = None,
    put: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KIND[:K=V,…]", help="All gates from now on, e.g. metric:metric=auc,at_least=0.8."
        ),
    ] = None,
    none: Annotated[bool, typer.Option("--none", help="Have no gates from now on.")] = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Show or set what a version of a model must have before it becomes the champion."""
    with options.control(server) as connection:
        if version is not None:
            request = gate_pb2.GetGateStatusRequest(name=resources.version_name(name, version))
            answer = connection.registry.GetGateStatus(request)
            show.emit(document_of(answer), lambda: _status(answer, name, version), as_json=as_json)
            return
        if put or none:
            model = pb.Model(name=resources.model_name(name), gates=[parse_gate(text) for text in put or ()])
            mask = FieldMask(paths=["gates"])
            model = connection.registry.UpdateModel(pb.UpdateModelRequest(model=model, update_mask=mask)).model
        else:
            model = connection.registry.GetModel(pb.GetModelRequest(name=resources.model_name(name))).model
    rows = [(one.kind, json.loads(one.settings_json or "{}")) for one in model.gates]
    show.emit(
        {"gates": [document_of(one) for one in model.gates]},
        lambda: [show.table(f"Gates of {name}", ("gate", "settings"), rows)],
        as_json=as_json,
    )


@app.command()
def approve(
    name: Name,
    version: Version,
    *,
    role: Annotated[str, typer.Option("--role", help="In which role.")],
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Take an approval back.")] = False,
    note: Annotated[str, typer.Option("--note", help="In words.")] = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Approve a version, for the gates that ask for it."""
    request = gate_pb2.ApproveVersionRequest(
        name=resources.version_name(name, version), role=role, withdraw=withdraw, note=note
    )
    with options.control(server) as connection:
        answer = connection.registry.ApproveVersion(request)
    one = answer.approval
    what = "approved" if one.approved else "no longer approved"
    show.emit(document_of(answer), lambda: [f"{request.name} is {what} by {one.actor} as {one.role}"], as_json=as_json)


@taints.command()
def add(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="data, feature_view or version.")],
    subject: Annotated[
        str, typer.Argument(metavar="SUBJECT", help="The fingerprint, the view, or models/M/versions/N.")
    ],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Mark something as wrong, and say which versions it touches."""
    try:
        value = taint_pb2.TaintKind.Value(f"TAINT_KIND_{kind.upper()}")
    except ValueError:
        raise typer.BadParameter(f"a taint is of data, feature_view or version, not {kind!r}") from None
    request = taint_pb2.CreateTaintRequest(kind=value, subject=subject, reason=reason)
    with options.control(server) as connection:
        answer = connection.registry.CreateTaint(request)
    rows = [(name,) for name in answer.versions]
    show.emit(
        document_of(answer),
        lambda: [f"taint {answer.taint.taint_id}", show.table("Touched", ("version",), rows)],
        as_json=as_json,
    )


@taints.command()
def clear(
    taint: Annotated[int, typer.Argument(metavar="TAINT", help="Its number.")],
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why it is no longer wrong.")],
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Say that something is no longer wrong."""
    with options.control(server) as connection:
        answer = connection.registry.ClearTaint(taint_pb2.ClearTaintRequest(taint_id=taint, reason=reason))
    show.emit(document_of(answer), lambda: [f"taint {taint} is cleared"], as_json=as_json)


@taints.command("list")
def list_(
    *,
    cleared: Annotated[bool, typer.Option("--cleared", help="List cleared ones too.")] = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """List taints, newest first."""
    with options.control(server) as connection:
        request = taint_pb2.ListTaintsRequest(show_cleared=cleared)
        found = all_pages(connection.registry.ListTaints, request, "taints")
    rows = [
        (
            one.taint_id,
            enum_name(taint_pb2.TaintKind.DESCRIPTOR, one.kind).lower(),
            one.subject,
            one.reason,
            one.actor,
            literals.format_time(one.time_us),
            literals.format_time(one.clear_time_us),
        )
        for one in found
    ]
    columns = ("taint", "kind", "subject", "reason", "by", "since", "cleared")
    show.emit(
        {"taints": [document_of(one) for one in found]},
        lambda: [show.table("Taints", columns, rows)],
        as_json=as_json,
    )


def parse_gate(text: str) -> gate_pb2.Gate:
    """Return a gate that is written KIND or KIND:K=V,K=V, or raise LiteralError."""
    kind, colon, rest = text.partition(":")
    if not kind or (colon and not rest):
        raise LiteralError(f"a gate is KIND or KIND:SETTING=VALUE,…, not {text!r}")
    pairs = literals.parse_pairs(rest.split(","), "--set") if rest else {}
    settings = {key: _value(value) for key, value in pairs.items()}
    return gate_pb2.Gate(kind=kind, settings_json=json.dumps(settings) if settings else "")


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _status(answer: gate_pb2.GetGateStatusResponse, name: str, version: int) -> list[Any]:
    now = [(one.gate, one.passed, one.sentence) for one in answer.now]
    kept = [
        (literals.format_time(one.time_us), one.gate, one.passed, one.sentence, one.override_reason, one.actor)
        for one in answer.kept
    ]
    people = [
        (one.role, one.actor, one.approved, one.note, literals.format_time(one.time_us)) for one in answer.approvals
    ]
    may = "may become the champion" if answer.passes else "may not become the champion"
    return [
        f"version {version} of {name} {may}",
        show.table("Now", ("gate", "passes", "what was found"), now),
        show.table("Promotions", ("time", "gate", "passed", "what was found", "overridden because", "by"), kept),
        show.table("Approvals", ("role", "by", "approved", "note", "time"), people),
    ]
