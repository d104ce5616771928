"""`turnout predict-batch`: ask for a prediction for each row of a file."""

import csv
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from turnout.cli import literals, options, show
from turnout.cli.document import elements
from turnout.errors import TurnoutError
from turnout.prediction import Prediction

Table = dict[str, list[Any]]
_INPUT_HELP = "An input made of columns, one row of it for each row of the file: x=a,b,c or x:int64=a."


def predict_batch(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="Rows: .parquet, .csv or .jsonl.")
    ],
    *,
    entity: Annotated[
        list[str] | None,
        typer.Option("--entity", metavar="KEY[=COLUMN]", help="An entity and the column of its values; repeatable."),
    ] = None,
    unit: Annotated[str, typer.Option("--unit", metavar="COLUMN", help="The column of what is assigned.")] = "",
    inputs: Annotated[
        list[str] | None, typer.Option("--input", metavar="NAME=COLUMNS", help=f"{_INPUT_HELP} Repeatable.")
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option("--feature", metavar="NAME[=COLUMN]", help="A feature that the file gives; repeatable."),
    ] = None,
    attribute: Annotated[
        list[str] | None,
        typer.Option("--attribute", metavar="NAME[=COLUMN]", help="A fact about the rows; repeatable."),
    ] = None,
    event_time: Annotated[
        str, typer.Option("--event-time", metavar="COLUMN", help="The column of ISO 8601 times or microseconds.")
    ] = "",
    request_id: Annotated[
        str, typer.Option("--request-id", metavar="COLUMN", help="The column of identities; default: new ones.")
    ] = "",
    version: Annotated[int | None, typer.Option("--version", min=1, help="This version answers.")] = None,
    alias: Annotated[str | None, typer.Option("--alias", help="The version with this alias answers.")] = None,
    rows_per_call: Annotated[int, typer.Option("--rows-per-call", min=1, help="How many rows are sent at once.")] = 256,
    data_server: options.DataServer = options.DATA_SERVER,
    as_json: options.Json = False,
) -> None:
    """Ask for a prediction for each row of a file; ends with 1 when some rows were refused."""
    if version is not None and alias is not None:
        raise typer.BadParameter("give --version or --alias, not both")
    table = read_table(file)
    columns = {
        "entities": _texts(table, entity or (), "--entity"),
        "attributes": _texts(table, attribute or (), "--attribute"),
        "features": _numbers(table, feature or (), "--feature"),
        "inputs": _inputs(table, inputs or ()),
        "unit_ids": None if not unit else [_text(value) for value in _column(table, unit, "--unit")],
        "request_ids": None if not request_id else [_text(one) for one in _column(table, request_id, "--request-id")],
        "event_times_us": None
        if not event_time
        else [literals.parse_time(str(value)) for value in _column(table, event_time, "--event-time")],
    }
    rows = len(next(iter(table.values())))
    documents: list[dict[str, Any]] = []
    with options.client(data_server) as client, typer.progressbar(length=rows, file=sys.stderr) as progress:
        for start in range(0, rows, rows_per_call):
            part = slice(start, start + rows_per_call)
            cut = {name: _cut(column, part) for name, column in columns.items()}
            answers = client.predict_batch(model, version=version, alias=alias, **cut)
            documents += [
                _document(start + row, answers.request_ids[row], answer) for row, answer in enumerate(answers)
            ]
            progress.update(len(answers))
    failed = sum("error" in one for one in documents)
    head = ("row", "request id", "version", "variant", "outputs")
    show.emit(
        {"model": model, "rows": documents, "failed": failed},
        lambda: [show.table(f"{rows} rows, {failed} refused", head, [_line(one) for one in documents])],
        as_json=as_json,
    )
    if failed:
        raise typer.Exit(1)


