"""Both versions on the same inputs: what a shadow gives, and what needs far fewer units than a split does."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from experiments.analysis.bayes import posterior
from experiments.analysis.findings import Contrast, Estimate, NotEnoughData
from experiments.analysis.relative import relative_lift
from experiments.analysis.sequence import sequence_interval
from experiments.analysis.shrinkage import shrink
from experiments.analysis.welch import UNITS_MIN, estimate, fixed_interval
from experiments.lazy_scipy import special

if TYPE_CHECKING:
    from experiments.analysis.joint import JointMoments
    from experiments.analysis.moments import Moments


@dataclass(frozen=True, slots=True)
class Disagreement:
    """What two versions made of the same labels.

    Parameters
    ----------
    control_only, treatment_only
        The units that one of them had right and the other wrong, or of whose pairs it had more right than the other.
    p_value
        Exact and two-sided, of the two being right equally often.
    """

    control_only: int
    treatment_only: int
    p_value: float


def compare_paired(
    joint: JointMoments, *, alpha: float, tuned_units: int | None = None, more_is_better: bool = True
) -> Estimate | NotEnoughData:
    r"""Return treatment minus control over units that both have values for, or why there is none.

    Parameters
    ----------
    joint
        Of the control's value and the treatment's value of a unit; where units have several pairs, of the sums of both
        and the number of pairs.
    tuned_units
        Where the confidence sequence is narrowest; None: one look, by the paired t-test.
    more_is_better
        Which way the posterior's chance to win looks.

    Notes
    -----
    The differences :math:`d_i = t_i - c_i` are one sample: :math:`\bar d \pm t_{n-1} s_d/\sqrt n`, or the confidence
    sequence on them, in which N is the number of units. Against a split of as many units the variance falls by
    :math:`2/(1 - r)`, r being the correlation of the two. Several pairs of a unit are one observation: with the pairs
    :math:`m_i` the difference is :math:`\sum d_i / \sum m_i`, by the delta method.

    Assumptions: units are independent; what is measured does not depend on which of the two answers was used.

    References
    ----------
    "Student", *The Probable Error of a Mean*, Biometrika 6 (1908).
    """
    if joint.n < UNITS_MIN:
        return NotEnoughData(f"there are {joint.n} units with pairs; {UNITS_MIN} are the fewest that have a variance")
    found = _contrast(joint, "paired" if tuned_units is None else "paired_sequence")
    if isinstance(found, NotEnoughData):
        return found
    if tuned_units is None:
        interval = fixed_interval(found, alpha=alpha)
    else:
        # A unit is one observation: both arms together are twice as many units as there are.
        interval = sequence_interval(found, alpha=alpha, tuned_units=2 * tuned_units)
    return replace(
        estimate(found, interval, alpha),
        relative=relative_lift(found, interval),
        posterior=posterior(found, alpha=alpha, more_is_better=more_is_better),
        shrunk=shrink(found.difference, error=found.standard_error, critical=interval.critical),
    )


def _contrast(joint: JointMoments, estimator: str) -> Contrast | NotEnoughData:
    """Return the difference of the means with the variances, or why there is none."""
    pairs = joint.means[2] if len(joint.means) > 2 else 1.0  # noqa: PLR2004  (control, treatment, pairs)
    if not math.isfinite(sum(joint.means)) or not pairs > 0:
        return NotEnoughData("the values are so large that their mean or their spread is no finite number")
    control, treatment = joint.means[0] / pairs, joint.means[1] / pairs
    many = len(joint.means) > 2  # noqa: PLR2004  (as above)

    def linearised(*slopes: float, value: float) -> Moments:
        steps = [slope / pairs for slope in slopes]
        return joint.project([*steps, -value / pairs] if many else steps, value)

    apart = linearised(-1.0, 1.0, value=treatment - control)
    one, other = linearised(1.0, 0.0, value=control), linearised(0.0, 1.0, value=treatment)
    each = joint.n * (joint.n - 1)
    if not all(math.isfinite(arm.m2) and arm.m2 < 1e150 for arm in (apart, one, other)):  # noqa: PLR2004  (as welch)
        return NotEnoughData("the values are so large that their mean or their spread is no finite number")
    scale = 1e-13 * max(abs(control), abs(treatment))
    if not apart.m2 / joint.n > scale * scale or apart.m2 / each <= 0:
        return NotEnoughData("every pair differs by the same, so there is no spread to judge by")
    return Contrast(
        control_mean=control,
        treatment_mean=treatment,
        difference=apart.mean,
        control_variance=one.m2 / each,
        treatment_variance=other.m2 / each,
        variance=apart.m2 / each,
        degrees_of_freedom=joint.n - 1.0,
        control_units=joint.n,
        treatment_units=joint.n,
        estimator=estimator,
    )


def mcnemar(*, control_only: int, treatment_only: int) -> Disagreement | NotEnoughData:
    r"""Return whether two versions have the labels right equally often, or why that cannot be told.

    Notes
    -----
    Units on which both are right or both are wrong say nothing. Of the n others, those that the treatment alone has
    right are binomial with one half: :math:`p = \min(1, 2 P(X \le \min(b, c)))`, exactly. A unit of several pairs
    counts once, for the version that has more of them right: the sign test, exact when the versions can be exchanged.
    It is for one look; who looks again takes the sequence on the differences.

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
