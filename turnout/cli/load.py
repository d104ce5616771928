"""`turnout load`: make many calls, and see how long they take."""

from pathlib import Path
from typing import Annotated

import typer

from turnout.cli import options
from turnout.load.plan import IN_FLIGHT_MAX, Plan

_REQUESTS, _ARRIVALS = "Requests", "Arrivals"


def load(
    *,
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="The model that is asked.")],
    rate: Annotated[
        float,
        typer.Option("--rate", min=0, metavar="CALLS/S", help="Open loop: so many are due.", rich_help_panel=_ARRIVALS),
    ] = 0.0,
    poisson: Annotated[
        bool, typer.Option("--poisson", help="The gaps are drawn by chance, not even.", rich_help_panel=_ARRIVALS)
    ] = False,
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency", min=0, metavar="N", help="Closed loop: so many callers.", rich_help_panel=_ARRIVALS
        ),
    ] = 0,
    duration: Annotated[float, typer.Option("--duration", metavar="S", help="For how long calls are counted.")] = 10.0,
    warm_up: Annotated[float, typer.Option("--warm-up", metavar="S", help="For how long before they are not.")] = 1.0,
    connections: Annotated[
        int, typer.Option("--connections", min=0, metavar="N", help="Connections of all processes; 0: one for each.")
    ] = 0,
    processes: Annotated[int, typer.Option("--processes", min=1, max=256, help="Processes that call.")] = 1,
    timeout: Annotated[float, typer.Option("--timeout", metavar="S", help="The deadline of each call.")] = 10.0,
    in_flight_max: Annotated[
        int, typer.Option("--in-flight-max", min=1, help="An open loop's calls that wait at once, for each process.")
    ] = IN_FLIGHT_MAX,
    recorded: Annotated[
        Path | None,
        typer.Option(
            "--recorded",
            exists=True,
            metavar="PATH",
            help="Ask what was asked before: a file of `turnout events export`, or a journal's folder `events`.",
            rich_help_panel=_REQUESTS,
        ),
    ] = None,
    journal: Annotated[
        bool,
        typer.Option("--journal", help="The same, from the gateway's own journal.", rich_help_panel=_REQUESTS),
    ] = False,
    entity: Annotated[
        list[str] | None,
        typer.Option(
            "--entity",
            metavar="KEY=VALUES",
            help="Whose features are read: UA,DL or 0..999; repeatable.",
            rich_help_panel=_REQUESTS,
        ),
    ] = None,
    units: Annotated[
        int, typer.Option("--units", min=0, help="So many units are assigned by turns.", rich_help_panel=_REQUESTS)
    ] = 0,
    give_features: Annotated[
        bool,
        typer.Option("--give-features", help="Give features instead of having them read.", rich_help_panel=_REQUESTS),
    ] = False,
    requests: Annotated[
        int,
        typer.Option("--requests", min=1, help="So many different ones, sent by turns.", rich_help_panel=_REQUESTS),
    ] = 1000,
    seed: Annotated[int, typer.Option("--seed", help="What chance starts from.")] = 0,
    out: Annotated[
        list[Path] | None,
        typer.Option("--out", metavar="FILE", help="Write .hgrm (percentiles, to be plotted) or .json; repeatable."),
    ] = None,
    server: options.Server = options.SERVER,
    data_server: options.DataServer = options.DATA_SERVER,
    as_json: options.Json = False,
) -> None:
    """Make calls at a rate (open loop) or by callers who wait for answers (closed loop), and show their latencies.

    At a rate, a call's latency counts from when it was due: what a gateway that stands still does to its callers is
    seen by all of them. Requests are made up of what the model takes, or are those that the journal recorded.
    Ends with 1 when no call was answered.
    """
    for file in out or ():
        if file.suffix not in {".hgrm", ".json"}:
            raise typer.BadParameter("--out takes FILE.hgrm or FILE.json")
    try:
        plan = Plan(
            address=data_server,
            bodies="",
            rate_per_s=rate,
            poisson=poisson,
            seed=seed,
            concurrency=concurrency,
            seconds=duration,
            warm_up_s=warm_up,
            processes=processes,
            connections=connections or processes,
            timeout_s=timeout,
            in_flight_max=in_flight_max,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    from turnout.cli import load_run  # noqa: PLC0415  (numpy: only this command pays for it)

    asked = load_run.Asked(model, entity or (), units=units, stored=not give_features, requests=requests, seed=seed)
    bodies, left_out = load_run.gather(asked, server, recorded=recorded, journal=journal)
    load_run.try_one(plan, bodies[0])
    is_answered = load_run.run(plan, bodies, model=model, left_out=left_out, out=out or (), as_json=as_json)
    raise typer.Exit(0 if is_answered else 1)
