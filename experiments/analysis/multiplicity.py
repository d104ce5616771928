"""Many claims at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


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
