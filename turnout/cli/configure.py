"""`turnout models configure`: how a model's versions, or one of them, are run."""

from enum import StrEnum
from typing import Annotated

import typer

from turnout import resources
from turnout.cli import options, show
from turnout.cli.document import document_of, enum_name
from turnout.registry.v1 import deployment_service_pb2 as pb


class Optimization(StrEnum):
    """How far a graph is rewritten at load."""

    NONE = "none"
    BASIC = "basic"
    EXTENDED = "extended"
    ALL = "all"


def configure(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")],
    *,
    version: Annotated[int, typer.Option("--version", min=0, help="Settings of this version's own.")] = 0,
    intra_op_threads: Annotated[int | None, typer.Option(min=1, help="Threads within an operator.")] = None,
    inter_op_threads: Annotated[int | None, typer.Option(min=1, help="Threads between operators.")] = None,
    arena: Annotated[
        bool | None, typer.Option("--arena/--no-arena", help="Keep freed memory for the next run.")
    ] = None,
    provider: Annotated[
        list[str] | None, typer.Option("--provider", metavar="NAME", help="What runs it, in order; repeatable.")
    ] = None,
    graph_optimization: Annotated[Optimization | None, typer.Option(help="How far it is rewritten at load.")] = None,
    warm_up: Annotated[
        list[str] | None,
        typer.Option("--warm-up", metavar="INPUT=1x4[,…]", help="Shapes to run at load; repeatable."),
    ] = None,
    stack_rows_max: Annotated[
        int | None, typer.Option(min=1, max=64, help="Rows of waiting calls that may run together; 1 turns it off.")
    ] = None,
    stack_tolerance: Annotated[
        float | None, typer.Option(min=0, max=1, help="How far rows that run together may differ; 0: not by a bit.")
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Begin from the defaults, or a version from its model.")
    ] = False,
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Show how a model's versions are run, or change it: workers load them anew beside what answers."""
    target = resources.version_name(name, version) if version else resources.model_name(name)
    changes = pb.Deployment(
        name=target,
        intra_op_threads=intra_op_threads,
        inter_op_threads=inter_op_threads,
        arena=arena,
        execution_providers=provider or (),
        warm_ups=[_warm_up(text) for text in warm_up or ()],
        stack_rows_max=stack_rows_max,
        stack_tolerance=stack_tolerance,
    )
    if graph_optimization is not None:
        changes.graph_optimization = pb.GraphOptimization.Value(f"GRAPH_OPTIMIZATION_{graph_optimization.name}")
    with options.control(server) as connection:
        if reset or changes != pb.Deployment(name=target):
            answer = connection.deployments.SetDeployment(pb.SetDeploymentRequest(deployment=changes, reset=reset))
            options.settle(connection, answer.revision, wait=wait)
        found = connection.deployments.GetDeployment(pb.GetDeploymentRequest(name=target))
    one = found.deployment
    facts = [
        ("intra-op threads", one.intra_op_threads),
        ("inter-op threads", one.inter_op_threads),
        ("arena", one.arena),
        ("providers", ", ".join(one.execution_providers)),
        ("graph optimization", enum_name(pb.GraphOptimization.DESCRIPTOR, one.graph_optimization)),
        ("warm-up", "; ".join(_warm_up_text(each) for each in one.warm_ups)),
        ("stacked rows, at most", one.stack_rows_max),
        ("stacking tolerance", one.stack_tolerance),
    ]
    document = document_of(one)
    if found.HasField("endpoint"):
        endpoint = found.endpoint
        served = f"{endpoint.serving_workers} of {endpoint.workers} workers"
        facts.append(("served at", f"{endpoint.address}, {endpoint.model} version {endpoint.version}, by {served}"))
        document["endpoint"] = document_of(endpoint)
    show.emit(document, lambda: [show.facts(target, facts)], as_json=as_json)


def _warm_up(text: str) -> pb.WarmUp:
    """Return the shapes in ``x=1x4,y=1``, or refuse the option."""
    warm_up = pb.WarmUp()
    for part in text.split(","):
        name, equals, shape = part.partition("=")
        extents = shape.split("x") if shape else []
        if not name or not equals or not all(extent.isdecimal() for extent in extents):
            raise typer.BadParameter(f"a warm-up is INPUT=1x4, or several with commas between them, not {text!r}")
        warm_up.inputs[name].extents.extend(int(extent) for extent in extents)
    return warm_up


def _warm_up_text(warm_up: pb.WarmUp) -> str:
    return ", ".join(f"{name}={'x'.join(map(str, shape.extents))}" for name, shape in sorted(warm_up.inputs.items()))
