"""Both versions on the same inputs: what a shadow gives, and what needs far fewer units than a split does."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scipy import special

from experiments.analysis.findings import Contrast, Estimate, NotEnoughData
from experiments.analysis.sequence import sequence_interval
from experiments.analysis.welch import UNITS_MIN, estimate, fixed_interval

if TYPE_CHECKING:
    from experiments.analysis.joint import JointMoments


@dataclass(frozen=True, slots=True)
class Disagreement:
    """What two versions made of the same labels.

    Parameters
    ----------
    control_only, treatment_only
        The units that one of them had right and the other wrong.
    p_value
        Exact and two-sided, of the two being right equally often.
    """

    control_only: int
    treatment_only: int
    p_value: float


def compare_paired(joint: JointMoments, *, alpha: float, tuned_units: int | None = None) -> Estimate | NotEnoughData:
    r"""Return treatment minus control over units that both have a value for, or why there is none.

    Parameters
    ----------
    joint
        Of the control's value and the treatment's value of a unit.
    tuned_units
        Where the confidence sequence is narrowest; None: one look, by the paired t-test.

    Notes
    -----
    The differences :math:`d_i = t_i - c_i` are one sample: :math:`\bar d \pm t_{n-1} s_d/\sqrt n`, or the confidence
    sequence on them, in which N is the number of pairs. Against a split of as many units the variance falls by
    :math:`2/(1 - r)`, r being the correlation of the two.

    Assumptions: what is measured does not depend on which of the two answers was used.

    References
    ----------
    "Student", *The Probable Error of a Mean*, Biometrika 6 (1908).
    """
    if joint.n < UNITS_MIN:
        return NotEnoughData(f"there are {joint.n} pairs; {UNITS_MIN} are the fewest that have a variance")
    control, treatment = joint.means
    apart = joint.project((-1.0, 1.0), treatment - control)
    each = joint.n * (joint.n - 1)
    if not (math.isfinite(apart.mean) and math.isfinite(apart.m2) and apart.m2 < 1e150):  # noqa: PLR2004  (as welch)
        return NotEnoughData("the values are so large that their mean or their spread is no finite number")
    scale = 1e-13 * max(abs(control), abs(treatment))
    if not apart.m2 / joint.n > scale * scale or apart.m2 / each <= 0:
        return NotEnoughData("every pair differs by the same, so there is no spread to judge by")
    found = Contrast(
        control_mean=control,
        treatment_mean=treatment,
        difference=apart.mean,
        control_variance=joint.products[0][0] / each,
        treatment_variance=joint.products[1][1] / each,
        variance=apart.m2 / each,
        degrees_of_freedom=joint.n - 1.0,
        control_units=joint.n,
        treatment_units=joint.n,
        estimator="paired" if tuned_units is None else "paired_sequence",
    )
    if tuned_units is None:
        return estimate(found, fixed_interval(found, alpha=alpha), alpha)
    # A pair is one observation: both arms together are twice as many units as there are pairs.
    return estimate(found, sequence_interval(found, alpha=alpha, tuned_units=2 * tuned_units), alpha)


def mcnemar(*, control_only: int, treatment_only: int) -> Disagreement | NotEnoughData:
    r"""Return whether two versions have the labels right equally often, or why that cannot be told.

    Notes
    -----
    Units on which both are right or both are wrong say nothing. Of the n others, those that the treatment alone has
    right are binomial with one half: :math:`p = \min(1, 2 P(X \le \min(b, c)))`, exactly.

    References
    ----------
    Q. McNemar, *Note on the sampling error of the difference between correlated proportions or percentages*,
    Psychometrika 12 (1947).
    """
    total = control_only + treatment_only
    if total == 0:
        return NotEnoughData("the two versions were right and wrong on the same units, so that none speaks for either")
    p_value = min(1.0, 2 * float(special.bdtr(min(control_only, treatment_only), total, 0.5)))
    return Disagreement(control_only, treatment_only, p_value)
