"""Experiments and their analyses as tables."""

from collections.abc import Iterator

from rich.console import RenderableType

from turnout.cli import literals, show
from turnout.cli.document import enum_name
from turnout.experiments.v1 import experiment_service_pb2 as pb


def experiment_parts(experiment: pb.Experiment) -> Iterator[RenderableType]:
    """Yield an experiment's facts, its variants and its metrics."""
    yield show.facts(
        experiment.name,
        [
            ("model", experiment.model),
            ("state", enum_name(pb.ExperimentState.DESCRIPTOR, experiment.state)),
            ("description", experiment.description),
            ("owner", experiment.owner),
            ("coverage", experiment.coverage),
            ("seed", experiment.seed),
            ("epoch", experiment.epoch),
            ("created", literals.format_time(experiment.create_time_us)),
            ("started", literals.format_time(experiment.start_time_us)),
            ("concluded", literals.format_time(experiment.conclude_time_us)),
            ("winner", experiment.winner),
            ("etag", experiment.etag),
        ],
    )
    arms = [(one.variant, one.version, one.share, "control" if one.control else "") for one in experiment.variants]
    yield show.table("Variants", ("variant", "version", "share", ""), arms)
    metrics = [
        (
            one.metric,
            enum_name(pb.MetricKind.DESCRIPTOR, one.kind),
            one.outcome,
            f"{one.output}[{one.output_index}]" if one.output else "",
            enum_name(pb.Direction.DESCRIPTOR, one.direction),
            enum_name(pb.MetricRole.DESCRIPTOR, one.role),
        )
        for one in experiment.metrics
    ]
    yield show.table("Metrics", ("metric", "kind", "outcome", "output", "better", "role"), metrics)


def analysis_parts(analysis: pb.AnalyzeExperimentResponse) -> Iterator[RenderableType]:
    """Yield how much each variant has, how they compare, and whether the split is as it should be."""
    counts = [
        (
            one.variant,
            one.units,
            one.predictions,
            one.matured_units,
            one.failed_predictions,
            one.fallback_predictions,
        )
        for one in analysis.counts
    ]
    columns = ("variant", "units", "predictions", "with outcomes", "failed", "fallback")
    yield show.table(f"{analysis.name} at {literals.format_time(analysis.time_us)}", columns, counts)
    rows = [row for one in analysis.comparisons for row in _comparison(one)]
    yield show.table("Against the control", ("metric", "variant", "control", "variant's", "difference", "p"), rows)
    for one in analysis.comparisons:
        if one.WhichOneof("result") == "not_enough_data":
            yield f"{one.metric} of {one.variant}: not enough data: {one.not_enough_data}"
    yield _sample_ratio(analysis.sample_ratio)
    yield f"outcomes analyzed: {analysis.outcomes_analyzed}"


def _comparison(comparison: pb.Comparison) -> Iterator[tuple[object, ...]]:
    if comparison.WhichOneof("result") == "estimate":
        found = comparison.estimate
        interval = f"[{found.lower:+.4g}, {found.upper:+.4g}] ({found.confidence:.0%}, {found.method})"
        yield (
            comparison.metric,
            comparison.variant,
            found.control_mean,
            found.treatment_mean,
            f"{found.difference:+.4g} in {interval}",
            f"{found.p_value:.4g}",
        )


def _sample_ratio(ratio: pb.SampleRatio) -> str:
    if ratio.WhichOneof("result") != "check":
        return f"sample ratio: not enough data: {ratio.not_enough_data}"
    verdict = "MISMATCH: the split is off, look into the data first" if ratio.check.mismatch else "as the shares say"
    return f"sample ratio: {verdict} (p = {ratio.check.p_value:.4g})"
