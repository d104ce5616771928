"""What a comparison or a check can come to. There is no default finding: what cannot be said is said to be so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NotEnoughData:
    """Nothing can be claimed, and why, as a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Contrast:
    """Treatment minus control with the variances of both, before anything is claimed.

    Parameters
    ----------
    control_mean, treatment_mean, difference
        The means and treatment minus control; over several epochs, their weighted averages.
    control_variance, treatment_variance
        Of the two means, not of the units.
    variance
        Of the difference; more or less than the sum of the two where the arms share units.
    degrees_of_freedom
        Satterthwaite's.
    control_units, treatment_units
        How many units each mean rests on.
    estimator
        What the means are, for example `welch` or `welch_stratified`.
    """

    control_mean: float
    treatment_mean: float
    difference: float
    control_variance: float
    treatment_variance: float
    variance: float
    degrees_of_freedom: float
    control_units: int
    treatment_units: int
    estimator: str

    @property
    def standard_error(self) -> float:
        """Of the difference."""
        return float(self.variance**0.5)

    @property
    def units(self) -> int:
        """The units of both arms."""
        return self.control_units + self.treatment_units


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval of a difference, and the p-value that goes with it.

    Parameters
    ----------
    lower, upper
        Its ends.
    p_value
        Two-sided, of no difference; at most alpha exactly when the interval leaves out zero.
    critical
        How many standard errors it reaches to each side.
    """

    lower: float
    upper: float
    p_value: float
    critical: float


@dataclass(frozen=True, slots=True)
class Relative:
    """The difference as a part of the control's mean: 0.02 is two percent more.

    Parameters
    ----------
    lift, lower, upper
        The estimate and its interval, which leaves out zero exactly when that of the difference does.
    """

    lift: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Posterior:
    """What a normal prior around no difference becomes by the data.

    Parameters
    ----------
    prior_deviation
        The prior's standard deviation, in the metric's unit; its mean is 0.
    mean, deviation, lower, upper
        Of the difference: the posterior and its credible interval.
    chance_to_win
        The probability that the treatment is better, in the metric's direction.
    expected_loss
        What is lost on average by taking the treatment, in the metric's unit: 0 where it is better for sure.
    """

    prior_deviation: float
    mean: float
    deviation: float
    lower: float
    upper: float
    chance_to_win: float
    expected_loss: float


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
        Of the t distribution that both rest on, or would at a fixed horizon.
    control_units, treatment_units
        How many units each mean rests on.
    method
        The estimator, and how it was looked at: `welch`, `welch_stratified_sequence`.
    standard_error
        Of the difference.
    critical
        How many standard errors the interval reaches to each side.
    relative, posterior
        The same in parts of the control's mean, and as a posterior; or why not.
    shrunk
        The difference without the winner's curse: what it is likely to be, given that it was picked for being far out.
    variance_kept
        What the covariate left of the variance: 1 without a covariate.
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
    standard_error: float = 0.0
    critical: float = 0.0
    relative: Relative | NotEnoughData = NotEnoughData("it was not asked for")
    posterior: Posterior | NotEnoughData = NotEnoughData("it was not asked for")
    shrunk: float = 0.0
    variance_kept: float = 1.0


@dataclass(frozen=True, slots=True)
class SampleRatioCheck:
    """A test of the counts against the split.

    Parameters
    ----------
    chi_square, p_value, degrees_of_freedom
        The statistic and its tail, for one look.
    mismatch
        Whether the counts are not those of the split.
    sequential_p_value
        Good for any number of looks.
    """

    chi_square: float
    p_value: float
    degrees_of_freedom: int
    mismatch: bool
    sequential_p_value: float = 1.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of one treatment against the control.

    Parameters
    ----------
    result
        What may be claimed.
    contrast
        What is there, whether or not anything may be claimed of it now; None when there is nothing.
    """

    metric: str
    variant: str
    result: Estimate | NotEnoughData
    contrast: Contrast | None = None
