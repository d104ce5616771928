"""`turnout runs`: trainings, from the table to the traffic."""

import json
from typing import Annotated, Any

import typer

from turnout import plain, resources
from turnout.cli import literals, options, show
from turnout.cli.document import document_of, enum_name
from turnout.cli.following import followed
from turnout.trainer.v1 import policy_pb2, run_pb2
from turnout.trainer.v1 import trainer_service_pb2 as pb

app = typer.Typer(help="See and start trainings.", no_args_is_help=True)

Policy = Annotated[str, typer.Argument(metavar="POLICY", help="The policy's name.")]
Number = Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="The run's number.")]


@app.command()
def start(
    policy: Policy,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why.")] = "",
    supersede: Annotated[
        bool, typer.Option("--supersede", help="End a run of the model that waits or is worked on.")
    ] = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Make a run, whatever the triggers say; a trainer takes it."""
    request = pb.StartRunRequest(parent=resources.policy_name(policy), reason=reason, supersede=supersede)
    with options.control(server) as connection:
        run = connection.training.StartRun(request).run
    show.emit(document_of(run), lambda: [show.facts("Queued", _facts(run))], as_json=as_json)


@app.command()
def cancel(
    policy: Policy,
    number: Number,
    *,
    reason: Annotated[str, typer.Option("--reason", help="Why.")] = "",
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """End a run that has no traffic."""
    request = pb.CancelRunRequest(name=resources.run_name(policy, number), reason=reason)
    with options.control(server) as connection:
        run = connection.training.CancelRun(request).run
    show.emit(document_of(run), lambda: [show.facts("Cancelled", _facts(run))], as_json=as_json)


@app.command("list")
def list_(
    *,
    policy: Annotated[str, typer.Option("--policy", metavar="NAME", help="Only this policy's.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many of the newest.")] = 20,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """List runs, newest first."""
    parent = resources.policy_name(policy) if policy else ""
    with options.control(server) as connection:
        found = connection.training.ListRuns(pb.ListRunsRequest(parent=parent, page_size=limit)).runs
    rows = [
        (
            one.name.removeprefix("policies/"),
            literals.format_time(one.create_time_us),
            _state(one),
            _cause(one),
            one.version.rpartition("/")[2],
            "; ".join(one.findings),
        )
        for one in found
    ]
    columns = ("run", "made", "state", "by", "version", "why")
    show.emit(
        {"runs": [document_of(one) for one in found]}, lambda: [show.table("Runs", columns, rows)], as_json=as_json
    )


@app.command("show")
def show_(
    policy: Policy, number: Number, *, server: options.Server = options.SERVER, as_json: options.Json = False
) -> None:
    """Show a run with its steps and what each found."""
    with options.control(server) as connection:
        run = connection.training.GetRun(pb.GetRunRequest(name=resources.run_name(policy, number))).run
    show.emit(document_of(run), lambda: [show.facts(run.name, _facts(run)), *_steps(run)], as_json=as_json)


@app.command()
def watch(
    policy: Policy,
    number: Number,
    *,
    server: options.Server = options.SERVER,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as one line of JSON.")] = False,
) -> None:
    """Follow a run until it is over; fails when it failed."""
    with options.control(server) as connection:
        request = pb.WatchRunRequest(name=resources.run_name(policy, number))
        # It lasts until the run is over: no deadline.
        for answer in followed(connection.training.WatchRun(request, timeout=None)):
            if as_json:
                show.emit_line(document_of(answer))
            elif answer.HasField("event"):
                event = answer.event
                show.console().print(
                    f"{literals.format_time(event.time_us)}  {event.kind}  {event.message}", markup=False
                )
            if answer.HasField("run") and answer.run.state == run_pb2.RUN_STATE_FAILED:
                raise typer.Exit(1)


def _facts(run: run_pb2.Run) -> list[tuple[str, Any]]:
    return [
        ("name", run.name),
        ("model", run.model),
        ("state", _state(run)),
        ("by", _cause(run)),
        ("why", run.reason),
        ("as of", literals.format_time(run.as_of_us)),
        ("version", run.version),
        ("experiment", run.experiment),
        ("trainer", run.trainer),
        ("made", literals.format_time(run.create_time_us)),
        ("over", literals.format_time(run.end_time_us) if run.end_time_us else ""),
        *(("", finding) for finding in run.findings),
    ]


def _steps(run: run_pb2.Run) -> list[Any]:
    rows = [
        (
            enum_name(run_pb2.RunStep.DESCRIPTOR, one.step).lower(),
            "done" if one.done else "begun",
            one.attempts,
            f"{(one.end_time_us - one.start_time_us) / 1e6:.1f}" if one.done else "",
            ", ".join(f"{name} {value}" for name, value in _said(one).items() if not isinstance(value, dict | list)),
        )
        for one in run.steps
    ]
    return [show.table("Steps", ("step", "state", "attempts", "seconds", "found"), rows)]


def _said(step: run_pb2.StepReport) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(step.result_json) if step.result_json else {}
    return found


def _state(run: run_pb2.Run) -> str:
    return enum_name(run_pb2.RunState.DESCRIPTOR, run.state)


def _cause(run: run_pb2.Run) -> str:
    return plain.short_name(policy_pb2.TriggerKind.DESCRIPTOR, run.trigger) if run.trigger else run.actor
