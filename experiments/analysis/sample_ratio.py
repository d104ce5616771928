"""Whether units arrived as the split says: a mismatch means that the data cannot be trusted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy import special

from experiments.analysis.findings import NotEnoughData, SampleRatioCheck

if TYPE_CHECKING:
    from collections.abc import Sequence

MISMATCH_BELOW = 0.001
EXPECTED_MIN = 5


def check_ratio(
    observed: Sequence[Sequence[int]], propensities: Sequence[Sequence[float]]
) -> SampleRatioCheck | NotEnoughData:
    r"""Return whether the counts are those of the split, or why that cannot be told.

    Parameters
    ----------
    observed
        For each epoch, the units of each variant; every unit once, in the epoch that it was first seen in, so that
        the epochs are independent.
    propensities
        For each epoch, the probability of each variant; they sum to 1.

    Notes
    -----
    :math:`\chi^2 = \sum_e \sum_k (o_{ek} - n_e p_{ek})^2 / (n_e p_{ek})`, with one degree of freedom less in each
    epoch than it has variants *with a share above zero*: a variant without a share is no cell, and counting it would
    hide mismatches. A unit in such a variant is a mismatch by itself. An epoch in which a cell is expected to have
    fewer than five units (Cochran's rule) is left out.

    References
    ----------
    A. Fabijan et al., *Diagnosing Sample Ratio Mismatch in Online Controlled Experiments*, KDD 2019 (p < 0.001).
    """
    statistic, freedom = 0.0, 0
    for counts, chances in zip(observed, propensities, strict=True):
        total = sum(counts)
        if any(count > 0 and chance <= 0 for count, chance in zip(counts, chances, strict=True)):
            return SampleRatioCheck(chi_square=math.inf, p_value=0.0, degrees_of_freedom=1, mismatch=True)
        cells = [(count, total * chance) for count, chance in zip(counts, chances, strict=True) if chance > 0]
        if len(cells) < 2 or min(expected for _, expected in cells) < EXPECTED_MIN:  # noqa: PLR2004  (one cell is no split)
            continue
        statistic += math.fsum((count - expected) ** 2 / expected for count, expected in cells)
        freedom += len(cells) - 1
    if freedom == 0:
        return NotEnoughData(
            f"no split has been in force for long enough: each variant needs {EXPECTED_MIN} expected units"
        )
    p_value = float(special.chdtrc(freedom, statistic))
    return SampleRatioCheck(
        chi_square=statistic, p_value=p_value, degrees_of_freedom=freedom, mismatch=p_value < MISMATCH_BELOW
    )
