"""The commands of `turnout experiments` that change an experiment's definition or state."""

from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from turnout import resources
from turnout.cli import analysis, options, show
from turnout.cli.document import document_of
from turnout.cli.experiment_file import read_experiment
from turnout.cli.experiments import Name, app
from turnout.experiments.v1 import experiment_service_pb2 as pb

Etag = Annotated[str, typer.Option("--etag", help="The etag that you have seen; refused when it changed.")]
_DEFINED = (
    "description",
    "owner",
    "variants",
    "coverage",
    "seed",
    "metrics",
    "alpha",
    "minimum_units",
    "plan",
    "unit",
    "targeting",
    "forced",
    "layer_share",
    "ramp",
)


@app.command()
def update(
    name: Name,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE.toml]", exists=True, dir_okay=False, help="A draft's whole new definition."),
    ] = None,
    *,
    description: Annotated[str | None, typer.Option("--description", help="What is tried and why.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Who answers for it.")] = None,
    coverage: Annotated[float | None, typer.Option("--coverage", help="Only greater once it was started.")] = None,
    etag: Etag = "",
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Replace a draft's definition by a file's, or the words about an experiment and how many units it covers."""
    words = {"description": description, "owner": owner, "coverage": coverage}
    given: dict[str, Any] = {field: value for field, value in words.items() if value is not None}
    if bool(given) == (file is not None):
        raise typer.BadParameter("give a file, or --description, --owner and --coverage")
    experiment, paths = pb.Experiment(**given), list(given)
    if file is not None:
        read = read_experiment(file)
        if read.experiment_id != name:
            raise typer.BadParameter(f"the file defines {read.experiment_id!r}, not {name!r}")
        experiment, paths = read.experiment, list(_DEFINED)
    experiment.name = resources.experiment_name(name)
    request = pb.UpdateExperimentRequest(experiment=experiment, update_mask=FieldMask(paths=paths), etag=etag)
    with options.control(server) as connection:
        answer = connection.experiments.UpdateExperiment(request)
        options.settle(connection, answer.revision, wait=wait)
    show.emit(document_of(answer), lambda: analysis.experiment_parts(answer.experiment), as_json=as_json)


@app.command()
def delete(
    name: Name, *, etag: Etag = "", server: options.Server = options.SERVER, as_json: options.Json = False
) -> None:
    """Forget a draft; what has assigned units is kept."""
    request = pb.DeleteExperimentRequest(name=resources.experiment_name(name), etag=etag)
    with options.control(server) as connection:
        answer = connection.experiments.DeleteExperiment(request)
    show.emit(document_of(answer), lambda: [f"{request.name} is gone"], as_json=as_json)


@app.command()
def pause(
    name: Name,
    *,
    reason: options.Reason = "",
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Give its units the champion until it is resumed; no other experiment gets them."""
    request = pb.PauseExperimentRequest(name=resources.experiment_name(name), reason=reason)
    with options.control(server) as connection:
        answer = connection.experiments.PauseExperiment(request)
        options.settle(connection, answer.revision, wait=wait)
    show.emit(document_of(answer), lambda: analysis.experiment_parts(answer.experiment), as_json=as_json)


@app.command()
def resume(
    name: Name,
    *,
    reason: options.Reason = "",
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Assign units again, each its variant of before."""
    request = pb.ResumeExperimentRequest(name=resources.experiment_name(name), reason=reason)
    with options.control(server) as connection:
        answer = connection.experiments.ResumeExperiment(request)
        options.settle(connection, answer.revision, wait=wait)
    show.emit(document_of(answer), lambda: analysis.experiment_parts(answer.experiment), as_json=as_json)


@app.command()
def archive(
    name: Name,
    *,
    reason: options.Reason = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Close a concluded experiment to every change."""
    request = pb.ArchiveExperimentRequest(name=resources.experiment_name(name), reason=reason)
    with options.control(server) as connection:
        answer = connection.experiments.ArchiveExperiment(request)
    show.emit(document_of(answer), lambda: analysis.experiment_parts(answer.experiment), as_json=as_json)
