"""Analyses and recommendations as messages of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.analysis.decision import Recommendation, Status
from experiments.analysis.findings import NotEnoughData
from experiments.analysis.judgement import Verdict, judge
from experiments.analysis.methods import methods_used
from turnout import resources
from turnout.experiments.v1 import experiment_service_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from experiments.analysis.balance import BalanceCheck
    from experiments.analysis.conclusions import Conclusions
    from experiments.analysis.evidence import VariantCount
    from experiments.analysis.findings import Comparison, Estimate, Posterior, Relative, SampleRatioCheck
    from experiments.analysis.judgement import Judgement
    from experiments.analysis.replay import Replay
    from experiments.analysis.verdict import Verification
    from experiments.looks import Look
    from experiments.metric import Metric
    from gateway.control.judge import Analysis, Size

_RECOMMENDATIONS = {
    Recommendation.SHIP: pb.RECOMMENDATION_SHIP,
    Recommendation.KEEP: pb.RECOMMENDATION_KEEP,
    Recommendation.CONTINUE: pb.RECOMMENDATION_CONTINUE,
    Recommendation.INVESTIGATE: pb.RECOMMENDATION_INVESTIGATE,
    Recommendation.STOP: pb.RECOMMENDATION_STOP,
}
_STATUSES = {
    Status.NOT_ENOUGH_DATA: pb.RECOMMENDATION_STATUS_NOT_ENOUGH_DATA,
    Status.UNDECIDED: pb.RECOMMENDATION_STATUS_UNDECIDED,
    Status.DECIDED: pb.RECOMMENDATION_STATUS_DECIDED,
    Status.DATA_QUALITY: pb.RECOMMENDATION_STATUS_DATA_QUALITY,
}


FINDINGS = {
    Verdict.BETTER: pb.FINDING_BETTER,
    Verdict.WORSE: pb.FINDING_WORSE,
    Verdict.HOLDS: pb.FINDING_HOLDS,
    Verdict.OPEN: pb.FINDING_OPEN,
    Verdict.UNKNOWN: pb.FINDING_UNKNOWN,
}


def analysis_message(analysis: Analysis, *, explained: bool = True) -> pb.AnalyzeExperimentResponse:
    """Return the message of an analysis, with the methods that it rests on when it is to be explained."""
    found = analysis.verdict.conclusions
    judged = judge(analysis.experiment, found.comparisons)
    notes = methods_used(analysis.experiment, found) if explained else ()
    return pb.AnalyzeExperimentResponse(
        name=resources.experiment_name(analysis.experiment.id),
        counts=[_count_message(each) for each in analysis.evidence.counts],
        comparisons=[_comparison_message(*each) for each in zip(found.comparisons, judged, strict=True)],
        sample_ratio=_ratio_message(found.sample_ratio),
        outcomes_analyzed=analysis.evidence.outcomes_analyzed,
        time_us=analysis.time_us,
        stages=[
            pb.Stage(stage=each.stage.value, units=each.units, sample_ratio=_ratio_message(each.result))
            for each in found.stages
        ],
        balance=[_balance_message(each) for each in found.balance],
        maturity=list(_maturity_messages(analysis, found)),
        look=analysis.look,
        epoch=analysis.epoch,
        methods=[
            pb.MethodNote(
                method=each.method, formula=each.formula, assumptions=each.assumptions, reference=each.reference
            )
            for each in notes
        ],
    )


def recommendation_message(analysis: Analysis, *, explained: bool = True) -> pb.GetRecommendationResponse:
    """Return the message of a recommendation and the analysis it rests on."""
    decision = analysis.verdict.decision
    return pb.GetRecommendationResponse(
        recommendation=_RECOMMENDATIONS[decision.recommendation],
        variant=decision.variant,
        reasons=decision.reasons,
        analysis=analysis_message(analysis, explained=explained),
        status=_STATUSES[decision.status],
        confidence=decision.confidence,
        average_improvement=decision.average_improvement,
        remaining_units=decision.remaining_units,
        remaining_us=decision.remaining_us,
        digest=analysis.verdict.digest,
        engine=analysis.verdict.engine,
    )


def page_of_looks(found: Sequence[Analysis], *, bytes_max: int) -> pb.ListLooksResponse:
    """Return the message of as many looks as fit into these bytes, at least one; its token is the caller's to set."""
    page = pb.ListLooksResponse()
    size = 0
    for each in found:
        message = recommendation_message(each, explained=False)
        size += message.ByteSize()
        if page.looks and size > bytes_max:
            break
        page.looks.append(message)
    return page


def size_message(size: Size) -> pb.EstimateSampleSizeResponse:
    """Return the message of a sample size."""
    return pb.EstimateSampleSizeResponse(
        units=size.units,
        remaining_units=size.remaining_units,
        minimum_effect=size.minimum_effect,
        not_enough_data=size.reason,
        variance=size.variance,
    )


