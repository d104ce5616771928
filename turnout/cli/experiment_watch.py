"""`turnout experiments watch`: an experiment as it goes, again and again."""

import time
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live

from turnout import resources
from turnout.admin.v1 import admin_service_pb2 as admin_pb
from turnout.cli import analysis, literals, options, ramp_parts, show
from turnout.cli.document import document_of, enum_name
from turnout.cli.experiments import Name, app
from turnout.control import Control
from turnout.experiments.v1 import experiment_service_pb2 as pb
from turnout.experiments.v1 import ramp_pb2


@app.command()
def watch(
    name: Name,
    *,
    server: options.Server = options.SERVER,
    interval_s: Annotated[float, typer.Option("--interval", min=0.1, help="Seconds between two looks.")] = 2.0,
    count: Annotated[int, typer.Option("--count", min=0, help="Looks to take; 0: until it is interrupted.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document a line, one for each look.")] = False,
) -> None:
    """Show the split, the effects, the advice and how far the workers are, again and again."""
    looks = 0
    with options.control(server) as connection, Live(console=show.console(), auto_refresh=False) as live:
        while True:
            experiment, advice, status = _ask(connection, name)
            ramp = _ramp(connection, experiment)
            if as_json:
                show.emit_line(
                    {
                        "experiment": document_of(experiment),
                        "recommendation": document_of(advice),
                        "workers": [worker.revision for worker in status.workers],
                        **({} if ramp is None else {"ramp": document_of(ramp)}),
                    }
                )
            else:
                ramp_shown = () if ramp is None else ramp_parts.status_parts(ramp)
                live.update(Group(*_render(experiment, advice, status), *ramp_shown), refresh=True)
            looks += 1
            if looks == count:
                return
            time.sleep(interval_s)


def _ask(
    connection: Control, name: str
) -> tuple[pb.Experiment, pb.GetRecommendationResponse, admin_pb.GetServingStatusResponse]:
    full = resources.experiment_name(name)
    return (
        connection.experiments.GetExperiment(pb.GetExperimentRequest(name=full)).experiment,
        connection.experiments.GetRecommendation(pb.GetRecommendationRequest(name=full)),
        connection.admin.GetServingStatus(admin_pb.GetServingStatusRequest()),
    )


def _ramp(connection: Control, experiment: pb.Experiment) -> ramp_pb2.RampStatus | None:
    """Return where the experiment's ramp stands; None when it has none, or none yet."""
    if not experiment.HasField("ramp") or not experiment.start_time_us:
        return None
    return connection.experiments.GetRamp(pb.GetRampRequest(name=experiment.name)).ramp


def _render(
    experiment: pb.Experiment, advice: pb.GetRecommendationResponse, status: admin_pb.GetServingStatusResponse
) -> Iterable[RenderableType]:
    # The etag is the revision of the experiment's last change.
    serving = sum(worker.ready and worker.revision >= int(experiment.etag) for worker in status.workers)
    shares = ", ".join(f"{one.variant} {one.share:.4g}" for one in experiment.variants)
    recommendation = enum_name(pb.Recommendation.DESCRIPTOR, advice.recommendation)
    yield show.facts(
        experiment.name,
        [
            ("clock", literals.format_time(status.now_us)),
            ("state", enum_name(pb.ExperimentState.DESCRIPTOR, experiment.state)),
            ("shares", shares),
            ("coverage", experiment.coverage),
            ("epoch", experiment.epoch),
            ("workers that serve it so", f"{serving} of {len(status.workers)}"),
            ("advice", f"{recommendation} {advice.variant}".strip()),
            *(("", reason) for reason in advice.reasons),
        ],
    )
    yield from analysis.analysis_parts(advice.analysis)
