"""Many claims at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.plan import Correction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def adjust(p_values: Sequence[float], correction: Correction) -> list[float]:
    """Return each p-value so adjusted that its claim stands when it is at most alpha."""
    if correction is Correction.HOLM:
        return holm(p_values)
    if correction is Correction.HOCHBERG:
        return hochberg(p_values)
    if correction is Correction.BENJAMINI_HOCHBERG:
        return benjamini_hochberg(p_values)
    return list(p_values)


def holm(p_values: Sequence[float]) -> list[float]:
    r"""Return each p-value adjusted by Holm's method: at most alpha when its claim stands at a familywise alpha.

    Notes
    -----
    Sorted ascending, the adjusted value is :math:`\max_{j \le i} \min(1, (m - j + 1) p_{(j)})`. It holds under any
    dependence between the tests.

    References
    ----------
    S. Holm, *A Simple Sequentially Rejective Multiple Test Procedure*, Scandinavian Journal of Statistics 6 (1979).
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def hochberg(p_values: Sequence[float]) -> list[float]:
    r"""Return each p-value adjusted by Hochberg's method: a familywise alpha with more power than Holm's.

    Notes
    -----
    Sorted ascending, the adjusted value is :math:`\min_{j \ge i} (m - j + 1) p_{(j)}`. It holds where the tests are
    independent or positively dependent, as metrics of one treatment that move together are.

    References
    ----------
    Y. Hochberg, *A sharper Bonferroni procedure for multiple tests of significance*, Biometrika 75 (1988).
    """
    return _step_up(p_values, lambda rank, count: count - rank)


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    r"""Return each p-value adjusted by Benjamini and Hochberg: of the claims that stand, at most alpha are false.

    Notes
    -----
    Sorted ascending, the adjusted value is :math:`\min_{j \ge i} m p_{(j)} / j`: the false discovery rate, under
    independence or positive dependence. It is not the chance of any false claim.

    References
    ----------
    Y. Benjamini, Y. Hochberg, *Controlling the false discovery rate*, Journal of the Royal Statistical Society B 57
    (1995).
    """
    return _step_up(p_values, lambda rank, count: count / (rank + 1))


def _step_up(p_values: Sequence[float], factor: Callable[[int, int], float]) -> list[float]:
    count = len(p_values)
    order = sorted(range(count), key=lambda i: p_values[i])
    adjusted = [0.0] * count
    lowest = 1.0
    for rank in range(count - 1, -1, -1):
        lowest = min(lowest, factor(rank, count) * p_values[order[rank]])
        adjusted[order[rank]] = lowest
    return adjusted
