"""`turnout models publish`: an ONNX file becomes a version, with what is said of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from turnout.cli import literals, options, probe, show
from turnout.cli.document import document_of
from turnout.cli.literals import LiteralError
from turnout.cli.models import Name, Pairs, app, version_facts
from turnout.registry.v1 import comparison_pb2
from turnout.registry.v1 import registry_service_pb2 as pb

_DIRECTIONS = {
    "increase": comparison_pb2.METRIC_DIRECTION_INCREASE,
    "decrease": comparison_pb2.METRIC_DIRECTION_DECREASE,
}


@app.command()
def publish(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE.onnx", exists=True, dir_okay=False, help="The ONNX file.")],
    *,
    alias: Annotated[str, typer.Option("--alias", help="Set this alias to the new version, e.g. champion.")] = "",
    probe_file: Annotated[
        Path | None,
        typer.Option(
            "--probe",
            metavar="ROWS.parquet",
            exists=True,
            dir_okay=False,
            help="Rows whose outputs are known: a column for each input (for a single matrix input: one for each of "
            "its columns, in order), and a column expected.OUTPUT for each output. Replayed now and at every load.",
        ),
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", min=0, help="The largest difference that the probe passes.")
    ] = None,
    feature_set: Annotated[str, typer.Option("--feature-set", metavar="SET", help="Fills an input.")] = "",
    finite: Annotated[
        list[str] | None,
        typer.Option(
            "--finite", metavar="INPUT", help="An input for which NaN and infinities are refused; repeatable."
        ),
    ] = None,
    description: Annotated[str, typer.Option("--description", help="What it is and why it was made.")] = "",
    algorithm: Annotated[str, typer.Option("--algorithm", help="For example HistGradientBoostingClassifier.")] = "",
    framework: Annotated[str, typer.Option("--framework", help="With its version, e.g. 'scikit-learn 1.9.1'.")] = "",
    metric: Annotated[Pairs, typer.Option("--metric", metavar="K=NUMBER", help="Of training; repeatable.")] = None,
    better: Annotated[
        Pairs,
        typer.Option("--better", metavar="K=DIRECTION", help="increase or decrease: which way a metric is better."),
    ] = None,
    parameter: Annotated[Pairs, typer.Option("--parameter", metavar="K=V", help="Of training; repeatable.")] = None,
    parent: Annotated[
        list[int] | None, typer.Option("--parent", min=1, help="A version that it was made from; repeatable.")
    ] = None,
    dataset: Annotated[str, typer.Option("--dataset", help="What it was trained on.")] = "",
    data_fingerprint: Annotated[
        str, typer.Option("--data-fingerprint", help="Of its training table, as the gateway gave it.")
    ] = "",
    code_fingerprint: Annotated[str, typer.Option("--code-fingerprint", help="Of the code that trained it.")] = "",
    tag: Annotated[Pairs, typer.Option("--tag", metavar="K=V", help="A free label; repeatable.")] = None,
    sign_key: Annotated[
        Path | None,
        typer.Option(
            "--sign-key", metavar="FILE.key", exists=True, dir_okay=False, help="Sign the version's manifest with it."
        ),
    ] = None,
    wait: options.Wait = False,
    server: options.Server = options.SERVER,
    as_json: options.Json = False,
) -> None:
    """Publish an ONNX file as the model's next version; the model is created when there is none."""
    if tolerance is not None and probe_file is None:
        raise typer.BadParameter("--tolerance goes with --probe")
    facts = pb.VersionFacts(
        description=description,
        algorithm=algorithm,
        framework=framework,
        metrics=literals.parse_numbers(metric or (), "--metric"),
        metric_directions=_directions(better or ()),
        parameters=literals.parse_pairs(parameter or (), "--parameter"),
        parents=parent or (),
        dataset=dataset,
        data_fingerprint=data_fingerprint,
        code_fingerprint=code_fingerprint,
        tags=literals.parse_pairs(tag or (), "--tag"),
        feature_set=feature_set,
    )
    rows = None if probe_file is None else probe.read_probe(probe_file, file, tolerance=tolerance)
    with options.control(server) as connection:
        answer = connection.publish_version(
            name, file, facts=facts, probe=rows, alias=alias, finite_inputs=finite or (), sign_key=sign_key
        )
        options.settle(connection, answer.revision, wait=wait)
    same = [*map(str, answer.same_bytes_as), *answer.same_bytes_elsewhere]
    told = [*version_facts(answer.version), ("same bytes as", same)]
    show.emit(document_of(answer), lambda: [show.facts("Published", told)], as_json=as_json)


def _directions(pairs: Sequence[str]) -> "dict[str, comparison_pb2.MetricDirection.ValueType]":
    """Return the direction of each metric, or raise LiteralError for a word that is none."""
    found = {}
    for name, word in literals.parse_pairs(pairs, "--better").items():
        if word not in _DIRECTIONS:
            raise LiteralError(f"a metric gets better by {' or '.join(_DIRECTIONS)}, not {word!r}")
        found[name] = _DIRECTIONS[word]
    return found
