"""Welch's test of two means, over one epoch or stratified over several."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.analysis.findings import Contrast, Estimate, Interval, NotEnoughData
from experiments.lazy_scipy import special

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from experiments.analysis.moments import Moments

UNITS_MIN = 2
# Deviations this small against the mean are those of rounding, not of the units.
_ROUNDING = 1e-13


@dataclass(frozen=True, slots=True)
class Stratum:
    """The two arms of one epoch.

    Parameters
    ----------
    between
        What is to be added to the variance of the difference for a mix of strata that is itself a sample.
    """

    control: Moments
    treatment: Moments
    between: float = 0.0


def contrast(
    strata: Sequence[Stratum],
    *,
    covariances: Mapping[tuple[int, int], float] | None = None,
    estimator: str = "welch",
) -> Contrast | NotEnoughData:
    r"""Return treatment minus control with its variance, or why there is none.

    Parameters
    ----------
    strata
        One for each epoch. Units are compared within their epoch only: when shares and the level of the metric both
        change, the pooled means differ without any effect. Epochs with fewer than two units in an arm say nothing.
    covariances
        The covariance of the differences of two epochs, by their positions (lower first), where the same units were
        seen in both; absent means none.
    estimator
        The name of what the moments are of; `_stratified` is put behind it over several usable strata.

    Notes
    -----
    Per epoch *e*: :math:`d_e = \bar t_e - \bar c_e`, :math:`V_e = s_{t,e}^2/n_{t,e} + s_{c,e}^2/n_{c,e}`.
    Weights :math:`a_e \propto 1/(s_t^2/n_{t,e} + s_c^2/n_{c,e})`, the inverse variance under the arms' variances
    pooled within epochs: an epoch of few units that happen to agree cannot take all the weight, as it would with
    :math:`1/V_e`. Then :math:`d = \sum a_e d_e`, :math:`V = \sum a_e^2 V_e + 2 \sum_{e<f} a_e a_f C_{ef}`, and
    Satterthwaite's degrees of freedom
    :math:`(\sum_k v_k)^2 / \sum_k v_k^2/(n_k - 1)` over the parts :math:`v_k = a_e^2 s_k^2/n_k`. One epoch is
    Welch's test exactly.

    References
    ----------
    B. L. Welch, *The generalization of "Student's" problem when several different population variances are involved*,
    Biometrika 34 (1947). F. E. Satterthwaite, *An approximate distribution of estimates of variance components*,
    Biometrics Bulletin 2 (1946).
    """
    usable = [i for i, each in enumerate(strata) if min(each.control.n, each.treatment.n) >= UNITS_MIN]
    if not usable:
        return NotEnoughData(f"no epoch has {UNITS_MIN} units in both arms, the fewest that have a variance")
    kept = [strata[i] for i in usable]
    if not all(_finite(arm) for each in kept for arm in (each.control, each.treatment)):
        return NotEnoughData("the values are so large that their mean or their spread is no finite number")
    weights = _weights(kept)
    if weights is None:
        return NotEnoughData("no unit differs from another in either arm, so there is no spread to judge by")
    share = dict(zip(usable, weights, strict=True))
    control = [share[i] ** 2 * strata[i].control.variance / strata[i].control.n for i in usable]
    treatment = [share[i] ** 2 * strata[i].treatment.variance / strata[i].treatment.n for i in usable]
    below = [strata[i].control.n - 1 for i in usable] + [strata[i].treatment.n - 1 for i in usable]
    independent = math.fsum(control + treatment)
    together = math.fsum(
        2 * share[i] * share[j] * value for (i, j), value in (covariances or {}).items() if {i, j} <= share.keys()
    )
    variance = independent + together + math.fsum(share[i] ** 2 * strata[i].between for i in usable)
    squares = math.fsum(part**2 / freedom for part, freedom in zip(control + treatment, below, strict=True))
    if not (variance > 0 and squares > 0):
        return NotEnoughData("the spread within the arms is too small to be told from rounding")
    return Contrast(
        control_mean=math.fsum(share[i] * strata[i].control.mean for i in usable),
        treatment_mean=math.fsum(share[i] * strata[i].treatment.mean for i in usable),
        difference=math.fsum(share[i] * (strata[i].treatment.mean - strata[i].control.mean) for i in usable),
        control_variance=math.fsum(control),
        treatment_variance=math.fsum(treatment),
        variance=variance,
        degrees_of_freedom=independent**2 / squares,
        control_units=sum(strata[i].control.n for i in usable),
        treatment_units=sum(strata[i].treatment.n for i in usable),
        estimator=estimator if len(usable) == 1 else f"{estimator}_stratified",
    )


def fixed_interval(found: Contrast, *, alpha: float) -> Interval:
    r"""Return the interval and p-value for a look at one time that was set beforehand.

    Notes
    -----
    :math:`d \pm t_{1-\alpha/2} \sqrt V`. The tail comes from the distribution function at :math:`-|t|`, never from one
    minus it. Looking again and again and stopping at the first p below alpha is wrong more often than alpha says.
    """
    error = found.standard_error
    critical = -float(special.stdtrit(found.degrees_of_freedom, alpha / 2))
    p_value = min(1.0, 2 * float(special.stdtr(found.degrees_of_freedom, -abs(found.difference) / error)))
    half = critical * error
    return Interval(found.difference - half, found.difference + half, p_value, critical)


def compare(
    strata: Sequence[Stratum],
    *,
    alpha: float,
    covariances: Mapping[tuple[int, int], float] | None = None,
) -> Estimate | NotEnoughData:
    """Return treatment minus control at a fixed horizon, or why there is none: `contrast`, then `fixed_interval`."""
    found = contrast(strata, covariances=covariances)
    return found if isinstance(found, NotEnoughData) else estimate(found, fixed_interval(found, alpha=alpha), alpha)


def estimate(found: Contrast, interval: Interval, alpha: float) -> Estimate:
    """Return a contrast and its interval as one finding."""
    return Estimate(
        control_mean=found.control_mean,
        treatment_mean=found.treatment_mean,
        difference=found.difference,
        lower=interval.lower,
        upper=interval.upper,
        confidence=1 - alpha,
        p_value=interval.p_value,
        degrees_of_freedom=found.degrees_of_freedom,
        control_units=found.control_units,
        treatment_units=found.treatment_units,
        method=found.estimator,
        standard_error=found.standard_error,
        critical=interval.critical,
    )


def _finite(arm: Moments) -> bool:
    """Whether the moments, and the square of the variance of their mean, are finite numbers."""
    if not (math.isfinite(arm.mean) and math.isfinite(arm.m2)):
        return False
    return abs(arm.mean) < 1e150 and arm.m2 < 1e150  # noqa: PLR2004  (beyond it a square no longer fits)


def _weights(strata: Sequence[Stratum]) -> list[float] | None:
    """Return the weight of each stratum, summing to 1; None when nothing varies within the arms."""
    control = _pooled_variance([each.control for each in strata])
    treatment = _pooled_variance([each.treatment for each in strata])
    scale = max(max(abs(each.control.mean), abs(each.treatment.mean)) for each in strata)
    if not control + treatment > (_ROUNDING * scale) ** 2:
        return None
    raw = [1 / (control / each.control.n + treatment / each.treatment.n) for each in strata]
    return [weight / math.fsum(raw) for weight in raw]


def _pooled_variance(arms: Sequence[Moments]) -> float:
    return math.fsum(arm.m2 for arm in arms) / sum(arm.n - 1 for arm in arms)
