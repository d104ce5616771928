"""Whether units arrived as the split says: a mismatch means that the data cannot be trusted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from experiments.analysis.findings import NotEnoughData, SampleRatioCheck
from experiments.lazy_scipy import special

if TYPE_CHECKING:
    from collections.abc import Sequence

MISMATCH_BELOW = 0.001
EXPECTED_MIN = 5
_CONCENTRATIONS = (10.0, 100.0, 1_000.0, 10_000.0)


def check_ratio(
    observed: Sequence[Sequence[int]], propensities: Sequence[Sequence[float]], *, watched: bool = False
) -> SampleRatioCheck | NotEnoughData:
    r"""Return whether the counts are those of the split, or why that cannot be told.

    Parameters
    ----------
    observed
        For each epoch, the units of each variant; every unit once, in the epoch that it was first seen in, so that
        the epochs are independent.
    propensities
        For each epoch, the probability of each variant; they sum to 1.
    watched
        Whether one looks again and again: then the sequential p-value says whether there is a mismatch.

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
            return SampleRatioCheck(
                chi_square=math.inf, p_value=0.0, degrees_of_freedom=1, mismatch=True, sequential_p_value=0.0
            )
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
    sequential = sequential_p_value(observed, propensities)
    return SampleRatioCheck(
        chi_square=statistic,
        p_value=p_value,
        degrees_of_freedom=freedom,
        mismatch=(sequential if watched else p_value) < MISMATCH_BELOW,
        sequential_p_value=sequential,
    )


def sequential_p_value(observed: Sequence[Sequence[int]], propensities: Sequence[Sequence[float]]) -> float:
    r"""Return a p-value of the split that is good at any number of looks.

    Notes
    -----
    The Bayes factor of a Dirichlet-multinomial around the propensities against the multinomial with them: with
    :math:`\alpha_k = c\,p_k`, its logarithm is
    :math:`\ln B(\alpha + o) - \ln B(\alpha) - \sum o_k \ln p_k`, summed over the epochs. It is a martingale while the
    split is right, and so is the mean of several: here of the concentrations *c* = 10, 100, 1 000 and 10 000, which see
    anything from an arm that is gone to a part in a hundred. The inverse of a martingale is at most p with the
    probability p, whenever one looks.

    References
    ----------
    M. Lindon, A. Malek, *Anytime-Valid Inference for Multinomial Count Data*, NeurIPS 2022, arXiv:2011.03567.
    """
    logarithms = [0.0] * len(_CONCENTRATIONS)
    for counts, chances in zip(observed, propensities, strict=True):
        cells = [(count, chance) for count, chance in zip(counts, chances, strict=True) if chance > 0]
        if len(cells) < 2:  # noqa: PLR2004  (one cell is no split)
            continue
        for position, concentration in enumerate(_CONCENTRATIONS):
            logarithms[position] += _bayes_factor(cells, concentration)
    highest = max(logarithms)
    mean = math.fsum(math.exp(each - highest) for each in logarithms) / len(logarithms)
    return math.exp(min(0.0, -highest - math.log(mean)))


def _bayes_factor(cells: Sequence[tuple[int, float]], concentration: float) -> float:
    """Return the logarithm of the Bayes factor of one epoch."""
    total = sum(count for count, _ in cells)
    logarithm = float(special.gammaln(concentration) - special.gammaln(concentration + total))
    for count, chance in cells:
        prior = concentration * chance
        logarithm += float(special.gammaln(prior + count) - special.gammaln(prior)) - count * math.log(chance)
    return logarithm
