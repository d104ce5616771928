"""`turnout predict`: ask for one prediction."""

from typing import Annotated, Any

import typer

from turnout.cli import literals, options, show
from turnout.cli.document import elements
from turnout.prediction import Prediction


def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    *,
    entity: options.Entities = None,
    unit: Annotated[
        str | None, typer.Option("--unit", metavar="ID", help="What is assigned; default: the only entity's value.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="NAME=VALUES",
            help="An input: x=1,2,3 is one row of float32; x=1,2;3,4 two rows; x:int64=7 and x[3]=1,2,3 give another "
            "element type or shape; repeatable.",
        ),
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option("--feature", metavar="NAME=NUMBER", help="A feature that you give; wins over the stored one."),
    ] = None,
    attribute: Annotated[
        list[str] | None, typer.Option("--attribute", metavar="KEY=VALUE", help="A fact about the request; repeatable.")
    ] = None,
    version: Annotated[int | None, typer.Option("--version", min=1, help="This version answers.")] = None,
    alias: Annotated[str | None, typer.Option("--alias", help="The version with this alias answers.")] = None,
    event_time: Annotated[
        str | None, typer.Option("--event-time", metavar="TIME", help="ISO 8601 or microseconds; default now.")
    ] = None,
    request_id: Annotated[
        str | None, typer.Option("--request-id", metavar="ID", help="Its identity; default: a new one.")
    ] = None,
    data_server: options.DataServer = options.DATA_SERVER,
    as_json: options.Json = False,
) -> None:
    """Ask for one prediction; the request id that is printed is what outcomes refer to."""
    if version is not None and alias is not None:
        raise typer.BadParameter("give --version or --alias, not both")
    with options.client(data_server) as client:
        answer = client.predict(
            model,
            entities=literals.parse_pairs(entity or (), "--entity"),
            unit_id=unit,
            version=version,
            alias=alias,
            inputs=literals.parse_tensors(inputs or ()),
            features=literals.parse_numbers(feature or (), "--feature"),
            attributes=literals.parse_pairs(attribute or (), "--attribute"),
            event_time_us=None if event_time is None else literals.parse_time(event_time),
            request_id=request_id,
        )
    document = _document(answer)
    facts = [(key, document[key]) for key in ("request_id", "model", "version", "experiment", "variant")]
    outputs = [(name, one["dtype"], str(one["shape"]), str(one["data"])) for name, one in document["outputs"].items()]
    views = [(one["view"], one["status"], one["age_ms"]) for one in document["views"]]
    show.emit(
        document,
        lambda: (
            show.facts("Prediction", facts),
            show.table("Outputs", ("output", "type", "shape", "values"), outputs),
            *([show.table("Feature views", ("view", "status", "age ms"), views)] if views else []),
        ),
        as_json=as_json,
    )


def _document(answer: Prediction) -> dict[str, Any]:
    return {
        "request_id": answer.request_id,
        "model": answer.model,
        "version": answer.version,
        "experiment": answer.experiment,
        "variant": answer.variant,
        "outputs": {
            name: {
                "dtype": "string" if array.dtype.kind == "O" else array.dtype.name,
                "shape": list(array.shape),
                "data": elements(array),
            }
            for name, array in answer.outputs.items()
        },
        "views": [{"view": one.view, "status": one.status, "age_ms": one.age_ms} for one in answer.views],
    }
