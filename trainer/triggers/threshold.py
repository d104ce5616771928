"""A threshold for a metric, and which side of it an interval lies on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from trainer.triggers.metrics import DIRECTIONS
from trainer.triggers.verdict import Verdict

if TYPE_CHECKING:
    from trainer.triggers.metrics import Estimate


def threshold_of(
    metric: str, *, absolute: float | None, relative: float | None, published: float | None
) -> tuple[float | None, str]:
    """Return the value past which a metric is too bad, and what it is; None and why, where it is not known.

    Parameters
    ----------
    metric
        Which, of `DIRECTIONS`.
    absolute
        The threshold itself.
    relative
        Or by which part of its value at publication it may get worse.
    published
        That value.
    """
    if absolute is not None:
        return absolute, "the threshold"
    if published is None or not math.isfinite(published):
        return None, f"the version was published without {metric}, and no threshold is given"
    by = 0.0 if relative is None else relative
    return published - DIRECTIONS[metric] * by * abs(published), f"{by:.0%} worse than at publication"


def verdict_of(metric: str, estimate: Estimate, threshold: float) -> Verdict:
    """Return FIRE when the whole interval is past the threshold, INSUFFICIENT where there is no interval."""
    if not all(math.isfinite(each) for each in (estimate.low, estimate.high)):
        return Verdict.INSUFFICIENT
    past = estimate.high < threshold if DIRECTIONS[metric] > 0 else estimate.low > threshold
    return Verdict.FIRE if past else Verdict.QUIET
