"""`turnout experiments`: split traffic between versions, and say which one is better."""

from pathlib import Path
from typing import Annotated, Any

import typer

from turnout import resources
from turnout.cli import analysis, literals, options, show
from turnout.cli.document import document_of, enum_name
from turnout.cli.experiment_file import read_experiment
from turnout.cli.paging import all_pages
from turnout.experiments.v1 import experiment_service_pb2 as pb

app = typer.Typer(help="Split traffic between versions, and say which one is better.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The experiment's name.")]
METHOD_HELP = "fixed, sequence or group_sequential; for this answer only."


@app.command()
def create(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", exists=True, dir_okay=False, help="The definition.")],
    *,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Create an experiment as a draft, which assigns nobody."""
    request = read_experiment(file)
    with options.control(server) as connection:
        made = connection.experiments.CreateExperiment(request).experiment
    show.emit(document_of(made), lambda: analysis.experiment_parts(made), as_json=as_json)


@app.command("list")
def list_(*, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """List the experiments."""
    with options.control(server) as connection:
        found = all_pages(connection.experiments.ListExperiments, pb.ListExperimentsRequest(), "experiments")
    rows = [
        (
            resources.experiment_id(one.name),
            resources.model_id(one.model),
            enum_name(pb.ExperimentState.DESCRIPTOR, one.state),
            ", ".join(f"{arm.variant} {arm.share:.4g}" for arm in one.variants),
            literals.format_time(one.start_time_us),
            one.winner,
        )
        for one in found
    ]
    show.emit(
        {"experiments": [document_of(one) for one in found]},
        lambda: [show.table("Experiments", ("experiment", "model", "state", "shares", "started", "winner"), rows)],
        as_json=as_json,
    )


@app.command("show")
def show_(name: Name, *, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Show an experiment."""
    with options.control(server) as connection:
        found = connection.experiments.GetExperiment(
            pb.GetExperimentRequest(name=resources.experiment_name(name))
        ).experiment
    show.emit(document_of(found), lambda: analysis.experiment_parts(found), as_json=as_json)


@app.command()
def start(
    name: Name,
    *,
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Begin to assign units."""
    with options.control(server) as connection:
        answer = connection.experiments.StartExperiment(pb.StartExperimentRequest(name=resources.experiment_name(name)))
        options.settle(connection, answer.revision, wait=wait)
    show.emit(document_of(answer), lambda: analysis.experiment_parts(answer.experiment), as_json=as_json)


@app.command()
def split(
    name: Name,
    shares: Annotated[list[str], typer.Argument(metavar="VARIANT=SHARE...", help="Every variant; they sum to 1.")],
    *,
    etag: Annotated[str, typer.Option("--etag", help="The etag that you have seen; refused when it changed.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; say how many units would move.")] = False,
    last_units: Annotated[
        int, typer.Option("--last-units", help="Of how many a dry run asks; 10 000 unless given.")
    ] = 0,
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Change the shares; moves as few units as can be."""
    request = pb.SetTrafficSplitRequest(
        name=resources.experiment_name(name),
        shares=literals.parse_numbers(shares, "VARIANT=SHARE"),
        etag=etag,
        dry_run=dry_run,
        recent_units_max=last_units,
    )
    with options.control(server) as connection:
        answer = connection.experiments.SetTrafficSplit(request)
        options.settle(connection, answer.revision, wait=wait)
    show.emit(
        document_of(answer),
        lambda: (*analysis.experiment_parts(answer.experiment), analysis.moved_part(answer, dry_run=dry_run)),
        as_json=as_json,
    )


@app.command()
def analyze(
    name: Name,
    *,
    method: Annotated[str, typer.Option("--method", metavar="METHOD", help=METHOD_HELP)] = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Compare the variants on the outcomes so far."""
    request = pb.AnalyzeExperimentRequest(name=resources.experiment_name(name), method=_method(method))
    with options.control(server) as connection:
        answer = connection.experiments.AnalyzeExperiment(request)
    show.emit(document_of(answer), lambda: analysis.analysis_parts(answer), as_json=as_json)


@app.command()
def recommend(name: Name, *, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Say what to do on the outcomes so far, and why."""
    with options.control(server) as connection:
        answer = connection.experiments.GetRecommendation(
            pb.GetRecommendationRequest(name=resources.experiment_name(name))
        )
    show.emit(document_of(answer), lambda: analysis.advice_parts(answer), as_json=as_json)


@app.command("sample-size")
def sample_size(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="An experiment, whose units are taken.")] = "",
    *,
    metric: Annotated[str, typer.Option("--metric", help="Of the experiment; its first success metric.")] = "",
    effect: Annotated[float, typer.Option("--effect", help="To be found, in the metric's unit.")] = 0.0,
    variance: Annotated[float, typer.Option("--variance", help="Of one unit, without an experiment.")] = 0.0,
    units: Annotated[int, typer.Option("--units", help="Which effect do so many find?")] = 0,
    share: Annotated[float, typer.Option("--treatment-share", help="The treatment's part of the units.")] = 0.0,
    alpha: Annotated[float, typer.Option("--alpha", help="The error rate of a false claim.")] = 0.0,
    power: Annotated[float, typer.Option("--power", help="The probability of finding the effect.")] = 0.0,
    method: Annotated[str, typer.Option("--method", metavar="METHOD", help=METHOD_HELP)] = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Say how many units an effect needs, and what effect so many units find."""
    request = pb.EstimateSampleSizeRequest(
        name=resources.experiment_name(name) if name else "",
        metric=metric,
        effect=effect,
        variance=variance,
        units=units,
        treatment_share=share,
        alpha=alpha,
        power=power,
        method=_method(method),
    )
    with options.control(server) as connection:
        answer = connection.experiments.EstimateSampleSize(request)
    document = document_of(answer)
    show.emit(document, lambda: [show.facts("Sample size", document.items())], as_json=as_json)


@app.command()
def verify(
    name: Name,
    *,
    look: Annotated[int, typer.Option("--look", help="One look; every one that was kept unless given.")] = 0,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Compute kept verdicts again from what was kept with them; exits with 1 when one does not come out."""
    request = pb.VerifyExperimentRequest(name=resources.experiment_name(name), look=look)
    with options.control(server) as connection:
        answer = connection.experiments.VerifyExperiment(request)
    show.emit(document_of(answer), lambda: analysis.verified_parts(answer), as_json=as_json)
    if not all(one.same for one in answer.looks):
        raise typer.Exit(1)


@app.command()
def replay(
    name: Name,
    *,
    metric: Annotated[str, typer.Option("--metric", help="Its first success metric unless given.")] = "",
    replays: Annotated[int, typer.Option("--replays", help="How many times; 200 unless given.")] = 0,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Split the control's units anew, where there is no effect, and say how often the test claims one."""
    request = pb.ReplayExperimentRequest(name=resources.experiment_name(name), metric=metric, replays=replays)
    with options.control(server) as connection:
        answer = connection.experiments.ReplayExperiment(request)
    document = document_of(answer)
    show.emit(document, lambda: [show.facts(f"A/A of {answer.metric}", document.items())], as_json=as_json)


@app.command()
def explain(
    name: Name,
    unit: Annotated[str, typer.Argument(metavar="UNIT", help="The unit's id.")],
    *,
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", metavar="KEY=VALUE", help="Of its call, for targeting; repeatable."),
    ] = None,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Say which variant a unit gets, and why."""
    request = pb.GetAssignmentRequest(
        name=resources.experiment_name(name),
        unit_id=unit,
        attributes=literals.parse_pairs(attribute or [], "--attribute"),
    )
    with options.control(server) as connection:
        answer = connection.experiments.GetAssignment(request)
    document = document_of(answer)
    show.emit(document, lambda: [show.facts(f"Unit {unit}", document.items())], as_json=as_json)


@app.command()
def conclude(
    name: Name,
    *,
    winner: Annotated[str, typer.Option("--winner", metavar="VARIANT", help="The variant that won.")] = "",
    promote: Annotated[bool, typer.Option("--promote", help="Make the winner's version the champion.")] = False,
    reason: options.Reason = "",
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """End the experiment; units get the champion again."""
    if promote and not winner:
        raise typer.BadParameter("--promote needs --winner: say which variant won")
    request = pb.ConcludeExperimentRequest(
        name=resources.experiment_name(name), winner=winner, promote=promote, reason=reason
    )
    with options.control(server) as connection:
        answer = connection.experiments.ConcludeExperiment(request)
        options.settle(connection, answer.revision, wait=wait)
    show.emit(document_of(answer), lambda: analysis.experiment_parts(answer.experiment), as_json=as_json)


def enum_option(enum: Any, text: str, what: str) -> int:
    """Return the number of an enumeration's value by its short name, 0 when it is empty, or raise BadParameter."""
    names = {enum_name(enum.DESCRIPTOR, one.number).lower(): one.number for one in enum.DESCRIPTOR.values if one.number}
    if text and text not in names:
        raise typer.BadParameter(f"{text!r} is no {what}: expected one of {', '.join(names)}")
    return names[text] if text else 0


def _method(text: str) -> pb.AnalysisMethod.ValueType:
    return pb.AnalysisMethod.ValueType(enum_option(pb.AnalysisMethod, text, "method"))
