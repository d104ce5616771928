"""The difference as a posterior, for those who ask how likely it is that the treatment is better."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from experiments.analysis.findings import NotEnoughData, Posterior
from experiments.lazy_scipy import special

if TYPE_CHECKING:
    from experiments.analysis.findings import Contrast

PRIOR_LIFT = 0.3


def posterior(
    found: Contrast, *, alpha: float, more_is_better: bool, prior_lift: float = PRIOR_LIFT
) -> Posterior | NotEnoughData:
    r"""Return the posterior of the difference, or why there is none.

    Parameters
    ----------
    alpha
        One minus the credibility of the interval.
    prior_lift
        The standard deviation of the prior, as a part of the control's mean: 0.3 says that differences beyond 60 % are
        seldom. The prior is proper, so that a handful of units cannot be sure of anything.

    Notes
    -----
    With the prior :math:`N(0, \tau^2)` and the difference :math:`d \sim N(\delta, V)`, the posterior is normal with the
    precision :math:`1/V + 1/\tau^2` and the mean :math:`d\,\tau^2/(\tau^2 + V)`. With g the posterior mean of the gain
    and s its deviation, the chance to win is :math:`\Phi(g/s)` and the expected loss of taking the treatment
    :math:`E[\max(0, -G)] = s\,\varphi(g/s) - g\,\Phi(-g/s)`.

    A posterior says nothing about how often one is wrong when one stops at will; the confidence sequence does.

    References
    ----------
    C. Stucchio, *Bayesian A/B Testing at VWO* (2015), for the expected loss. A. Gelman et al., *Bayesian Data
    Analysis*, section 2.5, for the normal model.
    """
    prior = prior_lift * abs(found.control_mean)
    if not (math.isfinite(prior) and prior > 0):
        return NotEnoughData("the control's mean is 0, so that a prior in parts of it says nothing")
    kept = prior * prior / (prior * prior + found.variance)
    mean, deviation = kept * found.difference, math.sqrt(kept * found.variance)
    if not deviation > 0:
        return NotEnoughData("the control's mean is so near to 0 that a prior in parts of it leaves nothing open")
    half = -float(special.ndtri(alpha / 2)) * deviation
    gain = (mean if more_is_better else -mean) / deviation
    density = math.exp(-0.5 * gain * gain) / math.sqrt(2 * math.pi)
    loss = deviation * (density - gain * float(special.ndtr(-gain)))
    return Posterior(
        prior_deviation=prior,
        mean=mean,
        deviation=deviation,
        lower=mean - half,
        upper=mean + half,
        chance_to_win=float(special.ndtr(gain)),
        expected_loss=max(0.0, loss),
    )
