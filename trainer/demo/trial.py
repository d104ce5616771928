"""The experiment of the demo: version 1 against version 2 by the Brier score of their probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainer.demo.landings import OUTCOME
from trainer.demo.sender import MODEL
from turnout import resources
from turnout.experiments.v1 import experiment_service_pb2 as pb

if TYPE_CHECKING:
    from turnout.control import Control

EXPERIMENT = "v1-against-v2"
CONTROL_VARIANT = "control"
TREATMENT = "treatment"
METRIC = "brier"
_NAME = resources.experiment_name(EXPERIMENT)
_PREFIX = "RECOMMENDATION_"


@dataclass(frozen=True, slots=True)
class EffectPoint:
    """What the outcomes say at one moment.

    Attributes
    ----------
    now_us
        The moment, by the gateway's clock.
    difference, lower, upper
        Version 2's Brier score minus version 1's, with its confidence interval; less than 0 is better.
    p_value, control_mean, treatment_mean
        The two-sided p-value; the two scores.
    control_units, treatment_units
        The units with an outcome.
    """

    now_us: int
    difference: float
    lower: float
    upper: float
    p_value: float
    control_mean: float
    treatment_mean: float
    control_units: int
    treatment_units: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gateway recommends.

    Attributes
    ----------
    recommendation
        `ship`, `keep`, `continue` or `investigate`.
    variant
        The variant to ship; empty otherwise.
    reasons
        Why, a sentence each.
    """

    recommendation: str
    variant: str
    reasons: tuple[str, ...]


def start(control: Control, *, first: int, second: int) -> int:
    """Create and start the experiment, and return the revision that holds it, or raise TurnoutError."""
    definition = pb.Experiment(
        model=resources.model_name(MODEL),
        description="Does gradient boosting on all features predict late arrivals better than the small model?",
        owner="demo",
        coverage=1.0,
        variants=[
            pb.Variant(variant=CONTROL_VARIANT, version=first, share=0.5, control=True),
            pb.Variant(variant=TREATMENT, version=second, share=0.5),
        ],
        metrics=[
            pb.Metric(
                metric=METRIC,
                kind=pb.METRIC_KIND_SQUARED_ERROR,
                outcome=OUTCOME,
                output="probabilities",
                output_index=1,
                direction=pb.DIRECTION_DECREASE,
                role=pb.METRIC_ROLE_SUCCESS,
            )
        ],
    )
    control.experiments.CreateExperiment(pb.CreateExperimentRequest(experiment_id=EXPERIMENT, experiment=definition))
    return control.experiments.StartExperiment(pb.StartExperimentRequest(name=_NAME)).revision


def analyze(control: Control) -> pb.AnalyzeExperimentResponse:
    """Return what the outcomes so far say."""
    return control.experiments.AnalyzeExperiment(pb.AnalyzeExperimentRequest(name=_NAME))


def effect(analysis: pb.AnalyzeExperimentResponse) -> EffectPoint | None:
    """Return the effect that an analysis found, or None where it says that there is not enough data."""
    for comparison in analysis.comparisons:
        if comparison.metric == METRIC and comparison.HasField("estimate"):
            estimate = comparison.estimate
            return EffectPoint(
                now_us=analysis.time_us,
                difference=estimate.difference,
                lower=estimate.lower,
                upper=estimate.upper,
                p_value=estimate.p_value,
                control_mean=estimate.control_mean,
                treatment_mean=estimate.treatment_mean,
                control_units=estimate.control_units,
                treatment_units=estimate.treatment_units,
            )
    return None


def decide(control: Control) -> Decision:
    """Return what the gateway recommends on the outcomes so far."""
    said = control.experiments.GetRecommendation(pb.GetRecommendationRequest(name=_NAME))
    word = pb.Recommendation.Name(said.recommendation).removeprefix(_PREFIX).lower()
    return Decision(word, said.variant, tuple(said.reasons))


def conclude(control: Control, *, winner: str, reason: str) -> int:
    """End the experiment, make the winner the champion, and return the revision that holds both."""
    request = pb.ConcludeExperimentRequest(name=_NAME, winner=winner, promote=bool(winner), reason=reason)
    return control.experiments.ConcludeExperiment(request).revision


def document(analysis: pb.AnalyzeExperimentResponse, point: EffectPoint | None, decision: Decision) -> dict[str, Any]:
    """Return the experiment as JSON knows it."""
    return {
        "name": analysis.name,
        "metric": METRIC,
        "variants": [
            {
                "variant": count.variant,
                "units": count.units,
                "matured_units": count.matured_units,
                "predictions": count.predictions,
                "failed_predictions": count.failed_predictions,
                "fallback_predictions": count.fallback_predictions,
            }
            for count in analysis.counts
        ],
        "sample_ratio": _sample_ratio(analysis.sample_ratio),
        "effect": None
        if point is None
        else {
            "difference": point.difference,
            "lower": point.lower,
            "upper": point.upper,
            "p_value": point.p_value,
            "control_mean": point.control_mean,
            "treatment_mean": point.treatment_mean,
        },
        "reasons": list(decision.reasons),
    }


def _sample_ratio(ratio: pb.SampleRatio) -> dict[str, Any]:
    """Return the check of the split as JSON knows it."""
    if not ratio.HasField("check"):
        return {"not_enough_data": ratio.not_enough_data}
    return {"p_value": ratio.check.p_value, "mismatch": ratio.check.mismatch}
