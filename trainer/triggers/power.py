"""How small a shift a window can show at all: what a quiet trigger does not say."""

from __future__ import annotations

import math

from experiments.lazy_scipy import stats

POWER = 0.8
"""In how many of the windows with a shift it is to be found."""


def smallest_shift(
    reference_rows: int, window_rows: int, *, tests: int, alpha: float, floor: float = 0.0, power: float = POWER
) -> float:
    r"""Return the smallest shift of the mean, in standard deviations, that is found so often; smaller ones hide.

    Parameters
    ----------
    reference_rows, window_rows
        How many values there are on each side.
    tests, alpha
        Among how many columns the one is to be found, and the level of all of them together.
    floor
        How large an effect must be to be flagged, in standard deviations.
    power
        In which part of the windows it is to be found.

    Notes
    -----
    :math:`\sqrt{1/n + 1/m}\,(z_{1 - \alpha / 2k} + z_{power})`, and at least the floor and :math:`z_{power}` errors:
    the power of the test of means with a known deviation, at the level of the first step of Benjamini and Hochberg. For
    a normal column no test finds more; that by Wasserstein's distance finds nearly as much, which a test measures.

    Assumptions: independent values; one column drifts, the others do not.
    """
    error = math.sqrt(1 / reference_rows + 1 / window_rows)
    beyond = float(stats.norm.ppf(power))
    return max(error * (float(stats.norm.isf(alpha / tests / 2)) + beyond), floor + error * beyond)


def floor_in_deviations(method: str, floor: float) -> float:
    r"""Return which shift of a normal column, in deviations, has so large an effect; 0 for methods without a formula.

    For small shifts: :math:`\delta` of Wasserstein's distance over the deviation, :math:`\delta \phi(0)` of KS,
    :math:`\delta^2` of the stability index, :math:`\delta / \sqrt{8 \ln 2}` of Jensen and Shannon.
    """
    if method == "psi":
        return math.sqrt(floor)
    return floor * {"wasserstein": 1.0, "ks": math.sqrt(2 * math.pi), "jensen_shannon": math.sqrt(8 * math.log(2))}.get(
        method, 0.0
    )


def rows_for(shift: float, reference_rows: int, *, tests: int, alpha: float, power: float = POWER) -> int | None:
    """Return how many rows a window needs to show a shift that often; None: the reference is too small for it."""
    both = (float(stats.norm.isf(alpha / tests / 2)) + float(stats.norm.ppf(power))) ** 2 / shift**2
    left = 1 / both - 1 / reference_rows
    return None if left <= 0 else int(-(-1 // left))
