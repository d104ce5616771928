"""`turnout models`: publish versions, and say which one is the champion."""

import json
from typing import Annotated, Any

import typer

from turnout import resources, tensors
from turnout.cli import literals, options, show
from turnout.cli.configure import configure
from turnout.cli.document import document_of, enum_name
from turnout.cli.paging import all_pages
from turnout.registry.v1 import registry_service_pb2 as pb

app = typer.Typer(help="Publish versions of models, and say which one is the champion.", no_args_is_help=True)

app.command()(configure)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
Generation = Annotated[
    int | None,
    typer.Option("--generation", min=0, help="The generation of champion that you have seen; refused when it moved."),
]
Pairs = list[str] | None


@app.command("list")
def list_(*, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """List the models."""
    with options.control(server) as connection:
        models = all_pages(connection.registry.ListModels, pb.ListModelsRequest(), "models")
    rows = [
        (resources.model_id(one.name), one.latest_version or None, _aliases(one), one.owner, one.description)
        for one in models
    ]
    show.emit(
        {"models": [document_of(one) for one in models]},
        lambda: [show.table("Models", ("model", "latest", "aliases", "owner", "description"), rows)],
        as_json=as_json,
    )


@app.command("show")
def show_(
    name: Name,
    *,
    version: Annotated[int | None, typer.Option("--version", min=1, help="Show this version alone, in full.")] = None,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Show a model with its versions, newest first, or one version."""
    with options.control(server) as connection:
        if version is not None:
            one = connection.registry.GetVersion(
                pb.GetVersionRequest(name=resources.version_name(name, version))
            ).version
            show.emit(document_of(one), lambda: [show.facts(one.name, version_facts(one))], as_json=as_json)
            return
        model = connection.registry.GetModel(pb.GetModelRequest(name=resources.model_name(name))).model
        versions = all_pages(connection.registry.ListVersions, pb.ListVersionsRequest(parent=model.name), "versions")
    pairs = model_facts(model)
    columns = ("version", "stage", "published", "by", "algorithm", "metrics", "sha256")
    rows = [
        (
            one.version,
            enum_name(pb.Stage.DESCRIPTOR, one.stage),
            literals.format_time(one.create_time_us),
            one.create_actor,
            one.facts.algorithm,
            dict(one.facts.metrics),
            one.artifact_sha256[:12],
        )
        for one in versions
    ]
    show.emit(
        {"model": document_of(model), "versions": [document_of(one) for one in versions]},
        lambda: (show.facts(name, pairs), show.table("Versions", columns, rows)),
        as_json=as_json,
    )


@app.command()
def promote(
    name: Name,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The version's number.")],
    *,
    generation: Generation = None,
    reason: options.Reason = "",
    evidence: Annotated[str, typer.Option("--evidence", metavar="JSON", help="What supports it.")] = "",
    override: Annotated[
        str, typer.Option("--override", metavar="REASON", help="Promote although a gate says no; shown for ever.")
    ] = "",
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Make a version the champion."""
    with options.control(server) as connection:
        answer = connection.promote(
            name,
            version,
            generation=generation,
            reason=reason,
            evidence_json=evidence,
            override_reason=override,
        )
        options.settle(connection, answer.revision, wait=wait)
    show.emit(document_of(answer), lambda: [_moved(name, answer.alias)], as_json=as_json)


@app.command()
def rollback(
    name: Name,
    *,
    version: Annotated[
        int, typer.Option("--version", min=0, help="Go back to this one; default: the champion before.")
    ] = 0,
    generation: Generation = None,
    reason: options.Reason = "",
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Make an earlier champion the champion again."""
    request = pb.RollbackModelRequest(name=resources.model_name(name), version=version, reason=reason)
    if generation is not None:
        request.generation = generation
    with options.control(server) as connection:
        answer = connection.registry.RollbackModel(request)
        options.settle(connection, answer.revision, wait=wait)
    show.emit(document_of(answer), lambda: [_moved(name, answer.alias)], as_json=as_json)


@app.command()
def history(
    name: Name,
    *,
    alias: Annotated[str, typer.Option("--alias", help="Only this alias.")] = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """List who moved the model's aliases, when and why, newest first."""
    request = pb.ListAliasHistoryRequest(parent=resources.model_name(name), alias=alias)
    with options.control(server) as connection:
        moves = all_pages(connection.registry.ListAliasHistory, request, "moves")
    rows = [
        (
            literals.format_time(one.time_us),
            one.alias,
            one.generation,
            one.from_version or None,
            one.to_version,
            one.actor,
            one.reason,
        )
        for one in moves
    ]
    columns = ("time", "alias", "generation", "from", "to", "by", "reason")
    show.emit(
        {"moves": [document_of(one) for one in moves]},
        lambda: [show.table(f"Moves of {name}'s aliases", columns, rows)],
        as_json=as_json,
    )


def _aliases(model: pb.Model) -> str:
    return ", ".join(f"{one.alias} = {one.version} (generation {one.generation})" for one in model.aliases)


def model_facts(model: pb.Model) -> list[tuple[str, Any]]:
    """Return what there is to say of a model, by name."""
    return [
        ("name", model.name),
        ("aliases", _aliases(model)),
        ("owner", model.owner),
        ("description", model.description),
        ("tags", dict(model.tags)),
        ("properties", dict(model.properties)),
        ("gates", [f"{gate.kind} {gate.settings_json}".strip() for gate in model.gates]),
        ("deleted", literals.format_time(model.delete_time_us)),
        ("etag", model.etag),
    ]


def _moved(model: str, alias: pb.Alias) -> str:
    return f"{alias.alias} of {model} is version {alias.version} (generation {alias.generation})"


def version_facts(version: pb.Version) -> list[tuple[str, Any]]:
    """Return what there is to say of a version, by name."""
    facts = version.facts
    return [
        ("name", version.name),
        ("stage", enum_name(pb.Stage.DESCRIPTOR, version.stage)),
        ("published", literals.format_time(version.create_time_us)),
        ("by", version.create_actor),
        ("sha256", version.artifact_sha256),
        ("bytes", version.artifact_bytes),
        ("inputs", _signature(version.inputs)),
        ("outputs", _signature(version.outputs)),
        ("probe rows", version.probe_rows),
        ("feature set", facts.feature_set),
        ("algorithm", facts.algorithm),
        ("framework", facts.framework),
        ("metrics", dict(facts.metrics)),
        ("importance", _importance(facts.importance_json)),
        ("parameters", dict(facts.parameters)),
        ("dataset", facts.dataset),
        ("made from", [*(f"{number}" for number in facts.parents), *facts.parents_elsewhere]),
        ("tags", dict(version.tags)),
        ("properties", dict(version.properties)),
        ("description", version.description),
        ("deprecated", version.deprecated_reason),
        ("signed by", version.signed_by),
        ("deleted", literals.format_time(version.delete_time_us)),
        ("etag", version.etag),
    ]


def _importance(text: str) -> str:
    """Return by how much the loss grows when each feature is permuted, with the standard error of that."""
    if not text:
        return ""
    said = json.loads(text)
    each = (f"{one['feature']} {one['increase']:.3g} ±{one['standard_error']:.1g}" for one in said["features"])
    return f"{said['metric']} {said['loss']:.4g} grows by " + ", ".join(each)


def _signature(specs: Any) -> str:
    return ", ".join(
        f"{one.name}: {'finite ' if one.finite else ''}{tensors.dtype_name(one.data_type)}{list(one.shape)}"
        for one in specs
    )
