"""The paired bootstrap: how sure it is that two models differ on the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.lazy_scipy import special

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RESAMPLES = 1_000
_BLOCKS_MAX = 200
_CELLS_MAX = 4_000_000
"""How many weights are in memory at once."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference and where it lies.

    Attributes
    ----------
    value
        On the rows as they are.
    lower, upper
        Each is passed by the true difference with probability alpha at most, as far as the bootstrap knows.
    """

    value: float
    lower: float
    upper: float


def paired(
    difference: Callable[[Floats], Floats], rows: int, *, alpha: float, seed: int, resamples: int = RESAMPLES
) -> Interval:
    """Return the bias-corrected and accelerated interval of a difference of two models.

    Parameters
    ----------
    difference
        From weights of the rows [k, rows] to the difference under each [k]; NaN where it is not defined.
    rows
        How many rows there are, at least 2. Each resampling draws rows, so both models are always judged on the same.
    alpha
        The probability of each end.
    seed
        Of the draws.
    resamples
        How many.

    Notes
    -----
    The acceleration is that of the jackknife over at most 200 blocks of rows.

    References
    ----------
    B. Efron, "Better bootstrap confidence intervals", JASA 82 (1987).
    """
    generator = np.random.default_rng(seed)
    value = float(difference(np.ones((1, rows)))[0]) + 0.0  # zero without a sign
    found = np.concatenate([difference(weights) for weights in _draws(generator, rows, resamples)])
    found = np.sort(found[np.isfinite(found)])
    if not np.isfinite(value) or not len(found) or found[0] == found[-1]:
        # Nothing varies: a difference that is not zero would be certain, one that is not defined is nowhere.
        return Interval(value, value, value) if np.isfinite(value) else Interval(np.nan, -np.inf, np.inf)
    below = (np.sum(found < value) + np.sum(found == value) / 2) / len(found)
    bias = float(special.ndtri(np.clip(below, 1 / len(found), 1 - 1 / len(found))))
    acceleration = _acceleration(difference, generator.permutation(rows))
    ends = []
    for probability in (alpha, 1 - alpha):
        shifted = bias + float(special.ndtri(probability))
        ends.append(float(np.quantile(found, special.ndtr(bias + shifted / (1 - acceleration * shifted)))))
    return Interval(value, ends[0], ends[1])


def _draws(generator: np.random.Generator, rows: int, resamples: int) -> Iterator[Floats]:
    size = max(1, _CELLS_MAX // rows)
    for start in range(0, resamples, size):
        count = min(size, resamples - start)
        drawn = generator.integers(0, rows, (count, rows)) + np.arange(count)[:, np.newaxis] * rows
        yield np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows).astype(np.float64)


def _acceleration(difference: Callable[[Floats], Floats], order: NDArray[np.int64]) -> float:
    left_out = np.array_split(order, min(_BLOCKS_MAX, len(order)))
    values = []
    size = max(1, _CELLS_MAX // len(order))
    for start in range(0, len(left_out), size):
        blocks = left_out[start : start + size]
        weights = np.ones((len(blocks), len(order)))
        for row, block in enumerate(blocks):
            weights[row, block] = 0
        values.append(difference(weights))
    found = np.concatenate(values)
    found = found[np.isfinite(found)]
    deviation = found.mean() - found if len(found) else np.zeros(1)
    spread = float(np.sum(deviation**2)) ** 1.5
    return float(np.sum(deviation**3)) / (6 * spread) if spread else 0.0
