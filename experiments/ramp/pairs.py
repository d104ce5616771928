r"""Whether one of two arms is bad more often: an exact test that holds however often one looks.

The n-th unit of the candidate is held against the n-th of its matched control. Pairs in which both are bad, or neither,
say nothing. Of the others, the part in which the candidate is the bad one is at most a half when it is no worse,
whatever the rate of bad units is and however it changes from hour to hour: it changes for both. So the evidence is

.. math:: E = 2^{k + m + 1} \int_{1/2}^1 \theta^k (1 - \theta)^m \, d\theta

of *k* pairs against the candidate and *m* against the control: the likelihood ratio of a uniform mixture over
:math:`\theta > 1/2` against :math:`\theta = 1/2`. It is a supermartingale from 1 for every :math:`\theta \le 1/2`, so
that it ever reaches :math:`1/\alpha` with a probability of at most :math:`\alpha` (Ville). Nothing is asymptotic here:
it holds from the first pair.

References
----------
A. Wald, *Sequential Analysis*, 1947, chapter 6 (double dichotomies). H. Robbins, *Statistical Methods Related to the
Law of the Iterated Logarithm*, Annals of Mathematical Statistics 41 (1970) (mixtures).
"""

from __future__ import annotations

import math

from experiments.lazy_scipy import special

HALF = 0.5


def log_evidence(against_candidate: int, against_control: int) -> float:
    """Return the logarithm of the evidence that the candidate is bad more often; 0 without any pair."""
    k, m = against_candidate, against_control
    # The mass of Beta(k + 1, m + 1) above a half is that of Beta(m + 1, k + 1) below it.
    above = float(special.betainc(m + 1, k + 1, HALF))
    if above == 0.0:
        return -math.inf
    return (k + m + 1) * math.log(2) + float(special.betaln(k + 1, m + 1)) + math.log(above)


def needed(against_control: int, *, alpha: float, start: int = 0) -> int:
    """Return how many pairs against the candidate, beside so many against the control, make 1/alpha or more.

    Parameters
    ----------
    start
        Where to begin to look: it never falls when `against_control` rises.
    """
    k, bar = start, -math.log(alpha)
    while log_evidence(k, against_control) < bar:
        k += 1
    return k
