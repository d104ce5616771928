"""Change points: whether the stream of losses got worse at some moment of the window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from experiments.lazy_scipy import special
from trainer.triggers.metrics import answered, squares, wilson
from trainer.triggers.verdict import Evidence, Verdict, insufficient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.triggers.stored import Labelled, Stored

    Floats = NDArray[np.float64]

KIND = "change_point"
ROWS_MIN = 100
BETS = (0.05, 0.1, 0.2, 0.4, 0.8)
STARTS_MAX = 256


@dataclass(frozen=True, slots=True)
class Change:
    """What a stream shows.

    Attributes
    ----------
    evidence
        The e-value: a bet against "no change" that began with 1 and is worth this at its best moment so far.
    start
        From which row on the change is most likely.
    before, after
        The mean loss up to there and from there.
    """

    evidence: float
    start: int
    before: float
    after: float


def change_in(losses: Floats, bound: float) -> Change:
    r"""Return the evidence that losses in [0, 1] have, from some row on, a mean above a bound.

    Parameters
    ----------
    losses
        In the order of time; at least one.
    bound
        What the mean is at most while nothing changed, in (0, 1).

    Notes
    -----
    For a start *k* and a bet *b*, :math:`E_t = \prod_{i=k}^{t} (1 + \frac bm (x_i - m))` with the bound *m* is a
    supermartingale that begins with 1, as long as each loss has a mean of at most *m* given the past. So is the mean
    over bets and starts, and by Ville's inequality :math:`P(\exists t: E_t \ge 1/\alpha) \le \alpha` over all moments
    of the window. Starts lie at up to 256 equal distances; one that is still to come counts as 1.

    Assumptions: losses in [0, 1] that are at most *m* on average before the change. Dependence does no harm.

    References
    ----------
    J. Shin, A. Ramdas, A. Rinaldo, *E-Detectors*, NEJSDS 2 (2024). I. Waudby-Smith, A. Ramdas, *Estimating Means of
    Bounded Random Variables by Betting*, JRSS B 86 (2024).
    """
    starts = np.unique(np.linspace(0, len(losses) - 1, min(STARTS_MAX, len(losses))).astype(np.int64))
    growth = np.log1p(np.outer(np.array(BETS) / bound, losses - bound))
    upto = np.cumsum(growth, axis=1)
    ahead = np.concatenate([np.zeros((len(BETS), 1)), upto[:, :-1]], axis=1)[:, starts]
    # At each row: of the starts so far what they are worth, of those to come 1.
    best, at = -np.inf, 0
    for last in _looks(len(losses)):
        begun = starts <= last
        worth = np.where(begun, upto[:, last, None] - ahead, 0.0)
        total = float(special.logsumexp(worth)) - np.log(worth.size)
        if total > best:
            best, at = total, last
    begun = starts <= at
    worth = np.where(begun, special.logsumexp(upto[:, at, None] - ahead, axis=0), -np.inf)
    start = int(starts[np.argmax(worth)])
    before = float(losses[:start].mean()) if start else float("nan")
    return Change(float(np.exp(min(best, 700.0))), start, before, float(losses[start:].mean()))


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """Fires when the squared error of the window's answers rose at some moment above what the reference allows.

    Attributes
    ----------
    alpha
        If nothing changed, the probability that it fires on a window, at whatever moment of it: nine tenths of it for
        the window, one for the bound that the reference gives. Another window is another question.
    margin
        By how much more than the reference's the mean squared error may be before it counts.
    rows_min
        How many labels both sides must have.
    """

    alpha: float = 0.01
    margin: float = 0.0
    rows_min: int = ROWS_MIN

    @property
    def kind(self) -> str:
        """The trigger's name."""
        return KIND

    def judge(self, stored: Stored) -> Evidence:
        """Return whether the errors rose."""
        sides = []
        for name, side in (("held-out", stored.reference_labelled), ("the window's", stored.labelled)):
            losses, times = _losses(side)
            if len(losses) < self.rows_min:
                return insufficient(
                    KIND, f"{len(losses)} of {name} answers have a label; {self.rows_min} are needed", rows=len(losses)
                )
            sides.append((losses, times))
        (reference, _), (losses, times) = sides
        if min(reference.min(), losses.min()) < 0 or max(reference.max(), losses.max()) > 1:
            return insufficient(KIND, "answers and labels are no probabilities and 0 or 1: their errors have no bound")
        bound = min(0.999, _upper(reference, self.alpha / 10) + self.margin)
        found = change_in(losses, bound)
        needed = 10 / (9 * self.alpha)
        numbers = {
            "e_value": found.evidence,
            "needed": needed,
            "bound": bound,
            "before": found.before,
            "after": found.after,
            "start_row": found.start,
            "start_us": int(times[found.start]),
            "rows": len(losses),
            "reference_rows": len(reference),
            "alpha": self.alpha,
        }
        if found.evidence < needed:
            reason = f"no change in {len(losses)} errors: the evidence is {found.evidence:.3g} of {needed:.0f}"
            return Evidence(KIND, Verdict.QUIET, reason, numbers)
        reason = (
            f"from row {found.start} on the mean squared error is {found.after:.4g}; up to {bound:.4g} is no change"
        )
        return Evidence(KIND, Verdict.FIRE, reason, numbers)


def _losses(labelled: Labelled | None) -> tuple[Floats, NDArray[np.int64]]:
    if labelled is None:
        return np.empty(0), np.empty(0, np.int64)
    known = np.isfinite(labelled.labels) & answered(labelled.scores)
    return squares(labelled.scores[known], labelled.labels[known]), labelled.time_us[known]


def _upper(losses: Floats, alpha: float) -> float:
    """Return a bound above the mean of losses in [0, 1] at a confidence of one minus alpha.

    The empirical Bernstein bound of A. Maurer and M. Pontil, *Empirical Bernstein Bounds and Sample Variance
    Penalization*, COLT (2009), or Wilson's upper end where all losses are 0 or 1.
    """
    n = len(losses)
    if np.isin(losses, (0.0, 1.0)).all():
        return wilson(int(losses.sum()), n, 2 * alpha)[1]
    log = float(np.log(2 / alpha))
    return float(losses.mean() + np.sqrt(2 * losses.var(ddof=1) * log / n) + 7 * log / (3 * (n - 1)))


def _looks(rows: int) -> NDArray[np.int64]:
    """Return after which rows one looks: as often as starts begin, and after the last."""
    return np.unique(np.append(np.linspace(0, rows - 1, min(STARTS_MAX, rows)).astype(np.int64), rows - 1))
