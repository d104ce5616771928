"""`turnout features`: definitions, and values in the online store."""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from turnout import resources
from turnout.cli import literals, options, show
from turnout.cli.document import document_of
from turnout.cli.paging import all_pages
from turnout.features.v1 import feature_service_pb2 as pb

QUERY_S = 3600
app = typer.Typer(help="Define features, and move their values to the online store.", no_args_is_help=True)


@app.command()
def apply(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="Holds *.toml and the *.sql they name.")
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    base_dir: Annotated[
        Path | None,
        typer.Option("--base-dir", help="Where relative source paths start on the gateway's machine; default: DIR."),
    ] = None,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Make the definitions what the files of a directory say."""
    with options.control(server) as connection:
        answer = connection.apply_features(directory, base_dir=base_dir, dry_run=dry_run)
    title = "Would be done" if dry_run else f"Done, revision {answer.revision}"
    rows = [(one.name, one.action, one.digest[:12]) for one in answer.changes]
    show.emit(
        document_of(answer), lambda: [show.table(title, ("definition", "action", "digest"), rows)], as_json=as_json
    )


@app.command("list")
def list_(*, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """List the feature views and the feature sets."""
    with options.control(server) as connection:
        views = all_pages(connection.features.ListFeatureViews, pb.ListFeatureViewsRequest(), "feature_views")
        sets = all_pages(connection.features.ListFeatureSets, pb.ListFeatureSetsRequest(), "feature_sets")
    view_rows = [
        (
            resources.view_id(one.name),
            ", ".join(one.join_keys),
            ", ".join(feature.name for feature in one.features),
            f"{one.ttl_us / 3_600_000_000:g} h" if one.ttl_us else "forever",
            literals.format_time(one.materialized_until_us),
            one.owner or None,
            ", ".join(one.tags) or None,
        )
        for one in views
    ]
    set_rows = [
        (
            resources.set_id(one.name),
            ", ".join(one.features),
            one.digest[:12],
            one.owner or None,
            ", ".join(one.tags) or None,
        )
        for one in sets
    ]
    transforms = [
        (resources.set_id(one.name), each.name, each.expression, each.type) for one in sets for each in one.transforms
    ]
    show.emit(
        {"feature_views": [document_of(one) for one in views], "feature_sets": [document_of(one) for one in sets]},
        lambda: (
            show.table(
                "Feature views",
                ("view", "join keys", "features", "lives", "materialized until", "owner", "tags"),
                view_rows,
            ),
            show.table("Feature sets", ("set", "features", "digest", "owner", "tags"), set_rows),
            show.table("Transforms", ("set", "transform", "expression", "type"), transforms),
        ),
        as_json=as_json,
    )


@app.command()
def materialize(
    views: Annotated[list[str] | None, typer.Argument(metavar="[VIEW]...", help="Default: all views.")] = None,
    *,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="As of when: ISO 8601 or microseconds; default now.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Read again what became known since then; default: go on."),
    ] = None,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Write the newest values to the online store."""
    request = pb.MaterializeRequest(feature_views=[resources.view_name(view) for view in views or ()])
    if until is not None:
        request.until_us = literals.parse_time(until)
    if since is not None:
        request.since_us = literals.parse_time(since)
    with options.control(server) as connection:
        answer = connection.features.Materialize(request, timeout=QUERY_S)
    rows = [
        (resources.view_id(one.name), one.entities_written, literals.format_time(one.until_us)) for one in answer.views
    ]
    show.emit(
        document_of(answer),
        lambda: [show.table("Materialized", ("view", "entities written", "until"), rows)],
        as_json=as_json,
    )


