"""`turnout outcomes`: say what happened after a prediction."""

from typing import Annotated

import typer

from turnout.cli import literals, options, show

app = typer.Typer(help="Say what happened after a prediction.", no_args_is_help=True)


@app.callback()
def _outcomes() -> None:
    """Say what happened after a prediction."""


@app.command()
def record(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The outcome's name, for example late.")],
    value: Annotated[str, typer.Argument(metavar="[VALUE]", help="A number, or true or false.")] = "",
    *,
    label: Annotated[str, typer.Option("--label", help="A category, in place of VALUE.")] = "",
    sequence: Annotated[
        int, typer.Option("--sequence", min=0, help="Corrects: of several of one identity the highest counts.")
    ] = 0,
    request_id: Annotated[
        str, typer.Option("--request-id", metavar="ID", help="The prediction that it is an outcome of.")
    ] = "",
    unit: Annotated[
        str, typer.Option("--unit", metavar="ID", help="The unit whose latest earlier prediction is meant.")
    ] = "",
    outcome_id: Annotated[
        str, typer.Option("--outcome-id", metavar="ID", help="Tells one outcome from another; needed with --unit.")
    ] = "",
    event_time: Annotated[
        str | None, typer.Option("--event-time", metavar="TIME", help="ISO 8601 or microseconds; default now.")
    ] = None,
    model: Annotated[str, typer.Option("--model", help="With --unit: the model whose prediction is meant.")] = "",
    data_server: options.DataServer = options.DATA_SERVER,
    as_json: options.Json = False,
) -> None:
    """Record one outcome; once this is done, it survives the death of every process. Twice is harmless."""
    if bool(request_id) == bool(unit):
        raise typer.BadParameter("give --request-id or --unit, one of them")
    if bool(value) == bool(label):
        raise typer.BadParameter("give VALUE or --label, one of them")
    number = literals.parse_number(value, "VALUE") if value else 0.0
    event_time_us = None if event_time is None else literals.parse_time(event_time)
    with options.client(data_server) as client:
        client.record_outcome(
            name,
            number,
            request_id=request_id,
            unit_id=unit,
            outcome_id=outcome_id,
            event_time_us=event_time_us,
            model=model,
            label=label,
            sequence=sequence,
        )
    document = {
        "status": "RECORDED",
        "name": name,
        "value": None if label else number,
        "label": label,
        "sequence": sequence,
        "request_id": request_id,
        "unit_id": unit,
        "outcome_id": outcome_id,
        "event_time_us": event_time_us,
        "model": model,
    }
    show.emit(document, lambda: [f"recorded {name}={label or f'{number:g}'} for {request_id or unit}"], as_json=as_json)
