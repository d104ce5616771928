"""Skew: features as they were served against what a point-in-time recomputation of the same rows gives.

For a call at time `t` the recomputation says which row of each view was known at `t`, and which at `t - lag`, where
`lag` is how far the online store may stand behind. A served row is

- *late* when it is older than the one known at `t - lag`, and the store was not down;
- *missing* when nothing was served and something was known at `t - lag`; *extra* when something was served and
  nothing was known at `t`; *ahead* when it is newer than what was known at `t`;
- *compared*, value by value, when it is one of those two rows. Two values are equal within the relative tolerance, NaN
  equals NaN.

Both times are needed: what became known a moment ago need not have been served yet, what was known long ago must be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from features.lookup import MISSING, NULL, PRESENT, STALE, STALE_SERVED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Mask = NDArray[np.bool_]

SAME_ROW_MS = 10
"""Ages are kept in whole milliseconds, counted from the wave that the call was in: rows this close are the same row."""
UNIT_RATIO_SPREAD = 1e-3
UNIT_ROWS_MIN = 10


@dataclass(frozen=True, slots=True)
class Known:
    """What a recomputation says of one view: its features, one row a call, and how each was found.

    Attributes
    ----------
    values
        float64 [calls, features]; the defaults of a row that is too old, unless the call was served it all the same.
    found
        Whether there was a row; bool [calls].
    age_ms
        How old it was at the time of the call, whatever time it was looked up for; float64 [calls], NaN where none was.
    """

    values: Floats
    found: Mask
    age_ms: Floats


@dataclass(frozen=True, slots=True)
class Served:
    """What the calls got of one view: as `Known`, with the status that the journal kept; uint8 [calls].

    Attributes
    ----------
    remembered
        Whether a row that is not too old was served as stale: the store was down, and it had been read before.
    """

    values: Floats
    status: NDArray[np.uint8]
    age_ms: Floats
    remembered: Mask


@dataclass(frozen=True, slots=True)
class FeatureSkew:
    """How one feature compares.

    Attributes
    ----------
    compared, mismatched
        Calls whose rows are the same; those of them whose values are not.
    smape
        The symmetric mean absolute percentage error over what was compared, 0 to 2: mean of 2|a - b| / (|a| + |b|).
    ratio
        Served over recomputed where all that mismatch agree in it, as after a change of unit; NaN else.
    """

    name: str
    compared: int
    mismatched: int
    smape: float
    ratio: float


@dataclass(frozen=True, slots=True)
class ViewSkew:
    """How one view compares; counts are of calls."""

    view: str
    calls: int
    compared: int
    late: int
    missing: int
    extra: int
    ahead: int
    features: tuple[FeatureSkew, ...]

    @property
    def findings(self) -> tuple[str, ...]:
        """Return what is wrong, a sentence each; nothing when nothing is."""
        found = [
            f"{self.view}.{one.name}: the values of {one.mismatched} of {one.compared} calls are not those of the "
            f"recomputation (SMAPE {one.smape:.3g}"
            + (f"; all by the factor {one.ratio:g}, as another unit gives)" if np.isfinite(one.ratio) else ")")
            for one in self.features
            if one.mismatched
        ]
        counts = {
            "were served a row older than the one known for longer than the lag": self.late,
            "were served nothing though a row was known for longer than the lag": self.missing,
            "were served a row where none was known": self.extra,
            "were served a row newer than any known at their time": self.ahead,
        }
        found += [f"{self.view}: {count} of {self.calls} calls {what}" for what, count in counts.items() if count]
        return tuple(found)


def compare_view(
    view: str, names: Sequence[str], served: Served, now: Known, before: Known, *, tolerance: float
) -> ViewSkew:
    """Return how what was served of a view compares with the recomputation.

    Parameters
    ----------
    view, names
        The view, and those of its features that the set takes.
    served, now, before
        What the calls got; what was known at their time; what was known one lag earlier.
    tolerance
        The relative difference up to which values are equal.
    """
    looked_up = np.isin(served.status, (PRESENT, NULL, STALE, STALE_SERVED, MISSING))
    got = looked_up & (served.status != MISSING)
    is_now = got & now.found & (np.abs(served.age_ms - now.age_ms) <= SAME_ROW_MS)
    is_before = got & before.found & ~is_now & (np.abs(served.age_ms - before.age_ms) <= SAME_ROW_MS)
    late = got & before.found & ~is_now & ~is_before & (served.age_ms > before.age_ms) & ~served.remembered
    ahead = got & now.found & ~is_now & (served.age_ms < now.age_ms)
    known = np.where(is_now[:, None], now.values, before.values)
    same = is_now | is_before
    return ViewSkew(
        view=view,
        calls=int(looked_up.sum()),
        compared=int(same.sum()),
        late=int(late.sum()),
        missing=int((looked_up & ~got & before.found).sum()),
        extra=int((got & ~now.found).sum()),
        ahead=int(ahead.sum()),
        features=tuple(
            compare_values(name, served.values[same, column], known[same, column], tolerance)
            for column, name in enumerate(names)
        ),
    )


def compare_values(name: str, served: Floats, known: Floats, tolerance: float) -> FeatureSkew:
    """Return how two columns compare that should be equal within the relative tolerance."""
    both_nan = np.isnan(served) & np.isnan(known)
    scale = np.maximum(np.abs(served), np.abs(known))
    with np.errstate(invalid="ignore", divide="ignore"):
        delta = np.where(served == known, 0.0, np.abs(served - known))
        equal = both_nan | (served == known) | (delta <= tolerance * scale)
        relative = np.where(delta == 0, 0.0, 2 * delta / (np.abs(served) + np.abs(known)))
        ratios = served[~equal] / known[~equal]
    relative = np.where(both_nan, 0.0, np.where(np.isfinite(relative), relative, 2.0))
    ratio = np.nan
    if len(ratios) >= UNIT_ROWS_MIN and np.isfinite(ratios).all():
        middle = float(np.median(ratios))
        if middle and np.all(np.abs(ratios - middle) <= UNIT_RATIO_SPREAD * abs(middle)):
            ratio = middle
    return FeatureSkew(
        name=name,
        compared=len(served),
        mismatched=int((~equal).sum()),
        smape=float(relative.mean()) if len(relative) else 0.0,
        ratio=ratio,
    )
