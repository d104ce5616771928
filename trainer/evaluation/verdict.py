"""The verdict on a candidate: BLESSED or NOT_BLESSED, with its reasons."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from trainer.evaluation.bootstrap import Interval, paired
from trainer.evaluation.metrics import weighted
from trainer.records.policy import METRICS, Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from trainer.records.policy import Evaluation, EvaluationMetric

    Floats = NDArray[np.float64]

INCREASES = {name: better for known in METRICS.values() for name, better in known.items()}
"""The metrics of all tasks, and whether more is better."""
ROWS_MAX = 50_000
"""How many rows are compared at most; of more, as many are drawn."""
SLICE_VALUES_MAX = 20


class Blessing(StrEnum):
    """Whether a candidate may get traffic."""

    BLESSED = "BLESSED"
    NOT_BLESSED = "NOT_BLESSED"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A candidate beside another model on the same rows.

    Attributes
    ----------
    gain
        By how much the candidate is better, whichever way the metric gets better.
    lower, upper
        The ends of its interval, each at alpha.
    """

    metric: str
    rows: int
    candidate: float
    other: float
    gain: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was found of a candidate.

    Attributes
    ----------
    verdict, reasons
        Whether it may get traffic, and each cause why not; for BLESSED what it has shown.
    rows, positives
        How many held-out rows, and how many of them have the label 1; None where labels are not 0 and 1.
    metrics
        The candidate's own, by name.
    comparisons
        With the champion, the primary metric first; none without a champion.
    slices
        With the champion by the primary metric, by slice.
    of_data, of_model
        The champion's recipe, fitted to the same rows, beside the champion: what new data are worth; and the candidate
        beside that: what the new recipe is worth. None where the champion's recipe is not known.
    """

    verdict: Blessing
    reasons: tuple[str, ...]
    rows: int
    positives: int | None
    metrics: Mapping[str, float]
    comparisons: tuple[Comparison, ...] = ()
    slices: Mapping[str, Comparison] | None = None
    of_data: Comparison | None = None
    of_model: Comparison | None = None

    def document(self) -> dict[str, Any]:
        """Return it as JSON knows it."""
        document: dict[str, Any] = _finite(asdict(self))
        return document


@dataclass(frozen=True, slots=True)
class Held:
    """Rows that neither model has learned from.

    Attributes
    ----------
    labels
        0 or 1; 0, 1, 2 and so on; or numbers [n].
    candidate
        What the candidate says: the probabilities of 1 [n], those of the classes [n, classes], or numbers [n].
    champion, baseline
        What the champion says, and its recipe on the candidate's data; None where there is none.
    slices
        Columns of the label rows by name [n].
    task
        What is learned.
    """

    labels: Floats
    candidate: Floats
    champion: Floats | None = None
    baseline: Floats | None = None
    slices: Mapping[str, NDArray[Any]] | None = None
    task: Task = Task.BINARY

    def at(self, chosen: NDArray[Any]) -> Held:
        """Return these rows of it."""
        return Held(
            self.labels[chosen],
            self.candidate[chosen],
            None if self.champion is None else self.champion[chosen],
            None if self.baseline is None else self.baseline[chosen],
            {name: values[chosen] for name, values in (self.slices or {}).items()},
            self.task,
        )


def judge(evaluation: Evaluation, primary: EvaluationMetric, held: Held, *, seed: int) -> Judgement:
    """Return the verdict: a pure function of what was said on the held-out rows and of a seed.

    The candidate must be better in the primary metric by the whole interval, not shown to be worse in any slice, and
    not worse by a guardrail's margin by the whole interval. Without a champion only the bounds count.
    """
    if len(held.labels) > ROWS_MAX:
        held = held.at(np.sort(np.random.default_rng(seed).choice(len(held.labels), ROWS_MAX, replace=False)))
    named = [primary, *evaluation.guardrails]
    count = len(held.labels)
    own = {
        name: float(weighted(name, held.labels, held.candidate)(np.ones((1, count)))[0]) for name in METRICS[held.task]
    }
    reasons = _bounds(named, own)
    if count < evaluation.rows_min:
        reasons.append(f"{count} rows were held out; {evaluation.rows_min} are needed")
    if held.champion is None:
        return _judgement(held, own, reasons, ["there is no champion to be better than"])
    comparisons = tuple(
        _compare(each.metric, held.labels, held.candidate, held.champion, alpha=evaluation.alpha, seed=seed)
        for each in named
    )
    first = comparisons[0]
    if not first.lower > evaluation.minimum_gain:
        reasons.append(
            f"{first.metric} is not shown to be better by more than {evaluation.minimum_gain:g}: the gain is "
            f"{first.gain:.4g}, and the interval begins at {first.lower:.4g}"
        )
    for each, found in zip(named[1:], comparisons[1:], strict=True):
        if not found.lower > -each.margin:
            reasons.append(
                f"{found.metric} may be worse by more than {each.margin:g}: the interval begins at {found.lower:.4g}"
            )
    slices, worse = _slices(evaluation, primary.metric, held, seed=seed)
    shown = f"{first.metric} is better by {first.gain:.4g}, and by {first.lower:.4g} at the least"
    judged = _judgement(held, own, reasons + worse, [shown])
    of_data = of_model = None
    if held.baseline is not None:
        alpha, metric = evaluation.alpha, primary.metric
        of_data = _compare(metric, held.labels, held.baseline, held.champion, alpha=alpha, seed=seed)
        of_model = _compare(metric, held.labels, held.candidate, held.baseline, alpha=alpha, seed=seed)
    return Judgement(
        judged.verdict,
        judged.reasons,
        judged.rows,
        judged.positives,
        own,
        comparisons,
        slices,
        of_data=of_data,
        of_model=of_model,
    )


def _judgement(held: Held, own: dict[str, float], against: list[str], shown: list[str]) -> Judgement:
    return Judgement(
        Blessing.NOT_BLESSED if against else Blessing.BLESSED,
        tuple(against or shown),
        len(held.labels),
        int(held.labels.sum()) if held.task is Task.BINARY else None,
        own,
    )


def _bounds(named: list[EvaluationMetric], own: Mapping[str, float]) -> list[str]:
    reasons = []
    for each in named:
        value = own[each.metric]
        if each.at_least is not None and not value >= each.at_least:
            reasons.append(f"{each.metric} is {value:.4g}; it must be at least {each.at_least:g}")
        if each.at_most is not None and not value <= each.at_most:
            reasons.append(f"{each.metric} is {value:.4g}; it must be at most {each.at_most:g}")
    return reasons


def _compare(metric: str, labels: Floats, candidate: Floats, other: Floats, *, alpha: float, seed: int) -> Comparison:
    of_candidate, of_other = weighted(metric, labels, candidate), weighted(metric, labels, other)
    sign = 1.0 if INCREASES[metric] else -1.0
    found: Interval = paired(
        lambda weights: sign * (of_candidate(weights) - of_other(weights)), len(labels), alpha=alpha, seed=seed
    )
    whole = np.ones((1, len(labels)))
    return Comparison(
        metric,
        len(labels),
        float(of_candidate(whole)[0]),
        float(of_other(whole)[0]),
        found.value,
        found.lower,
        found.upper,
    )


def _slices(evaluation: Evaluation, metric: str, held: Held, *, seed: int) -> tuple[dict[str, Comparison], list[str]]:
    """Return the comparison in each slice with enough rows, and in which the candidate is shown to be worse."""
    chosen: dict[str, NDArray[np.bool_]] = {}
    for name, values in (held.slices or {}).items():
        kinds, counts = np.unique(values.astype(str), return_counts=True)
        for kind in kinds[np.argsort(-counts, kind="stable")][:SLICE_VALUES_MAX]:
            inside = values.astype(str) == kind
            if inside.sum() >= evaluation.rows_min:
                chosen[f"{name}={kind}"] = inside
    found = {}
    for name, inside in chosen.items():
        part = held.at(inside)
        # Each slice is one more chance to be called worse by chance.
        alpha = evaluation.alpha / len(chosen)
        champion = part.champion if part.champion is not None else part.candidate
        found[name] = _compare(metric, part.labels, part.candidate, champion, alpha=alpha, seed=seed)
    worse = [
        f"{metric} is worse where {name}: by {-one.gain:.4g}, and by {-one.upper:.4g} at the least"
        for name, one in found.items()
        if one.upper < 0
    ]
    return found, worse


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