def verified_messages(found: Sequence[tuple[Look, Verification]]) -> pb.VerifyExperimentResponse:
    """Return the message of verdicts that were computed again."""
    return pb.VerifyExperimentResponse(
        looks=[
            pb.VerifiedLook(
                look=look.look,
                time_us=look.time_us,
                recommendation=look.recommendation,
                digest=look.digest,
                engine=verified.engine,
                same=verified.same,
                differences=verified.differences,
            )
            for look, verified in found
        ]
    )


def replay_message(metric: Metric, units: int, replay: Replay | NotEnoughData) -> pb.ReplayExperimentResponse:
    """Return the message of an A/A replay."""
    if isinstance(replay, NotEnoughData):
        return pb.ReplayExperimentResponse(metric=metric.metric, units=units, not_enough_data=replay.reason)
    return pb.ReplayExperimentResponse(
        metric=metric.metric,
        units=units,
        replays=replay.replays,
        false_claims=replay.false_claims,
        expected_p_value=replay.expected_p_value,
        uniform_p_value=replay.uniform_p_value,
    )


def _count_message(count: VariantCount) -> pb.VariantCount:
    return pb.VariantCount(
        variant=count.variant,
        units=count.units,
        predictions=count.predictions,
        matured_units=count.matured_units,
        failed_predictions=count.failed_predictions,
        fallback_predictions=count.fallback_predictions,
        lost_predictions=count.lost_predictions,
    )


def _comparison_message(comparison: Comparison, judged: Judgement) -> pb.Comparison:
    message = pb.Comparison(
        metric=comparison.metric,
        variant=comparison.variant,
        finding=FINDINGS[judged.verdict],
        adjusted_p_value=judged.p_value,
    )
    if isinstance(comparison.result, NotEnoughData):
        message.not_enough_data = comparison.result.reason
    else:
        message.estimate.CopyFrom(estimate_message(comparison.result))
    return message


def estimate_message(estimate: Estimate) -> pb.Estimate:
    """Return the message of an estimate."""
    return pb.Estimate(
        control_mean=estimate.control_mean,
        treatment_mean=estimate.treatment_mean,
        difference=estimate.difference,
        lower=estimate.lower,
        upper=estimate.upper,
        confidence=estimate.confidence,
        p_value=estimate.p_value,
        control_units=estimate.control_units,
        treatment_units=estimate.treatment_units,
        method=estimate.method,
        degrees_of_freedom=estimate.degrees_of_freedom,
        standard_error=estimate.standard_error,
        relative=_relative_message(estimate.relative),
        posterior=_posterior_message(estimate.posterior),
        shrunk_difference=estimate.shrunk,
        variance_kept=estimate.variance_kept,
    )


def _relative_message(relative: Relative | NotEnoughData) -> pb.RelativeLift:
    if isinstance(relative, NotEnoughData):
        return pb.RelativeLift(not_enough_data=relative.reason)
    return pb.RelativeLift(lift=relative.lift, lower=relative.lower, upper=relative.upper)


def _posterior_message(posterior: Posterior | NotEnoughData) -> pb.Posterior:
    if isinstance(posterior, NotEnoughData):
        return pb.Posterior(not_enough_data=posterior.reason)
    return pb.Posterior(
        mean=posterior.mean,
        deviation=posterior.deviation,
        lower=posterior.lower,
        upper=posterior.upper,
        chance_to_win=posterior.chance_to_win,
        expected_loss=posterior.expected_loss,
        prior_deviation=posterior.prior_deviation,
    )


def _ratio_message(ratio: SampleRatioCheck | NotEnoughData) -> pb.SampleRatio:
    if isinstance(ratio, NotEnoughData):
        return pb.SampleRatio(not_enough_data=ratio.reason)
    return pb.SampleRatio(
        check=pb.SampleRatioCheck(
            chi_square=ratio.chi_square,
            p_value=ratio.p_value,
            mismatch=ratio.mismatch,
            degrees_of_freedom=ratio.degrees_of_freedom,
            sequential_p_value=ratio.sequential_p_value,
        )
    )


def _balance_message(check: BalanceCheck) -> pb.Balance:
    return pb.Balance(
        what=check.what,
        variant=check.variant,
        control_mean=check.control_mean,
        treatment_mean=check.treatment_mean,
        p_value=check.p_value,
        imbalance=check.imbalance,
        not_enough_data=check.reason,
    )


def _maturity_messages(analysis: Analysis, found: Conclusions) -> Iterator[pb.Maturity]:
    uneven = {(each.metric, each.variant) for each in found.missingness if each.uneven}
    for metric, evidence in zip(analysis.experiment.metrics, analysis.evidence.metrics, strict=True):
        for variant, each in sorted(evidence.maturity.items()):
            yield pb.Maturity(
                metric=metric.metric,
                variant=variant,
                matured_units=each.matured,
                pending_units=each.pending,
                missing_units=each.missing,
                uneven=(metric.metric, variant) in uneven,
            )
