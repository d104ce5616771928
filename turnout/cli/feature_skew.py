"""`turnout features skew`: what predictions were served, against a recomputation of the same calls."""

from typing import Annotated, Any

import typer

from turnout import resources
from turnout.cli import failures, literals, options, show
from turnout.cli.document import document_of
from turnout.cli.features import QUERY_S, app
from turnout.features.v1 import feature_service_pb2 as pb

_US_PER_S = 1_000_000


@app.command()
def skew(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The model's name.")],
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="Whose feature set is replayed.")],
    *,
    start: Annotated[str | None, typer.Option("--start", metavar="TIME", help="Only predictions from then on.")] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="TIME", help="Only predictions before then.")] = None,
    calls: Annotated[int, typer.Option("--calls", min=0, help="How many, the newest first; 0: 10 000.")] = 0,
    lag: Annotated[
        float | None,
        typer.Option("--lag", metavar="SECONDS", min=0, help="How far the online store may stand behind."),
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", help="The relative difference up to which values are equal.")
    ] = None,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Compare the features that predictions were served with a recomputation; exit with 1 when they differ."""
    request = pb.ReplaySkewRequest(version=resources.version_name(model, version), calls_max=calls, tolerance=tolerance)
    if start is not None:
        request.start_us = literals.parse_time(start)
    if end is not None:
        request.end_us = literals.parse_time(end)
    if lag is not None:
        request.lag_us = int(lag * _US_PER_S)
    with options.control(server) as connection:
        answer = connection.features.ReplaySkew(request, timeout=QUERY_S)
    show.emit(document_of(answer), lambda: _shown(answer), as_json=as_json)
    if answer.findings:
        raise typer.Exit(failures.REFUSED)


def _shown(answer: pb.ReplaySkewResponse) -> list[Any]:
    """Return the tables and sentences that people read."""
    views = [
        (
            resources.view_id(one.feature_view),
            one.calls,
            one.compared_calls,
            one.late_calls,
            one.missing_calls,
            one.extra_calls,
            one.ahead_calls,
        )
        for one in answer.views
    ]
    features = [
        (
            f"{resources.view_id(view.feature_view)}.{one.feature}",
            one.compared_calls,
            one.mismatched_calls,
            f"{one.smape:.3g}",
            f"{one.ratio:g}" if one.HasField("ratio") else None,
        )
        for view in answer.views
        for one in view.features
    ]
    outputs = [(one.output, one.rows, one.equal_rows, one.max_delta, one.mean_delta) for one in answer.outputs]
    shown: list[Any] = [
        show.table("Views", ("view", "calls", "compared", "late", "missing", "extra", "ahead"), views),
        show.table("Features", ("feature", "compared", "mismatched", "SMAPE", "ratio"), features),
    ]
    if outputs:
        shown.append(show.table("Outputs", ("output", "calls", "equal", "max change", "mean change"), outputs))
    elif answer.outputs_reason:
        shown.append(f"outputs: {answer.outputs_reason}")
    return [*shown, *(answer.findings or [f"no skew in {answer.calls} calls"])]
