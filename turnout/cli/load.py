"""`turnout load`: make many calls, and see how long they take."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from turnout import errors
from turnout.cli import options, show
from turnout.cli.literals import LiteralError
from turnout.cli.load_requests import Asked, made
from turnout.load import summary
from turnout.load.crew import Crew, LoadFailedError
from turnout.load.histogram import hgrm
from turnout.load.plan import IN_FLIGHT_MAX, Plan
from turnout.load.reach import Reach
from turnout.load.tally import OK, Tally

TELL_S = 0.2
_TO_MS = 1000.0
_HOPELESS = {"UNAVAILABLE", "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND"}
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
    asked = Asked(model, entity or (), units=units, stored=not give_features, requests=requests, seed=seed)
    with tempfile.TemporaryDirectory(prefix="turnout-load-") as folder:
        bodies, left_out = made(asked, server, recorded=recorded, exported=Path(folder) if journal else None)
    _try_one(plan, bodies[0])
    tally = _run(plan, bodies)
    document = {"model": model, "requests": len(bodies), "left_out": left_out, **summary.document_of(plan, tally)}
    for file in out or ():
        text = hgrm(tally.latency, scale=_TO_MS) if file.suffix == ".hgrm" else _text(document, tally)
        file.write_text(text)
    show.emit(document, lambda: _tables(document, tally), as_json=as_json)
    raise typer.Exit(0 if tally.statuses[OK] else 1)


def _try_one(plan: Plan, body: bytes) -> None:
    """Ask once, or raise TurnoutError for what all calls would be told."""
    try:
        Reach(plan).ask(body)
    except errors.TurnoutError as error:
        if error.code in _HOPELESS:
            raise
    except (ValueError, OSError) as error:
        raise LiteralError(str(error)) from error


def _run(plan: Plan, bodies: list[bytes]) -> Tally:
    try:
        with Crew(plan, bodies) as crew:
            crew.begin()
            with _progress(plan) as tell:
                while crew.is_running:
                    tell(*crew.so_far())
                    time.sleep(TELL_S)
            return crew.tally()
    except LoadFailedError as error:
        raise SystemExit(f"turnout: {error}") from error


@contextmanager
def _progress(plan: Plan) -> Iterator[Any]:
    """Show how far the load is, on stderr and while it runs."""
    began, whole_s = time.monotonic(), plan.warm_up_s + plan.seconds
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=whole_s)

        def tell(calls: int, failed: int) -> None:
            passed_s = time.monotonic() - began
            rate = calls / max(1e-9, passed_s - plan.warm_up_s) if calls else 0.0
            said = f"{calls} calls, {rate:.0f}/s, {failed} failed"
            progress.update(bar, completed=min(passed_s, whole_s), description=said)

        yield tell


def _text(document: dict[str, Any], tally: Tally) -> str:
    buckets = tally.latency.document()
    return json.dumps({**document, "latency_us_buckets": buckets}, indent=2) + "\n"


def _tables(document: dict[str, Any], tally: Tally) -> list[RenderableType]:
    asked = ", ".join(f"{value:g} {name.removesuffix('_per_s')}" for name, value in document["asked"].items())
    facts = [
        ("loop", f"{document['loop']}, {asked}"),
        ("calls", document["calls"]),
        ("rate", f"{document['rate_per_s']:.1f}/s"),
        ("failed", document["failed"]),
        ("requests", document["requests"]),
        ("left out", document["left_out"] or None),
    ]
    columns = ["latency_ms"] if document["loop"] == "closed" else ["latency_ms", "from_sent_ms", "sent_late_ms"]
    names = {"latency_ms": "latency ms", "from_sent_ms": "from sent ms", "sent_late_ms": "sent late ms"}
    percentiles = [(name, *(f"{document[column][name]:.3f}" for column in columns)) for name in document["latency_ms"]]
    warning = "the generator itself was late: give it more --processes, another machine, or a higher --in-flight-max"
    return [
        show.facts(f"Load on {document['model']}", facts),
        show.table("Statuses", ("status", "calls"), list(document["statuses"].items())),
        show.table("Latency", ("", *(names[column] for column in columns)), percentiles),
        "\n".join(summary.plot(tally.latency)),
        *([warning] if document["generator_was_late"] else []),
    ]
