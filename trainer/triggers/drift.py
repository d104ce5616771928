"""Drift: features, outputs and labels that come from another distribution than the version was trained on."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from features.profile import Profile
from features.sketch import Sketch
from trainer.triggers import distances
from trainer.triggers.cells import Cells
from trainer.triggers.power import floor_in_deviations, smallest_shift
from trainer.triggers.significance import (
    benjamini_hochberg,
    chi_squared_p,
    draws_for,
    kolmogorov_smirnov_p,
    permutation_p,
)
from trainer.triggers.verdict import Evidence, Finding, Verdict, insufficient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from features.profile import ColumnProfile
    from trainer.triggers.stored import Rows, Stored
    from trainer.triggers.verdict import Number

    Floats = NDArray[np.float64]

KIND = "drift"
ALPHA = 0.05
ROWS_MIN = 50
BINS = 10
CATEGORIES_MAX = 12
_PERMUTED_BINS = 32
FLOORS = {
    "ks": 0.05,
    "wasserstein": 0.05,
    "psi": 0.05,
    "jensen_shannon": 0.1,
    "chi_squared": 0.1,
    "l_infinity": 0.02,
}
"""How large each method's effect must be to count."""


@dataclass(frozen=True, slots=True)
class Compared:
    """How a column compares by one method.

    Attributes
    ----------
    statistic
        The method's number: of Wasserstein the distance in the column's unit.
    effect
        What the floor is about: the statistic, of Wasserstein over the reference's standard deviation, of the χ² test
        Cramér's V.
    p_value
        The probability of a statistic at least as large, if there is no drift.
    """

    statistic: float
    effect: float
    p_value: float


def compare(method: str, cells: Cells, *, deviation: float, draws_max: int, seed: Sequence[int]) -> Compared:
    """Return how two distributions compare by a method of `FLOORS`.

    Parameters
    ----------
    method, cells
        The method, and the counts; for `jensen_shannon`, `psi`, `chi_squared` and `l_infinity` cells that bear enough.
    deviation
        The reference's standard deviation.
    draws_max, seed
        Of permutations.
    """
    given = (cells.reference, cells.window)
    if method == "ks":
        found = float(distances.kolmogorov_smirnov(*given))
        return Compared(found, found, kolmogorov_smirnov_p(cells))
    if method == "wasserstein":
        found = float(distances.wasserstein(*given, cells.values))
        # The distance is that of the finest cells; its significance is told by fewer, which are as good for it.
        few = cells.binned(_PERMUTED_BINS)
        by = partial(distances.wasserstein, values=few.values)
        return Compared(found, found / deviation, permutation_p(by, few, draws_max=draws_max, seed=seed))
    if method == "chi_squared":
        found = float(distances.chi_squared(*given))
        total = int(cells.reference.sum() + cells.window.sum())
        return Compared(found, (found / total) ** 0.5, chi_squared_p(cells, draws_max=draws_max, seed=seed))
    formulas: dict[str, Callable[..., Any]] = {
        "psi": distances.population_stability,
        "jensen_shannon": distances.jensen_shannon,
        "l_infinity": distances.l_infinity,
    }
    found = float(formulas[method](*given))
    return Compared(found, found, permutation_p(formulas[method], cells, draws_max=draws_max, seed=seed))


