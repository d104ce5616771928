"""`turnout shadow compare`: two versions on the calls that both of them saw."""

from typing import Annotated

import typer

from turnout import resources
from turnout.cli import analysis, literals, options, show
from turnout.cli.document import document_of
from turnout.cli.experiments import enum_option
from turnout.cli.shadow import app
from turnout.experiments.v1 import experiment_service_pb2 as pb


@app.command()
def compare(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    control: Annotated[int, typer.Argument(metavar="CONTROL", help="A version.")],
    treatment: Annotated[int, typer.Argument(metavar="TREATMENT", help="The version that is compared with it.")],
    *,
    kind: Annotated[str, typer.Option("--kind", help="brier, accuracy, log_loss, absolute_error, squared_error.")],
    outcome: Annotated[str, typer.Option("--outcome", help="The outcome's name.")],
    output: Annotated[str, typer.Option("--output", help="The model's output.")],
    output_index: Annotated[int, typer.Option("--output-index", help="The element of it, from 0.")] = 0,
    label: Annotated[str, typer.Option("--label", help="The category that counts as 1.")] = "",
    classes: Annotated[
        list[str] | None, typer.Option("--class", help="The categories that the output scores, in order; repeatable.")
    ] = None,
    window_s: Annotated[
        float, typer.Option("--window", min=0, help="The attribution window in seconds; 0: none.")
    ] = 0.0,
    since: Annotated[str, typer.Option("--since", metavar="TIME", help="Only calls that were not earlier.")] = "",
    minimum_units: Annotated[
        int, typer.Option("--minimum-units", min=2, help="The fewest before anything is claimed.")
    ] = 100,
    method: Annotated[str, typer.Option("--method", metavar="METHOD", help="sequence, or fixed for one look.")] = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Compare two versions on the calls that one of them answered and the other one saw as its shadow."""
    chosen = enum_option(pb.MetricKind, kind, "kind")
    request = pb.ComparePairsRequest(
        model=resources.model_name(model),
        control_version=control,
        treatment_version=treatment,
        method=pb.AnalysisMethod.ValueType(enum_option(pb.AnalysisMethod, method, "method")),
        minimum_units=minimum_units,
        since_us=literals.parse_time(since) if since else 0,
        metric=pb.Metric(
            kind=pb.MetricKind.ValueType(chosen),
            outcome=outcome,
            output=output,
            output_index=output_index,
            label=label,
            classes=classes or [],
            window_us=round(window_s * 1_000_000),
            direction=pb.DIRECTION_INCREASE if chosen == pb.METRIC_KIND_ACCURACY else pb.DIRECTION_DECREASE,
        ),
    )
    with options.control(server) as connection:
        answer = connection.experiments.ComparePairs(request)
    show.emit(document_of(answer), lambda: analysis.pair_parts(answer, kind), as_json=as_json)
