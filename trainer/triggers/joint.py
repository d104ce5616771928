"""Joint drift: whether a classifier can tell the window's rows from those that the version was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from experiments.lazy_scipy import special, stats
from trainer.triggers.verdict import Evidence, Verdict, insufficient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.triggers.stored import Stored

    Floats = NDArray[np.float64]

KIND = "joint_drift"
ROWS_MIN = 100
ROWS_MAX = 2_000
FOLDS = 5
PRODUCTS_MAX = 66
FLOOR = 0.55
_DRAWS = 999
_RIDGE = 10.0


@dataclass(frozen=True, slots=True)
class JointDrift:
    r"""Fires when a classifier tells window and reference apart better than by chance, and better than a floor.

    It sees what changes between columns while each alone stays as it was, such as a correlation.

    Attributes
    ----------
    alpha
        If nothing drifts, the probability that it fires.
    floor
        How large the area under its ROC curve must be; 0.5 is chance.
    rows_min
        How many rows both sides must have; of more than 2 000 a fair part is taken.

    Notes
    -----
    The classifier is ridge regression on the side, five-fold, over each column's normal score
    :math:`\Phi^{-1}(r / (n + 1))`, its square, whether it is missing, and products of pairs of columns (all, or 66
    drawn from a seed). The probability of an area at least as large is that under permutations of which row is whose,
    for which the very same folds are fitted again.

    Assumptions: independent rows. It sees differences of means, spreads and correlations of the scores, and no other
    interaction; a boosted forest sees more and cannot be permuted a thousand times.

    References
    ----------
    D. Lopez-Paz, M. Oquab, *Revisiting Classifier Two-Sample Tests*, ICLR (2017).
    """

    alpha: float = 0.05
    floor: float = FLOOR
    rows_min: int = ROWS_MIN

    @property
    def kind(self) -> str:
        """The trigger's name."""
        return KIND

    def judge(self, stored: Stored) -> Evidence:
        """Return whether the rows can be told apart."""
        reference, window = stored.reference_rows, stored.window
        if reference is None or window is None or min(reference.count, window.count) < self.rows_min:
            return insufficient(KIND, f"{self.rows_min} rows are needed on both sides", rows_min=self.rows_min)
        names = [name for name in reference.features if name in window.columns]
        if not names:
            return insufficient(KIND, "window and reference have no feature in common")
        sides = [
            np.column_stack([side.columns[name] for name in names])[_chosen(side.count)] for side in (reference, window)
        ]
        area, p_value = told_apart(*sides)
        fires = p_value <= self.alpha and area >= self.floor
        numbers = {
            "area": area,
            "floor": self.floor,
            "p_value": p_value,
            "alpha": self.alpha,
            "rows": len(sides[1]),
            "reference_rows": len(sides[0]),
            "columns": len(names),
        }
        verdict = Verdict.FIRE if fires else Verdict.QUIET
        ending = "so the rows come from elsewhere" if fires else f"of chance or below the floor of {self.floor:g}"
        return Evidence(
            KIND,
            verdict,
            f"a classifier tells them apart with an area of {area:.3f}, p {p_value:.2g}: {ending}",
            numbers,
        )


def told_apart(reference: Floats, window: Floats, *, draws: int = _DRAWS, seed: int = 0) -> tuple[float, float]:
    """Return the area under the ROC curve of a classifier that tells rows apart, and the probability of one as large.

    Parameters
    ----------
    reference, window
        Rows [n, columns] and [m, columns]; NaN is missing.
    draws, seed
        How many permutations, and from which seed.
    """
    generator = np.random.default_rng(seed)
    rows = _described(np.concatenate([reference, window]), generator)
    side = np.repeat([0.0, 1.0], [len(reference), len(window)])
    fold = np.empty(len(rows), np.int64)
    order = generator.permutation(len(rows))
    fold[order] = np.arange(len(rows)) % FOLDS
    sides = np.column_stack([side, *(generator.permutation(side) for _ in range(draws))])
    said = np.empty_like(sides)
    for each in range(FOLDS):
        train, held = rows[fold != each], fold == each
        given = sides[fold != each]
        middle = given.mean(axis=0)
        gram = train.T @ train + _RIDGE * np.eye(rows.shape[1])
        said[held] = rows[held] @ np.linalg.solve(gram, train.T @ (given - middle))
    areas = np.concatenate([_areas(part, sides[:, start : start + 100]) for start, part in _parts(said)])
    return float(areas[0]), float((1 + np.sum(areas[1:] >= areas[0])) / (1 + draws))


def _parts(said: Floats) -> list[tuple[int, Floats]]:
    return [(start, said[:, start : start + 100]) for start in range(0, said.shape[1], 100)]


def _areas(said: Floats, sides: Floats) -> Floats:
    """Return the area under each column's ROC curve."""
    ranks = stats.rankdata(said, axis=0)
    good = sides.sum(axis=0)
    areas: Floats = ((ranks * sides).sum(axis=0) - good * (good + 1) / 2) / (good * (len(said) - good))
    return areas


def _described(rows: Floats, generator: np.random.Generator) -> Floats:
    """Return what the classifier sees of each row, each column with mean 0 and deviation 1."""
    gone = np.isnan(rows)
    ranks = stats.rankdata(np.where(gone, np.inf, rows), axis=0, method="average")
    scores = np.where(gone, 0.0, special.ndtri(ranks / (len(rows) + 1)))
    pairs = list(combinations(range(rows.shape[1]), 2))
    if len(pairs) > PRODUCTS_MAX:
        pairs = [pairs[place] for place in np.sort(generator.choice(len(pairs), PRODUCTS_MAX, replace=False))]
    products = [scores[:, first] * scores[:, second] for first, second in pairs]
    seen = np.column_stack([scores, scores**2, gone.astype(np.float64), *products])
    spread = seen.std(axis=0)
    shown: Floats = ((seen - seen.mean(axis=0)) / np.where(spread > 0, spread, 1.0))[:, spread > 0]
    return shown


def _chosen(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, ROWS_MAX)).astype(np.int64))
