"""CUPED: what was known of a unit before the experiment touched it takes noise off its outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from experiments.analysis.findings import NotEnoughData
from experiments.analysis.ratio import gradient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from experiments.analysis.joint import JointMoments

# Directions of the covariates that vary less than this against the greatest say nothing.
_RANK = 1e-10


def coefficients(arms: Sequence[JointMoments]) -> tuple[float, ...]:
    r"""Return the coefficients of the covariates that take most variance off, the same for all arms.

    Parameters
    ----------
    arms
        Of the numerator, the denominator and the covariates: every arm and epoch that is compared.

    Notes
    -----
    :math:`\theta = \Sigma_{xx}^{-1} \Sigma_{xz}`, with the sums of products pooled *within* the arms, where z is the
    linearised unit: :math:`N_i` itself when every denominator is 1. The estimate becomes
    :math:`\bar z - \theta'(\bar x - c)` and its variance falls to :math:`(1 - R^2)` of what it was, R² being what a
    linear regression of z on x explains. The covariate must not be touched by the treatment: a unit's values before
    the experiment, an attribute of the call, or the control version's own prediction for the same inputs. Where a unit
    has none, it is 0 and a second covariate says so.

    Estimating θ costs an amount of bias of order 1/n. A covariate that does not vary has the coefficient 0.

    References
    ----------
    A. Deng, Y. Xu, R. Kohavi, T. Walker, *Improving the Sensitivity of Online Controlled Experiments by Utilizing
    Pre-Experiment Data*, WSDM 2013.
    """
    count = max((len(each.means) for each in arms), default=2) - 2
    if count <= 0:
        return ()
    own = np.zeros((count, count))
    across = np.zeros(count)
    for each in arms:
        if each.n == 0:
            continue
        slopes = gradient(each)
        if isinstance(slopes, NotEnoughData):
            continue
        with np.errstate(all="ignore"):
            products = each.matrix()
            own += products[2:, 2:]
            across += products[2:, :2] @ np.asarray(slopes[:2])
    if not (np.isfinite(own).all() and np.isfinite(across).all()):
        return (0.0,) * count
    scale = np.sqrt(np.diag(own))
    unit = np.where(scale > 0, scale, 1.0)
    solved = np.linalg.pinv(own / np.outer(unit, unit), rcond=_RANK, hermitian=True) @ (across / unit) / unit
    return tuple(float(value) for value in solved)


def centre(arms: Sequence[JointMoments]) -> tuple[float, ...]:
    """Return the covariates' means over all units of the arms."""
    there = [each for each in arms if each.n]
    total = sum(each.n for each in there)
    if not there:
        return ()
    return tuple(
        sum(each.means[position] * each.n for each in there) / total for position in range(2, len(there[0].means))
    )
