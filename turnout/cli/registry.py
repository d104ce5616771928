"""`turnout registry`: the registry as a whole: its bytes, its archives, the keys of its publishers."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from turnout import signing
from turnout.artifacts import DownloadDamagedError
from turnout.cli import failures, literals, models, options, show
from turnout.cli.document import document_of, enum_name
from turnout.cli.mlflow import read_mlflow
from turnout.registry.v1 import artifact_pb2 as pb

app = typer.Typer(help="Look after the registry: its bytes, its archives, its keys.", no_args_is_help=True)

Archive = Annotated[Path, typer.Argument(metavar="FILE.tar", help="The archive.")]


@contextlib.contextmanager
def progress(title: str, *, hidden: bool) -> Iterator[Callable[[int, int], None]]:
    """Give what shows how far something is, in bytes, on a terminal and where nobody asked for JSON."""
    screen = show.console()
    bar = Progress(
        TextColumn(title),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=screen,
        disable=hidden or not screen.is_terminal,
        transient=True,
    )
    with bar:
        task = bar.add_task(title, total=None)

        def told(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield told


@models.app.command()
def download(
    name: models.Name,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The version's number.")],
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx", dir_okay=False, help="Where it goes.")],
    *,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Fetch a version's ONNX file and check its digest; one that broke off goes on where it did."""
    with options.control(server) as connection, progress(f"{name}/{version}", hidden=as_json) as told:
        try:
            one = connection.download_artifact(name, version, file, arrived=told)
        except DownloadDamagedError as error:
            typer.echo(f"damaged: {error}", err=True)
            raise typer.Exit(failures.REFUSED) from error
    document = {"version": one.name, "artifact_sha256": one.artifact_sha256, "artifact_bytes": one.artifact_bytes}
    show.emit(document, lambda: [f"{file} is {one.name}, {one.artifact_bytes} bytes"], as_json=as_json)


@app.command()
def verify(*, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Read every artifact that a version needs; exit with 1 when something is wrong."""
    findings: list[pb.ArtifactFinding] = []
    last = pb.VerifyProgress()
    with options.control(server) as connection, progress("verifying", hidden=as_json) as told:
        for message in connection.registry.VerifyArtifacts(pb.VerifyArtifactsRequest()):
            if message.HasField("finding"):
                findings.append(message.finding)
            else:
                last = message.progress
                told(last.checked_bytes, last.total_bytes)
    rows = [
        (enum_name(pb.ArtifactProblem.DESCRIPTOR, one.problem), ", ".join(one.versions), one.message)
        for one in findings
    ]
    summary = (
        f"{last.checked} artifacts, {last.checked_bytes} bytes read; {last.unreferenced} more with "
        f"{last.unreferenced_bytes} bytes that no version needs"
    )
    show.emit(
        {"findings": [document_of(one) for one in findings], "progress": document_of(last)},
        lambda: [show.table("Wrong", ("what", "versions", "why"), rows), summary],
        as_json=as_json,
    )
    if findings or not last.done:
        raise typer.Exit(failures.REFUSED)


@app.command()
def gc(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    grace_s: Annotated[
        int, typer.Option("--grace-s", min=0, help="Only what was put at least so many seconds ago.")
    ] = 86_400,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Remove the artifacts that no version needs, deleted versions included."""
    with options.control(server) as connection:
        answer = connection.registry.CollectArtifacts(pb.CollectArtifactsRequest(grace_s=grace_s, dry_run=dry_run))
    rows = [
        (one.artifact_sha256, one.artifact_bytes, literals.format_time(one.put_time_us)) for one in answer.artifacts
    ]
    title = "Would be removed" if dry_run else "Removed"
    show.emit(
        document_of(answer),
        lambda: [
            show.table(title, ("sha256", "bytes", "put"), rows),
            f"{answer.total_bytes} bytes; {answer.younger} more that no version needs are younger",
        ],
        as_json=as_json,
    )


@app.command()
def keygen(
    stem: Annotated[Path, typer.Argument(metavar="NAME", help="Makes NAME.key, to sign with, and NAME.pub, to trust.")],
    *,
    as_json: options.Json = False,
) -> None:
    """Make a pair of ed25519 keys: publishers sign with one, gateways trust the other (--trusted-keys)."""
    private, public = signing.make_key(stem)
    show.emit(
        {"private": str(private), "public": str(public)},
        lambda: [f"{private} signs: `turnout models publish … --sign-key {private}`; keep it", f"{public} is trusted"],
        as_json=as_json,
    )


@app.command("export")
def export_(
    file: Archive,
    *,
    model: Annotated[list[str] | None, typer.Option("--model", help="Only this model; repeatable.")] = None,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Write the registry, history and bytes and all, as one archive in the OCI image layout."""
    part = file.with_name(f"{file.name}.part")
    with options.control(server) as connection:
        try:
            with part.open("wb") as sink:
                length = connection.export_registry(sink, models=model or ())
            part.rename(file)
        finally:
            part.unlink(missing_ok=True)
    show.emit({"file": str(file), "bytes": length}, lambda: [f"{file} has {length} bytes"], as_json=as_json)


@app.command("import")
def import_(file: Archive, *, server: options.Server = options.SERVER, as_json: options.Json = False) -> None:
    """Take an archive in, all of it or nothing; what is here already is left alone."""
    with options.control(server) as connection, file.open("rb") as source:
        answer = connection.import_registry(source)
    pairs: list[tuple[str, Any]] = [
        ("added", list(answer.added)),
        ("unchanged", list(answer.unchanged)),
        ("versions added", answer.versions),
        ("taints added", answer.taints),
    ]
    show.emit(document_of(answer), lambda: [show.facts("Imported", pairs)], as_json=as_json)


@app.command("import-mlflow")
def import_mlflow(
    folder: Annotated[Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="Holds MLmodel.")],
    name: Annotated[str, typer.Option("--model", help="The model that it becomes a version of.")],
    *,
    alias: Annotated[str, typer.Option("--alias", help="Set this alias to the new version.")] = "",
    sign_key: Annotated[Path | None, typer.Option("--sign-key", metavar="FILE.key", exists=True)] = None,
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Publish the ONNX flavour of a model that MLflow saved. Nothing in the folder is executed or unpickled."""
    saved = read_mlflow(folder)
    with options.control(server) as connection:
        answer = connection.publish_version(name, saved.file, facts=saved.facts, alias=alias, sign_key=sign_key)
        options.settle(connection, answer.revision, wait=wait)
    told = models.version_facts(answer.version)
    show.emit(document_of(answer), lambda: [show.facts("Published", told)], as_json=as_json)
