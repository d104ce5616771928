"""What a comparison or a check can come to. There is no default finding: what cannot be said is said to be so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NotEnoughData:
    """Nothing can be claimed, and why, as a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """A difference of means with its uncertainty.

    Parameters
    ----------
    control_mean, treatment_mean, difference
        The means and treatment minus control; over several epochs, their weighted averages.
    lower, upper, confidence
        The confidence interval of the difference, and its confidence, for example 0.95.
    p_value
        Two-sided, of no difference.
    degrees_of_freedom
        Of the t distribution that both rest on.
    control_units, treatment_units
        How many units each mean rests on.
    method
        `welch`, or `welch_stratified` over several epochs.
    """

    control_mean: float
    treatment_mean: float
    difference: float
    lower: float
    upper: float
    confidence: float
    p_value: float
    degrees_of_freedom: float
    control_units: int
    treatment_units: int
    method: str


@dataclass(frozen=True, slots=True)
class SampleRatioCheck:
    """A chi-square test of the counts against the split.

    Parameters
    ----------
    chi_square, p_value, degrees_of_freedom
        The statistic and its tail.
    mismatch
        Whether the counts are not those of the split: p below 0.001.
    """

    chi_square: float
    p_value: float
    degrees_of_freedom: int
    mismatch: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of one treatment against the control."""

    metric: str
    variant: str
    result: Estimate | NotEnoughData