@dataclass(frozen=True, slots=True)
class Drift:
    """Fires when a column of the window differs from the profile of the training table, significantly and enough.

    Attributes
    ----------
    alpha
        If nothing drifts, the probability that anything is flagged, over all columns together; the part of the flags
        that may be false else.
    floor
        How large the effect of a numeric column must be; None: the method's of `FLOORS`.
    numeric, categorical
        The methods for columns of numbers and of categories.
    rows_min
        How many finite values a column must have in the window to be tested.
    columns
        Which columns are looked at; empty: all that both have.
    """

    alpha: float = ALPHA
    floor: float | None = None
    numeric: str = "wasserstein"
    categorical: str = "jensen_shannon"
    rows_min: int = ROWS_MIN
    columns: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The trigger's name."""
        return KIND

    def judge(self, stored: Stored) -> Evidence:
        """Return whether anything drifted."""
        window = stored.window
        if not stored.reference:
            return insufficient(KIND, "the version was published without a profile of its training table")
        if window is None or window.count < self.rows_min:
            rows = 0 if window is None else window.count
            return insufficient(
                KIND, f"the window has {rows} rows; {self.rows_min} are needed", rows=rows, rows_min=self.rows_min
            )
        reference = Profile.from_document(stored.reference)
        chosen = [
            name for name in reference.columns if name in window.columns and (not self.columns or name in self.columns)
        ]
        tested = [name for name in chosen if self._enough(reference.columns[name], window.columns[name])]
        if not tested:
            return insufficient(KIND, "no column has enough values on both sides", rows=window.count)
        return self._evidence(reference, window, tested, left_out=len(chosen) - len(tested))

    def _enough(self, reference: ColumnProfile, values: Floats) -> bool:
        return reference.sketch.n >= self.rows_min and int(np.isfinite(values).sum()) >= self.rows_min

    def _evidence(self, reference: Profile, window: Rows, tested: list[str], *, left_out: int) -> Evidence:
        draws = draws_for(len(tested), self.alpha)
        findings = [
            self._finding(name, reference.columns[name], window, tests=len(tested), draws_max=draws) for name in tested
        ]
        adjusted = benjamini_hochberg([float(finding.numbers["p_value"] or 0.0) for finding in findings])
        judged = []
        for finding, p_adjusted in zip(findings, adjusted, strict=True):
            effect, floor = finding.numbers["effect"], finding.numbers["floor"]
            counts = p_adjusted <= self.alpha and float(effect or 0.0) >= float(floor or 0.0)
            judged.append(replace(finding, flagged=counts, numbers={**finding.numbers, "p_adjusted": p_adjusted}))
        judged.sort(key=lambda one: (not one.flagged, one.numbers["p_adjusted"], -float(one.numbers["effect"] or 0)))
        flagged = [one.subject for one in judged if one.flagged]
        numbers: dict[str, Number] = {
            "rows": window.count,
            "reference_rows": reference.rows,
            "columns": len(tested),
            "columns_left_out": left_out,
            "flagged": len(flagged),
            "alpha": self.alpha,
        }
        shifts = [float(one.numbers["smallest_shift"] or 0.0) for one in judged if "smallest_shift" in one.numbers]
        if shifts:
            numbers["smallest_shift"] = max(shifts)
        if not flagged:
            reason = f"none of {len(tested)} columns differs from the training table by more than chance and the floor"
            if shifts:
                reason += f"; a shift below {max(shifts):.2g} standard deviations would not show in so few rows"
            return Evidence(KIND, Verdict.QUIET, reason, numbers, tuple(judged))
        return Evidence(KIND, Verdict.FIRE, _sentence(judged, flagged, len(tested)), numbers, tuple(judged))

    def _finding(self, name: str, reference: ColumnProfile, window: Rows, *, tests: int, draws_max: int) -> Finding:
        values = window.columns[name]
        cells = Cells.of(reference.sketch, Sketch.of(values[np.isfinite(values)]))
        is_category = name in window.categorical or (
            reference.sketch.error == 0 and len(reference.sketch.values) <= CATEGORIES_MAX
        )
        method = self.categorical if is_category else self.numeric
        if not is_category and method not in {"ks", "wasserstein"}:
            cells = cells.binned(BINS)
        moments = reference.moments
        spread = (moments.m2 / moments.n) ** 0.5 or 1e-3 * max(1.0, abs(moments.mean))
        seed = (zlib.crc32(name.encode()), len(values))
        found = compare(method, cells, deviation=spread, draws_max=draws_max, seed=seed)
        floor = self.floor if self.floor is not None and not is_category else FLOORS[method]
        numbers: dict[str, Number] = {
            "statistic": found.statistic,
            "effect": found.effect,
            "floor": floor,
            "p_value": found.p_value,
            "rows": int(cells.window.sum()),
            "reference_rows": int(cells.reference.sum()),
        }
        if not is_category:
            sides = int(cells.reference.sum()), int(cells.window.sum())
            least = floor_in_deviations(method, floor)
            numbers["smallest_shift"] = smallest_shift(*sides, tests=tests, alpha=self.alpha, floor=least)
        return Finding(name, method, flagged=False, numbers=numbers | _told(cells, is_category=is_category))


def _told(cells: Cells, *, is_category: bool) -> dict[str, Number]:
    """Return what a person wants to know of a difference: the medians, or the category that changed most."""
    if is_category:
        change = distances.parts(cells.window) - distances.parts(cells.reference)
        place = int(np.argmax(np.abs(change)))
        return {
            "category": float(cells.values[place]),
            "reference_part": float(distances.parts(cells.reference)[place]),
            "window_part": float(distances.parts(cells.window)[place]),
        }
    middle: dict[str, Number] = {}
    for name, counts in (("reference_median", cells.reference), ("window_median", cells.window)):
        middle[name] = float(cells.values[np.searchsorted(np.cumsum(counts), counts.sum() / 2)])
    return middle


def _sentence(judged: list[Finding], flagged: list[str], tested: int) -> str:
    first = judged[0]
    told = f"{first.method} {first.numbers['effect']:.3g}, p {first.numbers['p_adjusted']:.2g}"
    more = f" and {len(flagged) - 1} more" if len(flagged) > 1 else ""
    return f"{len(flagged)} of {tested} columns drifted: {first.subject} ({told}){more}"
