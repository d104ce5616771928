"""`turnout experiments report` and `looks`: what an experiment found, for people and for programs."""

from pathlib import Path
from typing import Annotated

import typer

from turnout import resources
from turnout.cli import analysis, options, show
from turnout.cli.document import document_of
from turnout.cli.experiments import Name, app
from turnout.cli.paging import all_pages
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.report.experiment import ExperimentReport, experiment_page
from turnout.report.pairs import paired
from turnout.report.rows import experiment_csv

LOOKS_DEFAULT = 200


@app.command()
def report(
    name: Name,
    *,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="One page, plots included.")] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="A row for each look and comparison.")
    ] = None,
    looks: Annotated[
        int, typer.Option("--looks", min=1, max=1000, help="About so many of the kept looks, evenly spread.")
    ] = LOOKS_DEFAULT,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Report an experiment: on the terminal, as one HTML file, as CSV, or as JSON."""
    full = resources.experiment_name(name)
    with options.control(server) as connection:
        advice = connection.experiments.GetRecommendation(pb.GetRecommendationRequest(name=full))
        experiment = connection.experiments.GetExperiment(pb.GetExperimentRequest(name=full)).experiment
        request = pb.ListLooksRequest(name=full, spread_max=looks)
        kept = all_pages(connection.experiments.ListLooks, request, "looks")
        pairs = list(paired(experiment, connection.experiments.ComparePairs)) if html or as_json else []
    told = ExperimentReport(experiment, advice, kept, pairs)
    for path, render in ((html, experiment_page), (csv, experiment_csv)):
        if path is not None:
            path.write_text(render(told), encoding="utf-8")
    if as_json:
        show.emit(
            {
                "experiment": document_of(experiment),
                "recommendation": document_of(advice),
                "looks": [document_of(each) for each in told.looks],
                "pairs": [
                    {"metric": each.metric, "variant": each.variant} | document_of(each.answer) for each in pairs
                ],
            },
            tuple,
            as_json=True,
        )
    elif html is None and csv is None:
        show.emit(None, lambda: (*analysis.advice_parts(advice), *analysis.look_parts(told.looks)), as_json=False)
    else:
        show.emit(None, lambda: [f"written: {path}" for path in (html, csv) if path is not None], as_json=False)


@app.command()
def looks(name: Name, *, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """List the looks that were kept, each as it was told at its time."""
    with options.control(server) as connection:
        found = all_pages(
            connection.experiments.ListLooks,
            pb.ListLooksRequest(name=resources.experiment_name(name)),
            "looks",
        )
    show.emit({"looks": [document_of(each) for each in found]}, lambda: analysis.look_parts(found), as_json=as_json)
