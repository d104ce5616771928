"""Estimated performance: whether the version is expected to do worse than it may, before labels are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trainer.triggers import cbpe
from trainer.triggers.metrics import measure
from trainer.triggers.threshold import threshold_of, verdict_of
from trainer.triggers.verdict import Evidence, Verdict, insufficient

if TYPE_CHECKING:
    from trainer.triggers.metrics import Estimate
    from trainer.triggers.stored import Labelled, Stored
    from trainer.triggers.verdict import Number

KIND = "estimated_performance"
ROWS_MIN = 100


@dataclass(frozen=True, slots=True)
class EstimatedPerformance:
    """Fires when the band of an expected metric, not its point, is past a threshold. It is an estimate, and says so.

    Where labels of the window are known, the real metric of those rows stands beside the estimate of the same rows.

    Attributes
    ----------
    metric, threshold, relative, alpha, rows_min
        As of `performance.Performance`; metrics are those of `cbpe.METRICS`.
    """

    metric: str = "roc_auc"
    threshold: float | None = None
    relative: float | None = None
    alpha: float = 0.05
    rows_min: int = ROWS_MIN

    @property
    def kind(self) -> str:
        """The trigger's name."""
        return KIND

    def judge(self, stored: Stored) -> Evidence:
        """Return whether the version is expected to do worse than it may."""
        if self.metric not in cbpe.METRICS:
            return insufficient(KIND, f"{self.metric} cannot be estimated without labels", metric=self.metric)
        reference, answers = stored.reference_labelled, stored.labelled
        known = None if reference is None else _known(reference)
        if reference is None or known is None or known.sum() < self.rows_min or len(set(reference.labels[known])) < 2:  # noqa: PLR2004
            return insufficient(KIND, f"there are not {self.rows_min} held-out answers with labels of both classes")
        if answers is None or len(answers.scores) < self.rows_min:
            rows = 0 if answers is None else len(answers.scores)
            return insufficient(
                KIND, f"the window has {rows} answers; {self.rows_min} are needed", rows=rows, rows_min=self.rows_min
            )
        base = cbpe.Reference.of(reference.scores[known], reference.labels[known])
        published = stored.metrics.get(self.metric)
        if published is None:
            published = measure(self.metric, base.scores, base.labels, alpha=self.alpha).value
        threshold, what = threshold_of(
            self.metric, absolute=self.threshold, relative=self.relative, published=published
        )
        if threshold is None:
            return insufficient(KIND, what, metric=self.metric)
        found = cbpe.estimate(self.metric, base, answers.scores, alpha=self.alpha)
        numbers: dict[str, Number] = {
            "metric": self.metric,
            "estimate": found.value,
            "low": found.low,
            "high": found.high,
            "threshold": threshold,
            "published": published,
            "rows": found.rows,
            "reference_rows": int(known.sum()),
            "alpha": self.alpha,
            **self._real(base, answers),
        }
        verdict = verdict_of(self.metric, found, threshold)
        return Evidence(KIND, verdict, self._sentence(found, verdict, threshold, what), numbers)

    def _real(self, base: cbpe.Reference, answers: Labelled) -> dict[str, Number]:
        """Return how estimate and truth compare on the rows whose labels are known."""
        known = _known(answers)
        if known.sum() < self.rows_min:
            return {"labelled_rows": int(known.sum())}
        real = measure(self.metric, answers.scores[known], answers.labels[known], alpha=self.alpha)
        estimated = cbpe.estimate(self.metric, base, answers.scores[known], alpha=self.alpha)
        return {
            "labelled_rows": real.rows,
            "real": real.value,
            "real_low": real.low,
            "real_high": real.high,
            "estimate_of_labelled": estimated.value,
            "agrees": bool(real.low <= estimated.value <= real.high),
        }

    def _sentence(self, found: Estimate, verdict: Verdict, threshold: float, what: str) -> str:
        ends = f"{self.metric} is estimated, without labels, at {found.value:.4g} ({found.low:.4g} to {found.high:.4g})"
        if verdict is Verdict.INSUFFICIENT:
            return f"{self.metric} cannot be estimated from these {found.rows} answers"
        return f"{ends}, {'' if verdict is Verdict.FIRE else 'not surely '}past {threshold:.4g}, {what}"


def _known(labelled: Labelled) -> np.ndarray:
    return np.isfinite(labelled.labels) & np.isfinite(labelled.scores)