@app.command()
def status(*, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Show as of when the views stand in the online store, what runs, and when they are due."""
    with options.control(server) as connection:
        answer = connection.features.GetMaterialization(pb.GetMaterializationRequest())
    rows = [
        (
            resources.view_id(one.name),
            one.state,
            literals.format_time(one.until_us),
            ("at once" if not one.due_us else literals.format_time(one.due_us)) if one.HasField("due_us") else None,
            one.entities_read,
            one.entities_written,
            one.error,
        )
        for one in answer.views
    ]
    head = ("view", "state", "until", "due", "entities read", "written", "error")
    show.emit(document_of(answer), lambda: [show.table("Materialization", head, rows)], as_json=as_json)


@app.command()
def write(
    view: Annotated[str, typer.Argument(metavar="VIEW", help="The feature view's name.")],
    *,
    entity: options.Entities = None,
    value: Annotated[
        list[str] | None, typer.Option("--value", metavar="FEATURE=NUMBER", help="A value; repeatable.")
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="TIME", help="When it became true; default now.")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="There is no value any more.")] = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Write one entity's values to the online store at once; features that are not named become null."""
    row = pb.FeatureRow(
        entities=literals.parse_pairs(entity or (), "--entity"),
        values=_numbers(literals.parse_pairs(value or (), "--value")),
        deleted=delete,
    )
    if time is not None:
        row.event_time_us = literals.parse_time(time)
    with options.control(server) as connection:
        answer = connection.features.WriteFeatures(
            pb.WriteFeaturesRequest(feature_view=resources.view_name(view), rows=[row])
        )
    said = "written" if answer.rows_written else "unchanged: what is there is as new"
    show.emit(document_of(answer), lambda: [f"{view}: {said}"], as_json=as_json)


def _numbers(pairs: dict[str, str]) -> dict[str, float]:
    try:
        return {name: float(text) for name, text in pairs.items()}
    except ValueError as error:
        raise literals.LiteralError("--value is FEATURE=NUMBER") from error


@app.command()
def read(
    feature_set: Annotated[str, typer.Argument(metavar="SET", help="The feature set's name.")],
    *,
    entity: options.Entities = None,
    feature: Annotated[
        list[str] | None,
        typer.Option("--feature", metavar="NAME=NUMBER", help="A feature that the caller would give; repeatable."),
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", metavar="TIME", help="As known then, by the sources; default: the online store, now."),
    ] = None,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Show what the online store would give to a prediction, or what was known at an earlier time."""
    request = pb.ReadFeaturesRequest(
        feature_set=resources.set_name(feature_set),
        entities=literals.parse_pairs(entity or (), "--entity"),
        features=literals.parse_numbers(feature or (), "--feature"),
    )
    if as_of is not None:
        request.as_of_us = literals.parse_time(as_of)
    with options.control(server) as connection:
        answer = connection.features.ReadFeatures(request, timeout=QUERY_S)
    rows = [
        (one.feature, one.value, one.status, one.age_ms if one.HasField("age_ms") else None) for one in answer.values
    ]
    show.emit(
        document_of(answer),
        lambda: [show.table(feature_set, ("feature", "value", "status", "age ms"), rows)],
        as_json=as_json,
    )


@app.command()
def copy(
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="A store's address, or env:NAME for one in a variable.")
    ],
    target: Annotated[str, typer.Argument(metavar="TO", help="The same.")],
) -> None:
    """Copy all values of one online store into another, directly; needs the extra `server`.

    What is newer in the other store stays.
    """
    if importlib.util.find_spec("features") is None:
        raise typer.BadParameter("the stores are not installed here: install turnout[server]")
    command = [sys.executable, "-m", "features.copying", source, target]
    raise typer.Exit(subprocess.run(command, check=False).returncode)  # noqa: S603  (our own module)


@app.command("training-data")
def training_data(
    feature_set: Annotated[str, typer.Argument(metavar="SET", help="The feature set's name.")],
    labels: Annotated[
        Path, typer.Option("--labels", metavar="FILE.sql", exists=True, dir_okay=False, help="SQL of the label rows.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.parquet", dir_okay=False, help="Where to write it.")],
    *,
    start: Annotated[str | None, typer.Option("--start", metavar="TIME", help="Only labels from then on.")] = None,
    end: Annotated[str | None, typer.Option("--end", metavar="TIME", help="Only labels before then.")] = None,
    marks: Annotated[bool, typer.Option("--marks", help="Also say how each view's row was found.")] = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Write each label row with its features as they were known then, as Parquet."""
    request = pb.GetTrainingDataRequest(
        feature_set=resources.set_name(feature_set), label_sql=labels.read_text(encoding="utf-8"), marks=marks
    )
    if start is not None:
        request.start_us = literals.parse_time(start)
    if end is not None:
        request.end_us = literals.parse_time(end)
    with options.control(server) as connection, tempfile.TemporaryFile(dir=out.absolute().parent) as stream:
        fingerprint = connection.download_training_data(request, stream)
        stream.seek(0)
        rows = _write_parquet(stream, out)
    facts = {"file": str(out), "rows": rows, "fingerprint": fingerprint}
    show.emit(
        facts,
        lambda: [show.table(feature_set, ("file", "rows", "fingerprint"), [tuple(facts.values())])],
        as_json=as_json,
    )


def _write_parquet(stream: BinaryIO, out: Path) -> int:
    """Write an Arrow stream as Parquet, batch by batch, and return how many rows it has; whole, or not at all."""
    try:
        import pyarrow as pa  # noqa: PLC0415  (no part of the command line's own install)
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise literals.LiteralError("Parquet is written by pyarrow: pip install pyarrow") from error
    rows = 0
    part = out.with_name(out.name + ".part")
    with pa.ipc.open_stream(stream) as batches, pq.ParquetWriter(part, batches.schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    part.replace(out)
    return rows
