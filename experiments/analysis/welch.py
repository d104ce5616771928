"""Welch's test of two means, over one epoch or stratified over several."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy import special

from experiments.analysis.findings import Estimate, NotEnoughData

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from experiments.analysis.moments import Moments

UNITS_MIN = 2


@dataclass(frozen=True, slots=True)
class Stratum:
    """The two arms of one epoch."""

    control: Moments
    treatment: Moments


def compare(
    strata: Sequence[Stratum],
    *,
    alpha: float,
    covariances: Mapping[tuple[int, int], float] | None = None,
) -> Estimate | NotEnoughData:
    r"""Return treatment minus control with its interval and p-value, or why there is none.

    Parameters
    ----------
    strata
        One for each epoch. Units are compared within their epoch only: when shares and the level of the metric both
        change, the pooled means differ without any effect. Epochs with fewer than two units in an arm say nothing.
    alpha
        One minus the confidence of the interval, in (0, 1).
    covariances
        The covariance of the differences of two epochs, by their positions (lower first), where the same units were
        seen in both; absent means none.

    Returns
    -------
    Estimate or NotEnoughData
        `method` is `welch` for one usable stratum, else `welch_stratified`.

    Notes
    -----
    Per epoch *e*: :math:`d_e = \bar t_e - \bar c_e`, :math:`V_e = s_{t,e}^2/n_{t,e} + s_{c,e}^2/n_{c,e}`.
    Weights :math:`a_e \propto 1/(s_t^2/n_{t,e} + s_c^2/n_{c,e})`, the inverse variance under the arms' variances
    pooled within epochs: an epoch of few units that happen to agree cannot take all the weight, as it would with
    :math:`1/V_e`. Then :math:`d = \sum a_e d_e`, :math:`V = \sum a_e^2 V_e + 2 \sum_{e<f} a_e a_f C_{ef}`, and
    Satterthwaite's degrees of freedom
    :math:`(\sum_k v_k)^2 / \sum_k v_k^2/(n_k - 1)` over the parts :math:`v_k = a_e^2 s_k^2/n_k`. One epoch is
    Welch's test exactly. The tail comes from the distribution function at :math:`-|t|`, never from one minus it.

    References
    ----------
    B. L. Welch, *The generalization of "Student's" problem when several different population variances are involved*,
    Biometrika 34 (1947). F. E. Satterthwaite, *An approximate distribution of estimates of variance components*,
    Biometrics Bulletin 2 (1946).
    """
    usable = [i for i, each in enumerate(strata) if min(each.control.n, each.treatment.n) >= UNITS_MIN]
    if not usable:
        return NotEnoughData(f"no epoch has {UNITS_MIN} units in both arms, the fewest that have a variance")
    weights = _weights([strata[i] for i in usable])
    if weights is None:
        return NotEnoughData("no unit differs from another in either arm, so there is no spread to judge by")
    share = dict(zip(usable, weights, strict=True))
    parts = [
        (share[i] ** 2 * arm.variance / arm.n, arm.n - 1)
        for i in usable
        for arm in (strata[i].control, strata[i].treatment)
    ]
    independent = math.fsum(part for part, _ in parts)
    together = math.fsum(
        2 * share[i] * share[j] * value for (i, j), value in (covariances or {}).items() if {i, j} <= share.keys()
    )
    variance = independent + together
    if not variance > 0:
        return NotEnoughData("the spread within the arms is too small to be told from rounding")
    freedom = independent**2 / math.fsum(part**2 / below for part, below in parts)
    control_mean = math.fsum(share[i] * strata[i].control.mean for i in usable)
    treatment_mean = math.fsum(share[i] * strata[i].treatment.mean for i in usable)
    difference = math.fsum(share[i] * (strata[i].treatment.mean - strata[i].control.mean) for i in usable)
    error = math.sqrt(variance)
    half = -float(special.stdtrit(freedom, alpha / 2)) * error
    return Estimate(
        control_mean=control_mean,
        treatment_mean=treatment_mean,
        difference=difference,
        lower=difference - half,
        upper=difference + half,
        confidence=1 - alpha,
        p_value=min(1.0, 2 * float(special.stdtr(freedom, -abs(difference) / error))),
        degrees_of_freedom=freedom,
        control_units=sum(strata[i].control.n for i in usable),
        treatment_units=sum(strata[i].treatment.n for i in usable),
        method="welch" if len(usable) == 1 else "welch_stratified",
    )


def _weights(strata: Sequence[Stratum]) -> list[float] | None:
    """Return the weight of each stratum, summing to 1; None when nothing varies within the arms."""
    control = _pooled_variance([each.control for each in strata])
    treatment = _pooled_variance([each.treatment for each in strata])
    if not control + treatment > 0:
        return None
    raw = [1 / (control / each.control.n + treatment / each.treatment.n) for each in strata]
    return [weight / math.fsum(raw) for weight in raw]


def _pooled_variance(arms: Sequence[Moments]) -> float:
    return math.fsum(arm.m2 for arm in arms) / sum(arm.n - 1 for arm in arms)
