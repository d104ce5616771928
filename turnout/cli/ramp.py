"""`turnout experiments ramp`: give a version more and more of the traffic, as long as nothing gets worse."""

from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.field_mask_pb2 import FieldMask

from turnout import resources
from turnout.cli import analysis, options, ramp_parts, show
from turnout.cli.document import document_of
from turnout.cli.experiment_file import read_ramp
from turnout.cli.experiments import Name
from turnout.cli.experiments import app as experiments
from turnout.cli.paging import all_pages
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.experiments.v1 import ramp_pb2
from turnout.rollout import MINIMUM_UNITS, gradual_rollout

app = typer.Typer(
    help="Give a version more and more of the traffic, and take it away when something gets worse.",
    no_args_is_help=True,
)
experiments.add_typer(app, name="ramp")


@app.command()
def rollout(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model.")],
    target: Annotated[int, typer.Argument(metavar="VERSION", help="The version that is to become its champion.")],
    *,
    duration_s: Annotated[float, typer.Option("--duration", min=0, help="Seconds that it takes at the least.")] = 21600,
    units: Annotated[
        int, typer.Option("--minimum-units", min=0, help="Units of each arm with an outcome in every step.")
    ] = MINIMUM_UNITS,
    name: Annotated[str, typer.Option("--name", help="Of the experiment; MODEL-to-VERSION unless given.")] = "",
    promote: Annotated[bool, typer.Option(help="Make the version the champion at the end.")] = True,
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Take a version from 1 % to all of the traffic, in six steps, beginning now."""
    request = gradual_rollout(model, target, duration_s, name=name, minimum_units=units, promote=promote)
    with options.control(server) as connection:
        made = connection.experiments.CreateExperiment(request).experiment
        answer = connection.experiments.StartExperiment(pb.StartExperimentRequest(name=made.name))
        options.settle(connection, answer.revision, wait=wait)
    show.emit(document_of(answer), lambda: analysis.experiment_parts(answer.experiment), as_json=as_json)


@app.command("set")
def set_(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", exists=True, dir_okay=False, help="The table [ramp].")],
    *,
    etag: Annotated[str, typer.Option("--etag", help="Only if nobody has changed it since.")] = "",
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Give an experiment a ramp: one that was started begins it with that, at the first step."""
    experiment = pb.Experiment(name=resources.experiment_name(name), ramp=read_ramp(file))
    request = pb.UpdateExperimentRequest(experiment=experiment, update_mask=FieldMask(paths=["ramp"]), etag=etag)
    with options.control(server) as connection:
        answer = connection.experiments.UpdateExperiment(request)
        options.settle(connection, answer.revision, wait=wait)
    show.emit(document_of(answer), lambda: analysis.experiment_parts(answer.experiment), as_json=as_json)


@app.command("show")
def show_(name: Name, *, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Show where a ramp stands, and what its guardrails say."""
    with options.control(server) as connection:
        answer = connection.experiments.GetRamp(pb.GetRampRequest(name=resources.experiment_name(name)))
    _show(answer.ramp, as_json=as_json)


@app.command()
def events(name: Name, *, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """List what happened to a ramp; with --json, each with the numbers that it was decided on."""
    request = pb.ListRampEventsRequest(name=resources.experiment_name(name))
    with options.control(server) as connection:
        found = all_pages(connection.experiments.ListRampEvents, request, "events")
    rows = ramp_parts.event_rows(found)
    show.emit(
        {"events": [document_of(one) for one in found]},
        lambda: [show.table("Events", ("", "when", "what", "step", "why"), rows)],
        as_json=as_json,
    )


@app.command()
def preview(
    name: Name,
    *,
    rise: Annotated[float, typer.Option("--rise", help="How much larger the part of bad units is.")] = 0.05,
    baseline: Annotated[float, typer.Option("--baseline", help="The part of the control's that is bad.")] = 0.01,
    variance: Annotated[float, typer.Option("--variance", help="Of a unit's value, for metrics.")] = 0.25,
    confidence: Annotated[float, typer.Option("--confidence", help="With which probability it holds.")] = 0.99,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Say how many units of a candidate a fault reaches at most before the ramp takes it away."""
    request = pb.PreviewRampRequest(
        name=resources.experiment_name(name), rise=rise, baseline=baseline, variance=variance, confidence=confidence
    )
    with options.control(server) as connection:
        answer = connection.experiments.PreviewRamp(request)
    columns = ("guardrail or metric", "step", "units at most", "of them bad")
    title = f"A rise by {rise:.4g} is seen within"
    show.emit(
        document_of(answer), lambda: [show.table(title, columns, ramp_parts.bound_rows(answer.bounds))], as_json=as_json
    )


@app.command()
def pause(
    name: Name, *, reason: options.Reason = "", server: options.Server = options.SERVER, as_json: options.Json = False
) -> None:
    """Keep a ramp where it is until it is resumed; a breach still takes the candidate away."""
    request = pb.PauseRampRequest(name=resources.experiment_name(name), reason=reason)
    with options.control(server) as connection:
        _show(connection.experiments.PauseRamp(request).ramp, as_json=as_json)


@app.command()
def resume(
    name: Name, *, reason: options.Reason = "", server: options.Server = options.SERVER, as_json: options.Json = False
) -> None:
    """Let a paused ramp go on."""
    request = pb.ResumeRampRequest(name=resources.experiment_name(name), reason=reason)
    with options.control(server) as connection:
        _show(connection.experiments.ResumeRamp(request).ramp, as_json=as_json)


@app.command()
def approve(
    name: Name,
    step: Annotated[int, typer.Argument(metavar="STEP", min=1, help="The number of the step in force.")],
    *,
    reason: options.Reason = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Approve the step in force, so that it may be left."""
    request = pb.ApproveRampStepRequest(name=resources.experiment_name(name), step=step, reason=reason)
    with options.control(server) as connection:
        _show(connection.experiments.ApproveRampStep(request).ramp, as_json=as_json)


@app.command()
def abort(
    name: Name,
    *,
    reason: options.Reason = "",
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Take the candidate away for good; the experiment is concluded without a winner."""
    request = pb.AbortRampRequest(name=resources.experiment_name(name), reason=reason)
    with options.control(server) as connection:
        answer = connection.experiments.AbortRamp(request)
        options.settle(connection, answer.revision, wait=wait)
    _show(answer.ramp, as_json=as_json)


def _show(ramp: ramp_pb2.RampStatus, *, as_json: bool) -> None:
    show.emit(document_of(ramp), lambda: ramp_parts.status_parts(ramp), as_json=as_json)
