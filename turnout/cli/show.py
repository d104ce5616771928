"""What a command prints: one JSON document, or tables for people."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

Render = Callable[[], Iterable[RenderableType]]

_PIPE_COLUMNS = 160


def emit(document: Any, render: Render, *, as_json: bool) -> None:
    """Print a document as JSON, or what ``render`` makes of it."""
    if as_json:
        print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))  # noqa: T201  (this is the output)
        return
    screen = console()
    for part in render():
        screen.print(part, markup=False)


def console() -> Console:
    """Return what is printed on."""
    screen = Console()
    # A pipe has no width: do not fold what a program may read.
    return screen if screen.is_terminal else Console(width=_PIPE_COLUMNS)


def emit_line(document: Any) -> None:
    """Print a document as one line of JSON, at once."""
    print(json.dumps(document, ensure_ascii=False, allow_nan=False), flush=True)  # noqa: T201  (this is the output)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> RenderableType:
    """Return a table, or a line that says it is empty; numbers stand to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        return f"{title}: none"
    made = Table(title=title, title_justify="left", highlight=False)
    for place, column in enumerate(columns):
        numeric = all(_is_number(row[place]) for row in cells)
        made.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        made.add_row(*row)
    return made


def facts(title: str, pairs: Iterable[tuple[str, object]]) -> RenderableType:
    """Return names and values in two columns, those without a value left out."""
    made = Table(title=title, title_justify="left", show_header=False, highlight=False)
    made.add_column(style="bold")
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value not in ("", "-", None, {}, []):
            made.add_row(name, _cell(value))
    return made


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return ", ".join(f"{key}={_cell(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(_cell(one) for one in value)
    return str(value)


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.replace(".", "", 1).replace("-", "", 2).replace("e", "", 1).isdecimal()
