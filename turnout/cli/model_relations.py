"""`turnout models …`: versions found, compared, and where they come from."""

from typing import Annotated, Any

import typer

from turnout import resources
from turnout.cli import literals, options, show
from turnout.cli.document import document_of, enum_name
from turnout.cli.literals import LiteralError
from turnout.cli.models import Name, app
from turnout.registry.v1 import comparison_pb2
from turnout.registry.v1 import registry_service_pb2 as pb

LIMIT_MAX = 1000


@app.command()
def search(
    filter_: Annotated[
        str,
        typer.Argument(metavar="FILTER", help="Such as 'metrics.auc >= 0.8 AND tags.team = \"risk\"'; empty: all."),
    ] = "",
    *,
    order_by: Annotated[
        str, typer.Option("--order-by", help="create_time, version, model, artifact_bytes or metrics.NAME; then desc.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=LIMIT_MAX, help="How many at most.")] = 50,
    deleted: Annotated[bool, typer.Option("--deleted", help="Find deleted versions too.")] = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Find versions of all models."""
    request = pb.SearchVersionsRequest(filter=filter_, order_by=order_by, page_size=limit, show_deleted=deleted)
    with options.control(server) as connection:
        answer = connection.registry.SearchVersions(request)
    columns = ("version", "stage", "published", "algorithm", "metrics", "tags")
    rows = [
        (
            one.name,
            enum_name(pb.Stage.DESCRIPTOR, one.stage),
            literals.format_time(one.create_time_us),
            one.facts.algorithm,
            dict(one.facts.metrics),
            dict(one.tags),
        )
        for one in answer.versions
    ]
    title = "Versions" if not answer.next_page_token else f"The first {limit} versions"
    show.emit(document_of(answer), lambda: [show.table(title, columns, rows)], as_json=as_json)


@app.command()
def compare(
    before: Annotated[str, typer.Argument(metavar="NAME/VERSION", help="For example fraud/3.")],
    after: Annotated[str, typer.Argument(metavar="NAME/VERSION", help="For example fraud/4.")],
    *,
    predictions: Annotated[
        bool, typer.Option("--predictions/--no-predictions", help="Run both on the probe rows that either has.")
    ] = True,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Say in what two versions differ, of one model or of two."""
    request = comparison_pb2.CompareVersionsRequest(
        before=version_name(before), after=version_name(after), predictions=predictions
    )
    with options.control(server) as connection:
        answer = connection.registry.CompareVersions(request)
    show.emit(document_of(answer), lambda: _comparison(answer, before, after), as_json=as_json)


@app.command()
def lineage(
    name: Name,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The version's number.")],
    *,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Say where a version comes from and what came of it."""
    with options.control(server) as connection:
        answer = connection.registry.GetLineage(pb.GetLineageRequest(name=resources.version_name(name, version)))
    show.emit(document_of(answer), lambda: _lineage(answer), as_json=as_json)


def version_name(text: str) -> str:
    """Return the resource name of a version that is given as NAME/VERSION or by that name, or raise LiteralError."""
    model, slash, number = text.removeprefix("models/").replace("/versions/", "/").partition("/")
    if not slash or not number.isdecimal():
        raise LiteralError(f"a version is given as NAME/VERSION, for example fraud/3, not {text!r}")
    return resources.version_name(model, int(number))


def _comparison(answer: comparison_pb2.CompareVersionsResponse, before: str, after: str) -> list[Any]:
    columns = ("", before, after)
    facts = [
        ("bytes", "the same" if answer.same_artifact else "others"),
        ("data", _changed(answer, "data_changed")),
        ("code", _changed(answer, "code_changed")),
        ("features added", ", ".join(answer.features_added)),
        ("features removed", ", ".join(answer.features_removed)),
        ("features defined otherwise", ", ".join(answer.features_changed)),
        ("later by", f"{answer.time_between_us / 1e6:.6g} s"),
        ("predictions", answer.predictions_reason),
    ]
    changes = [*answer.facts, *answer.parameters, *answer.signature]
    rows = [(one.name, _optional(one, "before"), _optional(one, "after")) for one in changes]
    metrics = [
        (
            one.name,
            *(_optional(one, field) for field in ("before", "after", "change", "percent")),
            enum_name(comparison_pb2.MetricDirection.DESCRIPTOR, one.direction).lower(),
            _optional(one, "better"),
        )
        for one in answer.metrics
    ]
    answers = [
        (
            one.output,
            one.rows,
            one.equal_rows,
            *(_optional(one, field) for field in ("max_delta", "mean_delta", "flips")),
        )
        for one in answer.predictions
    ]
    parts = [
        show.facts(f"{before} against {after}", facts),
        show.table("What differs", columns, rows),
        show.table("Metrics", ("metric", before, after, "change", "%", "better is", "better"), metrics),
    ]
    if answers:
        head = ("output", "rows", "equal", "largest difference", "mean difference", "flips")
        parts.append(show.table("Answers to the same rows", head, answers))
    return parts


def _changed(answer: comparison_pb2.CompareVersionsResponse, field: str) -> str:
    value = _optional(answer, field)
    return "not known" if value is None else "changed" if value else "the same"


def _optional(message: Any, field: str) -> Any:
    return getattr(message, field) if message.HasField(field) else None


def _lineage(answer: pb.GetLineageResponse) -> list[Any]:
    version, predictions = answer.version, answer.predictions
    facts = [
        ("data", version.facts.data_fingerprint),
        ("dataset", version.facts.dataset),
        ("code", version.facts.code_fingerprint),
        ("same data", list(answer.same_data)),
        ("feature set", f"{version.facts.feature_set} {version.feature_set_digest[:12]}".strip()),
        ("feature views", list(answer.feature_views)),
        ("made from", [one.name for one in answer.ancestors]),
        ("made of it", [one.name for one in answer.descendants]),
        ("experiments", [f"{one.experiment} as {one.variant} ({one.state})" for one in answer.experiments]),
        ("predictions", predictions.count),
        (
            "first, last",
            f"{literals.format_time(predictions.first_time_us)}, {literals.format_time(predictions.last_time_us)}",
        ),
        ("taints", [f"{one.taint_id}: {one.subject}: {one.reason}" for one in answer.taints]),
    ]
    rows = [
        (
            one.alias,
            literals.format_time(one.start_time_us),
            literals.format_time(one.end_time_us),
            one.actor,
            one.reason,
        )
        for one in answer.alias_periods
    ]
    return [
        show.facts(version.name, facts),
        show.table("Aliases", ("alias", "from", "to", "by", "reason"), rows),
    ]
