"""What an analysis rests on: counts and moments, never rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from experiments.analysis.histogram import Histogram
    from experiments.analysis.joint import JointMoments
    from experiments.analysis.stages import Stage

Cell = tuple[str, int, str]
"""A variant, an epoch and a stratum; the stratum is empty where there are none."""


@dataclass(frozen=True, slots=True)
class VariantCount:
    """How much one variant has.

    Parameters
    ----------
    units
        The units that were assigned, whatever became of their predictions.
    predictions, failed_predictions, fallback_predictions
        Their predictions; those that failed, and those that the control answered for them, which are not compared.
    matured_units
        The units with at least one outcome that is compared.
    lost_predictions
        Predictions that were answered and could not be journalled.
    """

    variant: str
    units: int = 0
    predictions: int = 0
    matured_units: int = 0
    failed_predictions: int = 0
    fallback_predictions: int = 0
    lost_predictions: int = 0


@dataclass(frozen=True, slots=True)
class Maturity:
    """How many units of one variant a metric knows the outcome of.

    Parameters
    ----------
    matured
        They are in the analysis.
    pending
        Nothing has come yet, and it still may.
    missing
        Nothing has come, and the window is over.
    """

    matured: int = 0
    pending: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True)
class MetricEvidence:
    """What the outcomes so far say of one metric, one observation a unit and epoch.

    Parameters
    ----------
    moments
        Of each unit's numerator, denominator and covariates.
    histograms
        Of the units' values, for a quantile.
    units
        By variant: how many units there are, each once however many epochs it was seen in.
    unusable
        By variant: predictions with an outcome for which the metric has no finite value.
    shared
        By two cells of different epochs, the earlier first: the matrix of the sums, over the units in both, of the
        products of their deviations from the means of the cells.
    maturity
        By variant.
    covariate_units
        By variant: how many of the units have the covariate; given for what the control's version foresaw.
    """

    moments: Mapping[Cell, JointMoments] = field(default_factory=dict)
    histograms: Mapping[Cell, Histogram] = field(default_factory=dict)
    units: Mapping[str, int] = field(default_factory=dict)
    unusable: Mapping[str, int] = field(default_factory=dict)
    shared: Mapping[tuple[Cell, Cell], tuple[tuple[float, ...], ...]] = field(default_factory=dict)
    maturity: Mapping[str, Maturity] = field(default_factory=dict)
    covariate_units: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that an analysis rests on.

    Parameters
    ----------
    counts
        In the order of the variants.
    metrics
        In the order of the metrics.
    stages
        For each stage the units of each variant by the epoch that they were first seen in.
    balance
        What the treatment cannot have touched, by its name.
    outcomes_analyzed
        Outcomes joined to any prediction of the model, in the experiment or not.
    elapsed_us
        For how long the experiment has run.
    """

    counts: tuple[VariantCount, ...]
    metrics: tuple[MetricEvidence, ...]
    stages: Mapping[Stage, Mapping[tuple[str, int], int]] = field(default_factory=dict)
    balance: Mapping[str, Mapping[Cell, JointMoments]] = field(default_factory=dict)
    outcomes_analyzed: int = 0
    elapsed_us: int = 0
