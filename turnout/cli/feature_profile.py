"""`turnout features profile`: what a window of feature values looks like."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from turnout import resources
from turnout.cli import literals, options, show
from turnout.cli.document import document_of
from turnout.cli.features import QUERY_S, app
from turnout.features.v1 import feature_service_pb2 as pb

_BARS = " ▁▂▃▄▅▆▇█"
_QUANTILES = ("least", "1 %", "5 %", "25 %", "median", "75 %", "95 %", "99 %", "greatest")
_SHOWN = (0, 3, 4, 5, 8)
_TOP_SHOWN = 3


class Origin(StrEnum):
    """Where the rows are from."""

    ONLINE = "online"
    OFFLINE = "offline"
    SERVING = "serving"
    TRAINING = "training"


@app.command()
def profile(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A view, or with VERSION a model.")],
    version: Annotated[int | None, typer.Argument(metavar="[VERSION]", min=1, help="A version of the model.")] = None,
    *,
    origin: Annotated[
        Origin | None,
        typer.Option("--of", help="Of a view: online (unless said) or offline; of a version: serving or training."),
    ] = None,
    start: Annotated[str | None, typer.Option("--start", metavar="TIME", help="Only rows from then on.")] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="TIME", help="Only rows before then.")] = None,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Show what values look like: how many are missing, moments, quantiles, the most frequent."""
    request = pb.ProfileFeaturesRequest(
        name=resources.view_name(name) if version is None else resources.version_name(name, version)
    )
    if origin is not None:
        request.origin = pb.ProfileOrigin.Value(f"PROFILE_ORIGIN_{origin.name}")
    if start is not None:
        request.start_us = literals.parse_time(start)
    if end is not None:
        request.end_us = literals.parse_time(end)
    with options.control(server) as connection:
        answer = connection.features.ProfileFeatures(request, timeout=QUERY_S)
    show.emit(document_of(answer), lambda: _shown(answer), as_json=as_json)


def _shown(answer: pb.ProfileFeaturesResponse) -> list[Any]:
    """Return the tables that people read."""
    heads = (
        "column",
        "missing",
        "mean",
        "deviation",
        *(_QUANTILES[place] for place in _SHOWN),
        "from 1 % to 99 %",
        "top",
    )
    rows = [
        (
            one.name,
            f"{one.nulls / one.rows:.2%}" if one.rows else None,
            *(
                (one.mean, one.deviation if one.HasField("deviation") else None, *(one.quantiles[at] for at in _SHOWN))
                if one.HasField("mean")
                else (None,) * (2 + len(_SHOWN))
            ),
            _bars(list(one.histogram)),
            ", ".join(f"{top.value:g} ({top.rows})" for top in one.top[:_TOP_SHOWN]),
        )
        for one in answer.columns
    ]
    span = ""
    if answer.HasField("start_us"):
        span = f", {literals.format_time(answer.start_us)} to {literals.format_time(answer.end_us)}"
    of = pb.ProfileOrigin.Name(answer.origin).removeprefix("PROFILE_ORIGIN_").lower()
    shown = [show.table(f"{answer.rows} rows, {of}{span}", heads, rows)]
    if answer.statuses:
        views = [(resources.view_id(one.feature_view), dict(sorted(one.calls.items()))) for one in answer.statuses]
        shown.append(show.table("How lookups ended", ("view", "calls"), views))
    return shown


def _bars(parts: list[float]) -> str:
    """Return a histogram as one line of block characters; any part that is not zero is seen."""
    most = max(parts, default=0.0)
    return "".join(_BARS[0 if part <= 0 else 1 + round(part / most * (len(_BARS) - 2))] for part in parts)
