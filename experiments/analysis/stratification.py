"""Post-stratification: arms that drew different mixes of strata are compared as if they had drawn the same."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from experiments.analysis.moments import Moments
from experiments.analysis.welch import Stratum

if TYPE_CHECKING:
    from collections.abc import Sequence


def poststratify(cells: Sequence[Stratum]) -> Stratum:
    r"""Return the two arms of one epoch, each reweighted to the strata of both together.

    Parameters
    ----------
    cells
        The arms of each stratum, with at least two units in either arm.

    Notes
    -----
    With :math:`w_k = n_k / n` over both arms, an arm's mean is :math:`\sum w_k \bar y_k` and its variance
    :math:`\sum w_k^2 s_k^2 / n_k`. The mix of strata is a sample as well, which adds
    :math:`\sum w_k (d_k - d)^2 / n` to the variance of the difference. The moments that are returned have that mean and
    that variance over n, so that they go on as those of a plain mean do.

    Assumptions: a unit's stratum is known before it is assigned, or at least not touched by the treatment.

    References
    ----------
    L. W. Miratrix, J. S. Sekhon, B. Yu, *Adjusting treatment effect estimates by post-stratification in randomized
    experiments*, Journal of the Royal Statistical Society B 75 (2013).
    """
    if len(cells) == 1:
        return cells[0]
    total = sum(each.control.n + each.treatment.n for each in cells)
    weights = [(each.control.n + each.treatment.n) / total for each in cells]
    control = _arm([each.control for each in cells], weights)
    treatment = _arm([each.treatment for each in cells], weights)
    difference = treatment.mean - control.mean
    between = math.fsum(
        weight * (each.treatment.mean - each.control.mean - difference) ** 2
        for weight, each in zip(weights, cells, strict=True)
    )
    return Stratum(control, treatment, between / total)


def _arm(strata: Sequence[Moments], weights: Sequence[float]) -> Moments:
    n = sum(each.n for each in strata)
    mean = math.fsum(weight * each.mean for weight, each in zip(weights, strata, strict=True))
    variance = math.fsum(weight * weight * each.variance / each.n for weight, each in zip(weights, strata, strict=True))
    return Moments(n, mean, variance * n * (n - 1))
