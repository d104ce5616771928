"""`turnout models …`: what may change of models, versions and aliases."""

from typing import Annotated, Any

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from turnout import resources
from turnout.cli import literals, options, show
from turnout.cli.document import document_of, enum_name
from turnout.cli.models import Generation, Name, Pairs, app, model_facts, version_facts
from turnout.registry.v1 import registry_service_pb2 as pb

Version = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The version's number.")]
OneVersion = Annotated[
    int | None, typer.Option("--version", min=1, metavar="VERSION", help="Of this version; default: of the model.")
]
Text = str | None
Etag = Annotated[str, typer.Option("--etag", help="The etag that you have seen; refused when it was updated since.")]
Alias = Annotated[str, typer.Argument(metavar="ALIAS", help="The alias.")]


@app.command()
def update(
    name: Name,
    *,
    version: OneVersion = None,
    description: Annotated[Text, typer.Option("--description")] = None,
    owner: Annotated[Text, typer.Option("--owner", help="Who answers for the model.")] = None,
    deprecated: Annotated[
        Text, typer.Option("--deprecated", metavar="WHY", help="Why nobody should use the version; empty: one may.")
    ] = None,
    tag: Annotated[Pairs, typer.Option("--tag", metavar="K=V", help="All tags from now on; repeatable.")] = None,
    prop: Annotated[
        Pairs, typer.Option("--property", metavar="K=V", help="All properties from now on; repeatable.")
    ] = None,
    etag: Etag = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Replace what may change of a model or a version; what is not named stays."""
    values = {
        "description": description,
        "owner": owner,
        "deprecated_reason": deprecated,
        "tags": None if tag is None else literals.parse_pairs(tag, "--tag"),
        "properties": None if prop is None else literals.parse_pairs(prop, "--property"),
    }
    given: dict[str, Any] = {field: value for field, value in values.items() if value is not None}
    misplaced = "owner" if version is not None else "deprecated_reason"
    if misplaced in given:
        raise typer.BadParameter("--owner is a model's, --deprecated a version's")
    mask = FieldMask(paths=list(given))
    with options.control(server) as connection:
        if version is None:
            model = pb.Model(name=resources.model_name(name), **given)
            one = connection.registry.UpdateModel(pb.UpdateModelRequest(model=model, update_mask=mask, etag=etag)).model
            show.emit(document_of(one), lambda: [show.facts(one.name, model_facts(one))], as_json=as_json)
            return
        changed = pb.Version(name=resources.version_name(name, version), **given)
        request = pb.UpdateVersionRequest(version=changed, update_mask=mask, etag=etag)
        updated = connection.registry.UpdateVersion(request).version
    show.emit(document_of(updated), lambda: [show.facts(updated.name, version_facts(updated))], as_json=as_json)


@app.command()
def delete(
    name: Name,
    *,
    version: OneVersion = None,
    etag: Etag = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Hide a model or a version, which keeps its name and all it has; `restore` brings it back."""
    with options.control(server) as connection:
        if version is None:
            gone = connection.registry.DeleteModel(pb.DeleteModelRequest(name=resources.model_name(name), etag=etag))
            show.emit(document_of(gone), lambda: [f"{gone.model.name} is hidden"], as_json=as_json)
            return
        request = pb.DeleteVersionRequest(name=resources.version_name(name, version), etag=etag)
        hidden = connection.registry.DeleteVersion(request)
    show.emit(document_of(hidden), lambda: [f"{hidden.version.name} is hidden"], as_json=as_json)


@app.command()
def restore(
    name: Name,
    *,
    version: OneVersion = None,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Bring a deleted model or version back."""
    with options.control(server) as connection:
        if version is None:
            back = connection.registry.UndeleteModel(pb.UndeleteModelRequest(name=resources.model_name(name)))
            show.emit(document_of(back), lambda: [f"{back.model.name} is back"], as_json=as_json)
            return
        request = pb.UndeleteVersionRequest(name=resources.version_name(name, version))
        returned = connection.registry.UndeleteVersion(request)
    show.emit(document_of(returned), lambda: [f"{returned.version.name} is back"], as_json=as_json)


@app.command()
def stage(
    name: Name,
    version: Version,
    to: Annotated[str, typer.Argument(metavar="STAGE", help="development, staging or archived.")],
    *,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Move a version to a stage. Production is the version that holds champion: promote for that."""
    try:
        value = pb.Stage.Value(f"STAGE_{to.upper()}")
    except ValueError:
        raise typer.BadParameter(f"there is no stage {to!r}: development, staging, archived") from None
    request = pb.SetVersionStageRequest(name=resources.version_name(name, version), stage=value)
    with options.control(server) as connection:
        moved = connection.registry.SetVersionStage(request)
    reached = enum_name(pb.Stage.DESCRIPTOR, moved.version.stage).lower()
    show.emit(document_of(moved), lambda: [f"{moved.version.name} is in {reached}"], as_json=as_json)


@app.command()
def alias(
    name: Name,
    version: Version,
    as_alias: Alias,
    *,
    generation: Generation = None,
    until: Annotated[
        str, typer.Option("--until", metavar="TIME", help="When it ends by itself; ISO 8601 or microseconds.")
    ] = "",
    override: Annotated[str, typer.Option("--override", metavar="REASON", help="For champion: as in promote.")] = "",
    reason: options.Reason = "",
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Let an alias name a version."""
    request = pb.SetAliasRequest(
        name=resources.version_name(name, version),
        alias=as_alias,
        reason=reason,
        expire_time_us=literals.parse_time(until) if until else 0,
        override_reason=override,
    )
    if generation is not None:
        request.generation = generation
    with options.control(server) as connection:
        answer = connection.registry.SetAlias(request)
        options.settle(connection, answer.revision, wait=wait)
    one = answer.alias
    show.emit(
        document_of(answer),
        lambda: [f"{one.alias} of {name} is version {one.version} (generation {one.generation})"],
        as_json=as_json,
    )


@app.command()
def unalias(
    name: Name,
    from_alias: Alias,
    *,
    generation: Generation = None,
    reason: options.Reason = "",
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Remove an alias."""
    request = pb.DeleteAliasRequest(parent=resources.model_name(name), alias=from_alias, reason=reason)
    if generation is not None:
        request.generation = generation
    with options.control(server) as connection:
        answer = connection.registry.DeleteAlias(request)
        options.settle(connection, answer.revision, wait=wait)
    show.emit(document_of(answer), lambda: [f"{from_alias} of {name} names nothing"], as_json=as_json)


@app.command()
def holder(
    name: Name,
    of_alias: Annotated[str, typer.Argument(metavar="ALIAS", help="The alias.")] = "champion",
    *,
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="ISO 8601 or microseconds.")],
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Say which version held an alias at a time, and who gave it that and why."""
    request = pb.GetAliasHolderRequest(
        parent=resources.model_name(name), alias=of_alias, time_us=literals.parse_time(at)
    )
    with options.control(server) as connection:
        answer = connection.registry.GetAliasHolder(request)
    move = answer.move
    since = f"since {literals.format_time(move.time_us)}, by {move.actor}: {move.reason or 'no reason given'}"
    show.emit(
        document_of(answer),
        lambda: [f"version {answer.version} {since}" if answer.version else f"{of_alias} named nothing then"],
        as_json=as_json,
    )
