"""Experiments and their analyses as tables."""

from collections.abc import Iterator, Sequence

from google.protobuf.json_format import MessageToJson
from rich.console import RenderableType

from turnout.cli import literals, show
from turnout.cli.document import enum_name
from turnout.experiments.v1 import experiment_service_pb2 as pb

COMPARED = ("metric", "variant", "control", "variant's", "difference", "lift", "p", "wins")


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
            ("unit", enum_name(pb.UnitKind.DESCRIPTOR, experiment.unit).lower()),
            ("targeting", MessageToJson(experiment.targeting, indent=None) if experiment.HasField("targeting") else ""),
            ("forced units", len(experiment.forced) or ""),
            ("part of the layer", experiment.layer_share),
            ("method", enum_name(pb.AnalysisMethod.DESCRIPTOR, experiment.plan.method).lower()),
            ("planned units", experiment.plan.planned_units or ""),
            ("planned end", literals.format_time(experiment.plan.planned_end_us)),
            ("ramp", ramp_line(experiment)),
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


def ramp_line(experiment: pb.Experiment) -> str:
    """Return the shares of an experiment's ramp; empty when it has none."""
    steps = " -> ".join(f"{step.share:.4g}" for step in experiment.ramp.steps)
    return f"{steps}, then the champion" if experiment.ramp.promote else steps


def moved_part(answer: pb.SetTrafficSplitResponse, *, dry_run: bool) -> str:
    """Return how many units a split moved, or would."""
    if not dry_run:
        return f"units moved: {answer.moved_share:.2%}"
    return (
        f"nothing was changed; {answer.moved_share:.2%} of the units would move, {answer.moved_units} of the last "
        f"{answer.recent_units}"
    )


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
    yield show.table("Against the control", COMPARED, rows)
    for one in analysis.comparisons:
        if one.WhichOneof("result") == "not_enough_data":
            yield f"{one.metric} of {one.variant}: not enough data: {one.not_enough_data}"
    yield from _quality(analysis)
    yield f"outcomes analyzed: {analysis.outcomes_analyzed}"


def advice_parts(answer: pb.GetRecommendationResponse) -> Iterator[RenderableType]:
    """Yield what to do, why, how far the experiment is, and the analysis that it rests on."""
    yield f"{enum_name(pb.Recommendation.DESCRIPTOR, answer.recommendation)} {answer.variant}".strip()
    yield from (f"- {reason}" for reason in answer.reasons)
    yield from standing_parts(answer)
    yield from analysis_parts(answer.analysis)


def look_parts(looks: Sequence[pb.GetRecommendationResponse]) -> Iterator[RenderableType]:
    """Yield the looks that were kept, with the first comparison of each."""
    rows: list[tuple[object, ...]] = []
    for one in looks:
        found = one.analysis
        head = (
            found.look,
            literals.format_time(found.time_us),
            sum(count.units for count in found.counts),
            f"{enum_name(pb.Recommendation.DESCRIPTOR, one.recommendation)} {one.variant}".strip(),
        )
        first = found.comparisons[0] if found.comparisons else pb.Comparison()
        if first.WhichOneof("result") != "estimate":
            rows.append((*head, "not enough data", ""))
            continue
        told = first.estimate
        interval = f"{told.difference:+.4g} in [{told.lower:+.4g}, {told.upper:+.4g}]"
        rows.append((*head, f"{first.metric} of {first.variant}: {interval}", f"{told.p_value:.4g}"))
    yield show.table("Looks", ("look", "time", "units", "recommendation", "first comparison", "p"), rows)


def pair_parts(answer: pb.ComparePairsResponse, metric: str) -> Iterator[RenderableType]:
    """Yield what the pairs of two versions say of a metric."""
    yield show.facts(
        "Pairs",
        [("pairs", answer.pairs), ("failed", answer.failed_pairs), ("without an outcome yet", answer.pending_pairs)],
    )
    if answer.WhichOneof("result") == "estimate":
        one = pb.Comparison(metric=metric, variant="treatment", estimate=answer.estimate)
        yield show.table("On the same calls", COMPARED, _comparison(one))
    else:
        yield f"not enough data: {answer.not_enough_data}"
    yield f"finding: {enum_name(pb.Finding.DESCRIPTOR, answer.finding)}"
    if answer.HasField("labels"):
        labels = answer.labels
        yield (
            f"right more often: the control in {labels.control_only} units, the treatment in {labels.treatment_only} "
            f"(p = {labels.p_value:.4g} by McNemar's exact test, for one look)"
            if not labels.not_enough_data
            else f"right more often: not enough data: {labels.not_enough_data}"
        )


def standing_parts(answer: pb.GetRecommendationResponse) -> Iterator[RenderableType]:
    """Yield how far the experiment is, and what identifies the verdict."""
    status = enum_name(pb.RecommendationStatus.DESCRIPTOR, answer.status)
    facts: list[tuple[str, object]] = [("status", status)]
    if answer.HasField("confidence"):
        facts.append(("confidence", f"{answer.confidence:.4%}"))
    if answer.HasField("average_improvement"):
        facts.append(("average improvement", f"{answer.average_improvement:+.2%}"))
    if answer.HasField("remaining_units"):
        facts.append(("units still needed", answer.remaining_units))
    facts += [("look", answer.analysis.look), ("engine", answer.engine), ("digest", answer.digest)]
    yield show.facts("Standing", facts)


def verified_parts(answer: pb.VerifyExperimentResponse) -> Iterator[RenderableType]:
    """Yield each verdict that was computed again."""
    rows = [
        (one.look, literals.format_time(one.time_us), one.recommendation, "same" if one.same else "NOT THE SAME")
        for one in answer.looks
    ]
    yield show.table("Looks", ("look", "time", "recommendation", "computed again"), rows)
    for one in answer.looks:
        yield from (f"look {one.look}: {difference}" for difference in one.differences)


def _quality(analysis: pb.AnalyzeExperimentResponse) -> Iterator[RenderableType]:
    """Yield whether the data can be trusted."""
    rows = [
        (one.stage, " ".join(str(units) for units in one.units), _sample_ratio(one.sample_ratio))
        for one in analysis.stages
    ]
    if rows:
        yield show.table("Units on their way", ("stage", "units", "split"), rows)
    yield f"sample ratio: {_sample_ratio(analysis.sample_ratio)}"
    for each in analysis.maturity:
        if each.pending_units or each.missing_units or each.uneven:
            uneven = ", UNEVEN against the control" if each.uneven else ""
            yield (
                f"{each.metric} of {each.variant}: {each.matured_units} units known, {each.pending_units} pending, "
                f"{each.missing_units} missing{uneven}"
            )
    for check in analysis.balance:
        if check.imbalance:
            yield f"IMBALANCE: {check.what} of {check.variant} differs from the control's (p = {check.p_value:.2g})"


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
            "" if found.relative.not_enough_data else f"{found.relative.lift:+.2%}",
            f"{found.p_value:.4g}",
            "" if found.posterior.not_enough_data else f"{found.posterior.chance_to_win:.1%}",
        )


def _sample_ratio(ratio: pb.SampleRatio) -> str:
    if ratio.WhichOneof("result") != "check":
        return f"not enough data: {ratio.not_enough_data}"
    verdict = "MISMATCH: the split is off, look into the data first" if ratio.check.mismatch else "as the shares say"
    return f"{verdict} (p = {ratio.check.p_value:.4g}, {ratio.check.sequential_p_value:.4g} at any number of looks)"
