"""Performance from outcomes: whether the version does worse than it may, by the whole interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainer.triggers.metrics import answered, measure
from trainer.triggers.threshold import threshold_of, verdict_of
from trainer.triggers.verdict import Evidence, Verdict, insufficient

if TYPE_CHECKING:
    from trainer.triggers.stored import Stored
    from trainer.triggers.verdict import Number

KIND = "performance"
ROWS_MIN = 100


@dataclass(frozen=True, slots=True)
class Performance:
    """Fires when the interval of a metric over the window's outcomes, not its point, is past a threshold.

    Attributes
    ----------
    metric
        Which, of `metrics.DIRECTIONS`.
    threshold
        Past what it is too bad; None: what `relative` makes of its value at publication.
    relative
        By which part of that value it may get worse; None, and no threshold: not at all.
    alpha
        One minus the confidence of the interval.
    rows_min
        How many labels must be known.
    """

    metric: str = "brier"
    threshold: float | None = None
    relative: float | None = None
    alpha: float = 0.05
    rows_min: int = ROWS_MIN

    @property
    def kind(self) -> str:
        """The trigger's name."""
        return KIND

    def judge(self, stored: Stored) -> Evidence:
        """Return whether the version does worse than it may."""
        threshold, what = threshold_of(
            self.metric, absolute=self.threshold, relative=self.relative, published=stored.metrics.get(self.metric)
        )
        if threshold is None:
            return insufficient(KIND, what, metric=self.metric)
        if stored.labelled is None:
            return insufficient(KIND, "no prediction of the window has a label", metric=self.metric)
        known = np.isfinite(stored.labelled.labels) & answered(stored.labelled.scores)
        rows = int(known.sum())
        if rows < self.rows_min:
            return insufficient(
                KIND, f"{rows} labels are known; {self.rows_min} are needed", rows=rows, rows_min=self.rows_min
            )
        found = measure(self.metric, stored.labelled.scores[known], stored.labelled.labels[known], alpha=self.alpha)
        verdict = verdict_of(self.metric, found, threshold)
        ends = f"{self.metric} is {found.value:.4g} ({found.low:.4g} to {found.high:.4g})"
        said = {
            Verdict.FIRE: f"{ends}, past {threshold:.4g}, {what}",
            Verdict.QUIET: f"{ends}, not surely past {threshold:.4g}, {what}",
            Verdict.INSUFFICIENT: f"{self.metric} has no interval over {rows} labels",
        }
        numbers: dict[str, Number] = {
            "metric": self.metric,
            "value": found.value,
            "low": found.low,
            "high": found.high,
            "threshold": threshold,
            "published": stored.metrics.get(self.metric),
            "rows": rows,
            "rows_without_label": len(known) - rows,
            "alpha": self.alpha,
        }
        return Evidence(KIND, verdict, said[verdict], numbers)
