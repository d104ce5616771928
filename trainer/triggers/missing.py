"""Missing values: features that are null, and lookups that end without a fresh value, more often than they did."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from experiments.lazy_scipy import stats
from features.profile import Profile
from trainer.triggers.significance import benjamini_hochberg
from trainer.triggers.verdict import Evidence, Finding, Verdict, insufficient

if TYPE_CHECKING:
    from trainer.triggers.stored import Stored

KIND = "missing"
ROWS_MIN = 50
FLOOR = 0.02
_FRESH = frozenset({"PRESENT", "NULL", "GIVEN"})


@dataclass(frozen=True, slots=True)
class Missing:
    r"""Fires when a rate of missing values rose, significantly and by enough.

    Of each feature the rate of nulls is compared with the training table's; of each view the rate of lookups that gave
    no fresh value (MISSING, STALE, STALE_SERVED, UNAVAILABLE, DEFAULTED) with that of a time that was in order.

    Attributes
    ----------
    alpha
        As of `drift.Drift`, over all features and views together.
    floor
        By how much the rate must have risen.
    rows_min
        How many rows the window must have.

    Notes
    -----
    The number missing in the window, given how many are missing on both sides, is hypergeometric (Fisher's exact test,
    one-sided). Adjusted by Benjamini and Hochberg.

    Assumptions: independent rows. A burst is not independent, and that is what is to be found.

    References
    ----------
    R. A. Fisher, *Statistical Methods for Research Workers* (1925), section 21.02.
    """

    alpha: float = 0.05
    floor: float = FLOOR
    rows_min: int = ROWS_MIN

    @property
    def kind(self) -> str:
        """The trigger's name."""
        return KIND

    def judge(self, stored: Stored) -> Evidence:
        """Return whether more is missing."""
        window = stored.window
        rows = 0 if window is None else window.count
        pairs = [*self._nulls(stored), *self._lookups(stored)]
        if not pairs:
            return insufficient(
                KIND,
                f"there are no {self.rows_min} rows to compare with a reference",
                rows=rows,
                rows_min=self.rows_min,
            )
        p_values = [float(one.numbers["p_value"] or 0.0) for one in pairs]
        judged = []
        for one, p_adjusted in zip(pairs, benjamini_hochberg(p_values), strict=True):
            counts = p_adjusted <= self.alpha and float(one.numbers["effect"] or 0.0) >= self.floor
            judged.append(replace(one, flagged=counts, numbers={**one.numbers, "p_adjusted": p_adjusted}))
        judged.sort(key=lambda one: (not one.flagged, one.numbers["p_adjusted"], -float(one.numbers["effect"] or 0)))
        flagged = [one for one in judged if one.flagged]
        numbers = {"rows": rows, "tests": len(pairs), "flagged": len(flagged), "alpha": self.alpha, "floor": self.floor}
        if not flagged:
            return Evidence(
                KIND, Verdict.QUIET, f"nothing of {len(pairs)} is missing more often", numbers, tuple(judged)
            )
        first = flagged[0].numbers
        more = f", and {len(flagged) - 1} more" if len(flagged) > 1 else ""
        reason = (
            f"{flagged[0].subject} is missing in {first['window_rate']:.1%} of the rows, "
            f"against {first['reference_rate']:.1%}{more}"
        )
        return Evidence(KIND, Verdict.FIRE, reason, numbers, tuple(judged))

    def _nulls(self, stored: Stored) -> list[Finding]:
        """Return how the rates of nulls compare."""
        window = stored.window
        if window is None or window.count < self.rows_min or not stored.reference:
            return []
        values = window.columns
        columns = Profile.from_document(stored.reference).columns
        return [
            self._finding(
                name, "null_rate", (column.nulls, int(np.isnan(values[name]).sum())), (column.rows, window.count)
            )
            for name in window.features
            if (column := columns.get(name)) is not None and column.rows >= self.rows_min
        ]

    def _lookups(self, stored: Stored) -> list[Finding]:
        """Return how the rates of lookups without a fresh value compare."""
        before = {one.view: one.calls for one in stored.reference_statuses}
        found = []
        for one in stored.statuses:
            sides = [before.get(one.view, {}), one.calls]
            totals = [sum(side.values()) for side in sides]
            if min(totals) >= self.rows_min:
                gone = [sum(calls for name, calls in side.items() if name not in _FRESH) for side in sides]
                found.append(self._finding(one.view, "default_rate", (gone[0], gone[1]), (totals[0], totals[1])))
        return found

    def _finding(self, subject: str, method: str, gone: tuple[int, int], of: tuple[int, int]) -> Finding:
        (before, now), (rows, window) = gone, of
        p_value = float(stats.hypergeom.sf(now - 1, rows + window, before + now, window))
        rates = before / rows, now / window
        return Finding(
            subject,
            method,
            flagged=False,
            numbers={
                "reference_rate": rates[0],
                "window_rate": rates[1],
                "effect": rates[1] - rates[0],
                "floor": self.floor,
                "p_value": p_value,
                "rows": window,
                "reference_rows": rows,
            },
        )