def read_table(file: Path) -> Table:
    """Return a file's columns by name, or raise LiteralError."""
    if file.suffix == ".parquet":
        try:
            import pyarrow.parquet as pq  # noqa: PLC0415  (no part of the command line's own install)
        except ModuleNotFoundError as error:
            raise literals.LiteralError("Parquet is read by pyarrow: pip install pyarrow") from error
        table: Table = pq.read_table(file).to_pydict()
    elif file.suffix == ".csv":
        with file.open(newline="") as lines:
            table = _transposed(csv.DictReader(lines), file)
    elif file.suffix in {".jsonl", ".ndjson"}:
        with file.open() as lines:
            table = _transposed((json.loads(line) for line in lines if line.strip()), file)
    else:
        raise literals.LiteralError(f"{file.name} is not .parquet, .csv or .jsonl")
    if not table or not next(iter(table.values())):
        raise literals.LiteralError(f"{file.name} has no rows")
    return table


def _transposed(rows: Iterable[dict[str, Any]], file: Path) -> Table:
    table: Table = {}
    try:
        for number, row in enumerate(rows):
            for name in row.keys() - table.keys():
                table[name] = [None] * number
            for name, column in table.items():
                column.append(row.get(name))
    except (ValueError, AttributeError) as error:
        raise literals.LiteralError(f"{file.name} cannot be read: {error}") from error
    return table


def _column(table: Table, name: str, option: str) -> list[Any]:
    if name not in table:
        raise literals.LiteralError(f"{option} names the column {name!r}; the file has {', '.join(table)}")
    return table[name]


def _named(table: Table, texts: Iterable[str], option: str) -> dict[str, list[Any]]:
    """Return the columns that ``NAME`` or ``NAME=COLUMN`` options choose, by name."""
    chosen = {}
    for text in texts:
        name, _, column = text.partition("=")
        chosen[name] = _column(table, column or name, option)
    return chosen


def _texts(table: Table, texts: Iterable[str], option: str) -> dict[str, list[str]]:
    named = _named(table, texts, option)
    return {name: [_text(value) for value in column] for name, column in named.items()}


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _numbers(table: Table, texts: Iterable[str], option: str) -> dict[str, list[float | None]]:
    return {
        name: [
            None if value in {None, ""} else literals.parse_number(str(value), f"{option} {name}") for value in column
        ]
        for name, column in _named(table, texts, option).items()
    }


def _inputs(table: Table, texts: Iterable[str]) -> dict[str, Any]:
    """Return the inputs that ``NAME[:DTYPE]=COLUMN,…`` options make, each [rows, columns]."""
    import numpy as np  # noqa: PLC0415  (loaded at first use)

    made = {}
    for text in texts:
        name, equals, columns = text.partition("=")
        name, _, dtype = name.partition(":")
        if not equals or not name:
            raise literals.LiteralError(f"--input takes NAME=COLUMN,COLUMN, not {text!r}")
        picked = [_column(table, column, "--input") for column in columns.split(",")]
        try:
            made[name] = np.array(picked, dtype=object if dtype == "string" else dtype or "float32").T
        except (TypeError, ValueError) as error:
            raise literals.LiteralError(f"--input {name}: {error}") from error
    return made


def _cut(column: Any, part: slice) -> Any:
    if isinstance(column, dict):
        return {name: values[part] for name, values in column.items()}
    return None if column is None else column[part]


def _document(row: int, request_id: str, answer: Prediction | TurnoutError) -> dict[str, Any]:
    head = {"row": row, "request_id": request_id}
    if isinstance(answer, TurnoutError):
        return {**head, "error": {"code": answer.code, "reason": answer.reason, "message": answer.message}}
    return {
        **head,
        "version": answer.version,
        "experiment": answer.experiment,
        "variant": answer.variant,
        "outputs": {name: elements(array) for name, array in answer.outputs.items()},
    }


def _line(document: dict[str, Any]) -> tuple[object, ...]:
    if "error" in document:
        error = document["error"]
        return document["row"], document["request_id"], None, None, f"{error['reason']}: {error['message']}"
    return tuple(document[name] for name in ("row", "request_id", "version", "variant", "outputs"))
